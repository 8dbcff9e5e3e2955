//! The runtime's own threads: started, counted, and waited for.

use crate::util::{thread_end, wait_while};
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// See the module's description.
#[derive(Default)]
pub(crate) struct Threads(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// Those that have not ended, and a few that have.
    handles: Vec<JoinHandle<()>>,
    running: usize,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a thread until it ends, however that is.
struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ended.notify_all();
    }
}

impl Threads {
    pub(crate) fn spawn(
        &self,
        name: String,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut state = self.0.lock();
        state.running += 1;
        let running = Running(self.0.clone());
        drop(state);
        let handle = thread::Builder::new().name(name).spawn(move || {
            // Also while the destructors of thread-locals run, which may be long.
            let _not_kept = thread_end::keep(Box::new(running)).err();
            body();
        })?;
        state = self.0.lock();
        // A thread that has ended keeps its stack for as long as somebody could join it.
        let ended: Vec<_> = state.handles.extract_if(.., |other| other.is_finished()).collect();
        state.handles.push(handle);
        drop(state);
        drop(ended);
        Ok(())
    }

    /// Waits until all have ended; `false`: the time was over first.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        let gone = wait_while(&self.0.ended, self.0.lock(), deadline, |state| state.running > 0);
        let Some(mut state) = gone else { return false };
        let handles = mem::take(&mut state.handles);
        drop(state);
        for handle in handles {
            let _panicked = handle.join();
        }
        true
    }

    /// Whether the caller is one of them.
    pub(crate) fn are_calling(&self) -> bool {
        let current = thread::current().id();
        let is_it = |handle: &JoinHandle<()>| handle.thread().id() == current;
        // The handle may have gone when its body has ended.
        thread_end::keeps(|running: &Running| Arc::ptr_eq(&running.0, &self.0))
            || self.0.lock().handles.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn those_that_have_ended_are_let_go_of() {
        let threads = Threads::default();
        for _ in 0..20 {
            threads.spawn("one".into(), || ()).unwrap();
            while threads.0.lock().running > 0 {
                thread::yield_now();
            }
        }
        let kept = threads.0.lock().handles.len();
        assert!(kept < 8, "{kept} can be joined");
    }

    #[test]
    fn those_that_go_on_are_waited_for_until_the_deadline() {
        let threads = Threads::default();
        let (lets_go, held) = mpsc::channel::<()>();
        threads
            .spawn("one".into(), move || {
                let _gone = held.recv();
            })
            .unwrap();
        assert!(!threads.join(Instant::now().checked_add(Duration::from_millis(1))));
        drop(lets_go);
        assert!(threads.join(None));
        assert!(threads.0.lock().handles.is_empty());
    }
}
