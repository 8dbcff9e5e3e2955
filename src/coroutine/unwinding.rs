//! Parking in the middle of a panic.
//!
//! A destructor that runs while its coroutine unwinds may block. std counts the panics in progress
//! per *thread*; if the coroutine simply switched away, `panicking()` would stay true for
//! everybody else at that home, their locks would be poisoned, and their next panic would abort
//! the process. So the count has to leave the thread with the coroutine and come back with it.
//!
//! std offers no way to change the count, but a panic in progress can be *carried*. A **helper** is
//! a small stack suspended in the middle of
//!
//! ```text
//! catch_unwind(|| { let _guard = SuspendInDrop; resume_unwind(..) })
//! ```
//!
//! Starting a helper adds one to the count of the thread that starts it; finishing it takes one
//! from the count of the thread that finishes it. So:
//!
//! - before a switch, finish helpers until `panicking()` is false; remember how many;
//! - after the coroutine has been resumed, start that many again.
//!
//! Each coroutine that is parked in this state has finished its helpers, and each that runs again
//! has put them back: helpers are conserved. The first ones come from the **bank**, a thread that
//! starts them and whose own count nobody looks at; in the end it finishes them itself, so that
//! the process's count is zero again. A helper carries nothing but the count: Rust's unwinder
//! keeps no other state per thread.
//!
//! Without a helper to be had (no thread, no memory), the coroutine blocks its whole home for this
//! one wait, which is correct as long as nobody there has to wake it.
//!
//! Rejected: telling the count apart by coroutine inside our own `panicking()` alone (std's locks
//! and std's double-panic abort would still see the thread's); running such destructors on a
//! thread of their own (they may hold `!Send` things).

#![expect(unsafe_code, reason = "sends suspended helper stacks between threads")]

use crate::coroutine::switch::{Resumed, Switch};
use crate::stack::{Cache, Class, Stack, Stacks};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Stack enough for one `resume_unwind` without a hook or a backtrace.
const HELPER_STACK: usize = 32 * 1024;
/// How many helpers the bank makes at a time.
const BATCH: usize = 8;

/// A stack that carries one panic.
struct Helper(Switch);

// SAFETY: what is suspended on a helper's stack is this file's own code and std's unwinder, which
// refer to nothing of the thread's but its panic count: the count is what is to be carried.
unsafe impl Send for Helper {}

impl Helper {
    /// Adds one to this thread's count.
    fn start(stack: Stack) -> Helper {
        let (mut switch, _) = Switch::new(stack, |suspender| {
            let suspend = SuspendInDrop(|| {
                // SAFETY: the guard is dropped on the stack that the suspender belongs to.
                unsafe { suspender.suspend(ptr::null_mut()) };
            });
            let carried = catch_unwind(AssertUnwindSafe(move || {
                let _suspend = suspend;
                resume_unwind(Box::new(()));
            }));
            drop(carried);
        });
        let Resumed::Suspended(_) = switch.resume() else {
            unreachable!("a helper suspends itself once");
        };
        Helper(switch)
    }

    /// Takes one from this thread's count.
    fn finish(mut self) -> Stack {
        let Resumed::Finished = self.0.resume() else {
            unreachable!("a helper suspends itself once");
        };
        self.0.into_stack()
    }
}

struct SuspendInDrop<F: Fn()>(F);

impl<F: Fn()> Drop for SuspendInDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A runtime's helpers.
pub(crate) struct UnwindBank {
    stacks: Arc<Stacks>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stock: Vec<Helper>,
    teller: Option<(Sender<Request>, JoinHandle<()>)>,
}

enum Request {
    /// Start a batch and send it back.
    Start(Sender<io::Result<Vec<Helper>>>),
    /// Finish all of these; nothing more will come.
    Finish(Vec<Helper>),
}

/// The panics that were taken off a thread, as the stacks on which they will be started again.
pub(crate) struct Moved(Vec<Stack>);

impl UnwindBank {
    pub(crate) fn new(stacks: Arc<Stacks>) -> UnwindBank {
        UnwindBank { stacks, state: Mutex::default() }
    }

    /// Takes all panics off this thread. `Err`: none could be, and the thread is as it was.
    pub(crate) fn move_off(&self) -> io::Result<Moved> {
        let mut moved = Moved(Vec::new());
        while thread::panicking() {
            match self.withdraw() {
                Ok(helper) => moved.0.push(helper.finish()),
                Err(error) => {
                    self.move_back(moved);
                    return Err(error);
                }
            }
        }
        Ok(moved)
    }

    /// Puts them on this thread again.
    pub(crate) fn move_back(&self, moved: Moved) {
        let helpers = moved.0.into_iter().map(Helper::start).collect::<Vec<_>>();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stock.extend(helpers);
    }

    /// How many panics are in progress on this thread.
    pub(crate) fn count(&self) -> io::Result<usize> {
        let moved = self.move_off()?;
        let count = moved.0.len();
        self.move_back(moved);
        Ok(count)
    }

    fn withdraw(&self) -> io::Result<Helper> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(helper) = state.stock.pop() {
            return Ok(helper);
        }
        if state.teller.is_none() {
            state.teller = Some(start_teller(self.stacks.clone())?);
        }
        let (requests, _) = state.teller.as_ref().expect("started above");
        let (reply, answer) = channel();
        requests.send(Request::Start(reply)).map_err(|_| gone())?;
        let mut batch = answer.recv().map_err(|_| gone())??;
        let helper = batch.pop().ok_or(io::ErrorKind::OutOfMemory)?;
        state.stock.append(&mut batch);
        Ok(helper)
    }

    /// Whether it has its thread, which answers and does nothing else.
    pub(crate) fn has_thread(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).teller.is_some()
    }

    /// Ends the bank. All coroutines have ended, so all helpers are in stock.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stock = std::mem::take(&mut state.stock);
        if let Some((requests, teller)) = state.teller.take() {
            let _gone = requests.send(Request::Finish(stock));
            let _panicked = teller.join();
        }
    }
}

impl Drop for UnwindBank {
    /// A runtime whose shutdown ran out of time ends without being joined, and goes with the last
    /// of its machines.
    fn drop(&mut self) {
        self.close();
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that lends panics to destructors has ended")
}

/// Starts the thread whose own panic count does not matter.
fn start_teller(stacks: Arc<Stacks>) -> io::Result<(Sender<Request>, JoinHandle<()>)> {
    let (requests, inbox) = channel();
    let class = Class::for_size(HELPER_STACK)?;
    let teller = thread::Builder::new().name("pirn-unwind".into()).spawn(move || {
        let mut cache = Cache::new(stacks);
        for request in inbox {
            match request {
                Request::Start(reply) => {
                    let _gone = reply.send(start_batch(&mut cache, class));
                }
                Request::Finish(helpers) => {
                    for helper in helpers {
                        cache.give(helper.finish());
                        cache.uncredit(class);
                    }
                    break;
                }
            }
        }
    })?;
    Ok((requests, teller))
}

/// Starts as many helpers as there is room for, at most a batch; at least one.
fn start_batch(cache: &mut Cache, class: Class) -> io::Result<Vec<Helper>> {
    let mut batch = Vec::with_capacity(BATCH);
    while batch.len() < BATCH {
        match cache.credit(class) {
            Ok(()) => batch.push(Helper::start(cache.take(class, ptr::null()))),
            Err(error) if batch.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(batch)
}
