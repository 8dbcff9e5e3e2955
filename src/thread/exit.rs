//! What a coroutine has done when it ends.

use crate::coroutine::{contained, unwind_exited};
use std::cell::RefCell;

/// In the order in which they were given.
#[derive(Default)]
struct Hooks(Vec<Box<dyn FnOnce()>>);

crate::coroutine_local! {
    static HOOKS: RefCell<Hooks> = const { RefCell::new(Hooks(Vec::new())) };
}

impl Drop for Hooks {
    fn drop(&mut self) {
        while let Some(hook) = self.0.pop() {
            contained(hook);
        }
    }
}

/// Calls `hook` when the calling coroutine ends, however it does: by a return, a panic, a cancellation
/// or [`exit`]. On a plain OS thread, when that ends.
///
/// The hook runs in the coroutine, before its `join` returns, and may wait. The last one given is the
/// first that is called; one that panics ends itself alone.
///
/// # Examples
///
/// ```
/// use pirn::channel::unbounded;
///
/// let (log, lines) = unbounded();
/// let worker = pirn::spawn(move || {
///     pirn::thread::on_exit(move || log.send("the worker has ended").unwrap());
///     panic!("of a spanner in the works");
/// });
/// assert!(worker.join().is_err());
/// assert_eq!(lines.try_recv(), Ok("the worker has ended"));
/// ```
pub fn on_exit<F>(hook: F)
where
    F: FnOnce() + 'static,
{
    let mut hook = Some(Box::new(hook) as Box<dyn FnOnce()>);
    let given = HOOKS.try_with(|hooks| hooks.borrow_mut().0.extend(hook.take()));
    if given.is_err() {
        // From a hook, or from another destructor at the end: the end is now.
        hook.into_iter().for_each(contained);
    }
}

/// Ends the calling coroutine, as Go's `runtime.Goexit` does: its destructors run, nothing else of
/// it does, and no panic is reported. Its `join` returns an error that holds
/// [`Exited`](super::Exited).
///
/// On a plain OS thread it ends that thread in the same way.
///
/// # Examples
///
/// ```
/// let worker = pirn::spawn(|| pirn::thread::exit());
/// assert!(worker.join().unwrap_err().is::<pirn::thread::Exited>());
/// ```
pub fn exit() -> ! {
    unwind_exited()
}
