//! The last words of a coroutine that touches its guard.
//!
//! A handler for `SIGSEGV` and `SIGBUS`, put in front of what was there, looks whether the fault
//! lies in the guard of the very slot on which the interrupted code runs. If so it says whose stack
//! that is, and aborts as std does. Every other fault is passed on to what was there before.
//!
//! All of it runs on the alternate stack of the thread, after an arbitrary instruction: no
//! allocation, no lock, no panic, no thread-local that may have a destructor.

#![expect(unsafe_code, reason = "a signal handler")]

use std::fmt::{self, Write};
use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::class::{Class, GUARD};
use super::handle;
use super::registry::{self, Found};
use super::sys::{self, Delivery, Disposition};

/// Writes who `owner`, as given to [`Cache::take`](super::Cache::take), is: a noun phrase, such as
/// `coroutine 7 "conn", spawned at src/main.rs:10:5,`. It is called in a signal handler, on the
/// thread on which the owner runs, with some 3 KiB of stack.
pub(crate) type Describe = fn(owner: *const (), out: &mut dyn Write);

/// A [`Describe`], or null.
static DESCRIBE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

static SEGV_BEFORE: OnceLock<Disposition> = OnceLock::new();
static BUS_BEFORE: OnceLock<Disposition> = OnceLock::new();

/// Sets how the report calls the owner of a stack.
pub(crate) fn set_describe(describe: Describe) {
    DESCRIBE.store(describe as *mut (), Ordering::Release);
}

/// Installs the handlers, once in a process.
pub(super) fn install() -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        for (signal, place) in [(sys::SIGSEGV, &SEGV_BEFORE), (sys::SIGBUS, &BUS_BEFORE)] {
            // Known before the handler can be called.
            let current = Disposition::current(signal)?;
            let before = place.get_or_init(|| current);
            // SAFETY: `on_fault` keeps to what a handler may do: see there.
            unsafe { sys::install(signal, on_fault, before) }?;
        }
        *installed = true;
    }
    Ok(())
}

extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel calls this function, with these arguments.
    let delivery = unsafe { Delivery::new(signal, info, context) };
    if let Some(found) = overflown(&delivery) {
        report(found);
    }
    let before = if signal == sys::SIGBUS { &BUS_BEFORE } else { &SEGV_BEFORE };
    if let Some(before) = before.get() {
        before.deliver(delivery);
    }
}

/// The slot in whose guard the fault lies, if the interrupted code runs on its stack.
fn overflown(delivery: &Delivery) -> Option<Found> {
    let address = delivery.fault_address()?;
    let found = registry::find(address).filter(|found| address < found.start + GUARD)?;
    // A stray pointer into somebody else's guard is no overflow.
    let here = |pointer| found.class.slot_start(pointer) == found.start;
    delivery.stack_pointer().is_none_or(here).then_some(found)
}

fn report(found: Found) -> ! {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    if REPORTED.swap(true, Ordering::Relaxed) {
        // Another thread is at it, and will end the process.
        sys::wait_for_death();
    }
    // SAFETY: the interrupted code runs on this stack, so it is mapped.
    let owner = unsafe { handle::owner_of(found.class, found.start) };
    let mut out = Stderr::new();
    let _ = write_report(&mut out, found.class, owner);
    out.flush();
    std::process::abort()
}

fn write_report(out: &mut Stderr, class: Class, owner: *const ()) -> fmt::Result {
    out.write_str("\npirn: ")?;
    let describe = DESCRIBE.load(Ordering::Acquire);
    if owner.is_null() || describe.is_null() {
        out.write_str("a coroutine")?;
    } else {
        // SAFETY: it was a `Describe` when it was stored.
        let describe = unsafe { mem::transmute::<*mut (), Describe>(describe) };
        describe(owner, out);
    }
    writeln!(out, " has overflowed its stack ({class})")?;
    out.write_str(if class == Class::LARGEST {
        "  there is no larger one: is this an endless recursion?\n"
    } else {
        "  raise it with thread::Builder::stack_size or PIRN_STACK_SIZE\n"
    })?;
    out.write_str("fatal runtime error: stack overflow\n")
}

/// Standard error with a buffer of its own, so that a line comes in one piece.
struct Stderr {
    bytes: [u8; 512],
    len: usize,
}

impl Stderr {
    const fn new() -> Stderr {
        Stderr { bytes: [0; 512], len: 0 }
    }

    fn flush(&mut self) {
        sys::write_stderr(&self.bytes[..self.len]);
        self.len = 0;
    }
}

impl Write for Stderr {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for chunk in text.as_bytes().chunks(self.bytes.len()) {
            if chunk.len() > self.bytes.len() - self.len {
                self.flush();
            }
            self.bytes[self.len..self.len + chunk.len()].copy_from_slice(chunk);
            self.len += chunk.len();
        }
        Ok(())
    }
}
