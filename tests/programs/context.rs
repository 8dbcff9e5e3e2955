//! Runs bodies, and looks after those who run them.

use crate::program::{Body, Child, End, Endless, Inside, Op, Pause, Start};
use crate::task::describe;
use crate::world::World;
use pirn::CancelToken;
use pirn::channel::bounded;
use pirn::sync::Semaphore;
use pirn::thread;
use pirn::time::timeout;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// What programs panic with.
pub(crate) struct Boom;

pirn::coroutine_local! {
    /// Whose locals these are; 0 for those who have just begun.
    static MARK: Cell<u64> = const { Cell::new(0) };
}

/// Runs what may panic. A cancellation is none of its own.
pub(crate) fn caught(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f))
        && !payload.is::<Boom>()
    {
        resume_unwind(payload);
    }
}

/// Read anew in each call: the address of a thread-local may not be kept by one that migrates.
#[inline(never)]
fn panicking() -> bool {
    thread::panicking()
}

/// The coroutine, or the thread, that runs a body.
pub(crate) struct Context {
    pub(crate) world: Arc<World>,
    /// Its runtime may end before it does.
    pub(crate) doomed: bool,
    mark: u64,
    /// Where it is to stay.
    home: Option<std::thread::ThreadId>,
    /// In a destructor, while it unwinds.
    unwinding: Cell<bool>,
}

impl Context {
    pub(crate) fn new(world: Arc<World>, doomed: bool, start: Start) -> Context {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let home = match start {
            Start::Migrating => None,
            _ => Some(std::thread::current().id()),
        };
        let mark = NEXT.fetch_add(1, SeqCst);
        // Blocking work of a plain thread is done right there, which may be in a destructor.
        let unwinding = matches!(start, Start::Thread) && panicking();
        Context { world, doomed, mark, home, unwinding: Cell::new(unwinding) }
    }

    pub(crate) fn body(&self, body: &Body) {
        for op in body.iter() {
            self.op(op);
            self.look();
        }
    }

    fn op(&self, op: &Op) {
        match op {
            Op::Pause(pause) => self.pause(*pause),
            Op::Endless(endless) => self.endless(*endless),
            Op::Panic => resume_unwind(Box::new(Boom)),
            Op::Hold(hold, body) => self.hold(*hold, body),
            Op::Inside(inside, body) => self.inside(*inside, body),
            Op::Late(first, last) => {
                let _late = Late(self, last);
                self.body(first);
            }
            Op::Child(child) => self.child(child),
            Op::Together(together) => self.together(together),
            Op::Repeat(times, body) => (0..*times).for_each(|_| self.body(body)),
            Op::Traffic(traffic) => self.traffic(traffic),
            Op::Barrier(parties, rounds) => self.barrier((*parties).into(), *rounds),
            Op::PingPong(start, rounds) => self.ping_pong(*start, (*rounds).into()),
            Op::Transient(transient) => self.transient(transient),
        }
    }

    /// What a body begins with is its own.
    pub(crate) fn begin(&self) {
        self.world
            .check(MARK.replace(self.mark) == 0, "a coroutine begins with another one's locals");
    }

    pub(crate) fn end(&self) {
        self.look();
        MARK.set(0);
    }

    /// Nothing of what belongs to a coroutine or to its thread is another one's.
    fn look(&self) {
        let at_home = |home| home == std::thread::current().id();
        self.world.check(self.home.is_none_or(at_home), "a coroutine left its thread");
        self.world.check(MARK.get() == self.mark, "a coroutine sees another one's locals");
        self.world.check(panicking() == self.unwinding.get(), "another one's panic, or none");
    }

    pub(crate) fn pause(&self, pause: Pause) {
        match pause {
            Pause::No => {}
            Pause::Yield => thread::yield_now(),
            Pause::Sleep(duration) => thread::sleep(duration),
            Pause::Park(duration) => thread::park_timeout(duration),
            Pause::Spin(turns) => (0..turns).for_each(|_| std::hint::spin_loop()),
            Pause::Blocking => pirn::blocking(|| ()),
        }
    }

    fn endless(&self, endless: Endless) {
        match endless {
            Endless::Sleep => thread::sleep(Duration::MAX),
            Endless::Park => loop {
                thread::park();
            },
            Endless::Recv => {
                let (_sender, receiver) = bounded::<()>(0);
                let _never = receiver.recv();
            }
            Endless::Acquire => drop(Semaphore::new(0).acquire()),
            Endless::Join => {
                // A runtime that stops may end the child first.
                thread::scope(|scope| drop(scope.spawn(|| thread::sleep(Duration::MAX)).join()));
                return self.endless(Endless::Park);
            }
        }
        self.world.fail("what has no end has ended");
    }

    fn inside(&self, inside: Inside, body: &Body) {
        let run = || self.body(body);
        match inside {
            Inside::Timeout(limit) => drop(timeout(limit, run)),
            Inside::Token(limit) => drop(CancelToken::new().child_with_timeout(limit).run(run)),
            Inside::Cancelled(pause) => {
                let token = CancelToken::new();
                let theirs = token.clone();
                let canceller = self.launch(Start::Spawn, self.doomed, move |context| {
                    context.pause(pause);
                    theirs.cancel();
                });
                drop(token.child().run(run));
                canceller.join();
            }
            Inside::Shield => pirn::shield(run),
            Inside::InPlace => pirn::block_in_place(run),
            Inside::Caught => caught(run),
            Inside::Blocking => {
                let task = self.task(Start::Thread, self.doomed, self.run_body(body));
                // A thread of the pool has locals of its own, which others had before.
                drop(pirn::blocking(move || {
                    let before = MARK.replace(0);
                    let ended = catch_unwind(AssertUnwindSafe(|| task.run()));
                    MARK.set(before);
                    ended.unwrap_or_else(|payload| resume_unwind(payload))
                }));
            }
            Inside::Elsewhere => {
                let task = self.task(Start::Spawn, false, self.run_body(body));
                drop(self.world.other.run(move || task.run()));
            }
        }
    }

    fn child(&self, child: &Child) {
        let started = self.launch(child.start, self.doomed, self.run_body(&child.body));
        self.pause(child.between);
        match child.end {
            End::Join => started.join(),
            End::Drop => drop(started),
            End::CancelAndJoin => started.cancel().join(),
            End::CancelAndDrop => drop(started.cancel()),
        }
    }
}

/// Runs a body when it is dropped.
struct Late<'a>(&'a Context, &'a Body);

impl Drop for Late<'_> {
    fn drop(&mut self) {
        let unwinding = panicking();
        let before = self.0.unwinding.replace(unwinding);
        let ended = catch_unwind(AssertUnwindSafe(|| caught(|| self.0.body(self.1))));
        self.0.unwinding.set(before);
        if let Err(payload) = ended {
            match unwinding {
                true => {
                    let what = describe(&*payload);
                    self.0.world.fail(format!("a destructor is ended while it unwinds: {what}"));
                }
                false => resume_unwind(payload),
            }
        }
    }
}
