//! A dump on SIGQUIT.
//!
//! A thread of its own waits for the signal and takes the dump: a machine might be what is stuck, and
//! sysmon sleeps. There is one for the process, and it stays.

use super::deadlock::COMMON_THREADS;
use crate::sched::Shared;
use crate::signal::{SignalKind, Signals};
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// From now on SIGQUIT does not end the process but has a dump written to standard error.
pub(crate) fn dump_on_sigquit() -> io::Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);

    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if *started {
        return Ok(());
    }
    let signals = Signals::new([SignalKind::quit()])?;
    let write_dumps = move || {
        while signals.recv().is_ok() {
            // There is nobody to be told of a failure.
            let _unwritten = writeln!(io::stderr(), "{}", super::dump(Shared::all()));
        }
    };
    thread::Builder::new().name("pirn-dump".into()).spawn(write_dumps)?;
    COMMON_THREADS.fetch_add(1, Ordering::Release);
    *started = true;
    Ok(())
}
