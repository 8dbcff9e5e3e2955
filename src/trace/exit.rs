//! The trace that `PIRN_TRACE` asks for, at the end of the process.

#![expect(unsafe_code, reason = "registers a function with the C library")]

use super::trace;
use crate::sched::Shared;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);
/// The process whose trace that is. One that was forked off it exits as well.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// When the process exits, what the runtimes that still run have recorded is written to `path`.
///
/// # Errors
///
/// The system does not take the request.
pub(crate) fn write_at_exit(path: PathBuf) -> io::Result<()> {
    let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    if file.is_none() {
        // SAFETY: the function may be called once, at any time and on any thread that exits.
        if unsafe { libc::atexit(at_exit) } != 0 {
            return Err(io::Error::other("the C library takes no more functions to call at exit"));
        }
        *file = Some(path);
        OWNER.store(process::id(), Ordering::Relaxed);
    }
    Ok(())
}

/// Called on whichever thread ends the process, perhaps on a coroutine's small stack, and after the
/// thread-locals of the main thread are gone: so the work is another thread's. The workers still run,
/// which is nothing new to whoever copies their rings.
extern "C" fn at_exit() {
    if OWNER.load(Ordering::Relaxed) != process::id() {
        return;
    }
    let writer = thread::Builder::new().name("pirn-trace".into()).spawn(write);
    // Without a thread there is no trace; and what panics there has been reported.
    let _written = writer.map(thread::JoinHandle::join);
}

fn write() {
    let Some(path) = FILE.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let written = File::create(&path).and_then(|file| trace(&Shared::all()).write_to(file));
    if let Err(error) = written {
        // There is nobody else to be told.
        let _unwritten = writeln!(io::stderr(), "pirn: no trace in {}: {error}", path.display());
    }
}
