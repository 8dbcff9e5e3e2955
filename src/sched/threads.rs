//! The runtime's own threads: started, counted, and waited for.

use crate::util::wait_while;
use std::io;
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
            let _running = running;
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
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        for handle in handles {
            let _panicked = handle.join();
        }
        true
    }

    /// Whether the caller is one of them.
    pub(crate) fn are_calling(&self) -> bool {
        let current = thread::current().id();
        self.0.lock().handles.iter().any(|handle| handle.thread().id() == current)
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
        // A thread is counted out a little before it is known to have ended.
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
