//! A machine's thread as the system sees it: has it run, does it wait for a processor, or block?
//!
//! A machine that has not scheduled for long may be busy or blocked in a coroutine, or it may be
//! ready to run on a machine that has more threads than processors. From the wall clock alone the
//! watch cannot tell.

#![expect(unsafe_code, reason = "asks the system for a thread's clock")]

use std::time::Duration;

/// One thread, for others to look at.
#[derive(Debug)]
pub(crate) struct ThreadState {
    clock: Option<libc::clockid_t>,
    tid: libc::pid_t,
}

impl ThreadState {
    /// The calling thread.
    pub(crate) fn of_current() -> ThreadState {
        let mut clock = 0;
        // SAFETY: the thread is the calling one, and the address that of a clock's number.
        let error = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        // SAFETY: no requirements.
        let tid = unsafe { libc::gettid() };
        ThreadState { clock: (error == 0).then_some(clock), tid }
    }

    /// Its number at the system's.
    pub(crate) fn id(&self) -> u64 {
        self.tid.unsigned_abs().into()
    }

    /// How long it has run; `None` if the system does not say. Another thread's, if this one has
    /// ended and the system has used its number again.
    pub(crate) fn has_run(&self) -> Option<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the address is that of a time.
        if unsafe { libc::clock_gettime(self.clock?, &raw mut time) } != 0 {
            return None;
        }
        Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
    }

    /// Whether it runs or could, if a processor was free: that is, it does not block.
    pub(crate) fn is_runnable(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", self.tid));
        stat.is_ok_and(|stat| state_in(&stat) == Some('R'))
    }
}

/// The letter after the thread's name, which stands in parentheses and may hold anything.
fn state_in(stat: &str) -> Option<char> {
    let (_, after) = stat.rsplit_once(')')?;
    after.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Instant;

    fn within_patience(mut holds: impl FnMut() -> bool) {
        let patience = Instant::now() + Duration::from_secs(120);
        while !holds() {
            assert!(Instant::now() < patience);
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        assert_eq!(state_in("12 (a) R (b) S) D 1 2"), Some('D'));
        assert_eq!(state_in("12"), None);
    }

    #[test]
    fn running_blocked_and_gone() {
        let (send, states) = mpsc::channel();
        let (let_go, gate) = mpsc::channel::<()>();
        let busy = Arc::new(AtomicBool::new(true));
        let theirs = busy.clone();
        let thread = std::thread::spawn(move || {
            send.send(ThreadState::of_current()).unwrap();
            while theirs.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            gate.recv().unwrap_err();
        });
        let state = states.recv().unwrap();
        within_patience(|| state.is_runnable());
        within_patience(|| state.has_run() >= Some(Duration::from_millis(2)));
        busy.store(false, Ordering::Relaxed);
        within_patience(|| !state.is_runnable());
        drop(let_go);
        thread.join().unwrap();
        within_patience(|| state.has_run().is_none());
    }
}
