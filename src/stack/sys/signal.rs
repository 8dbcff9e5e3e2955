//! Signal handlers, alternate signal stacks, and what may be called inside a handler.

#![expect(unsafe_code, reason = "signal dispositions and alternate stacks")]

use std::io;
use std::ptr;

use super::check;

pub(in crate::stack) use libc::{SIGBUS, SIGSEGV};

/// A signal as the kernel hands it to a handler; valid while the handler runs.
#[derive(Clone, Copy)]
pub(in crate::stack) struct Delivery {
    pub(in crate::stack) signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
}

/// A handler installed with [`install`].
pub(in crate::stack) type Handler =
    extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// What a signal did before.
#[derive(Clone, Copy)]
pub(in crate::stack) struct Disposition(libc::sigaction);

impl Delivery {
    /// # Safety
    ///
    /// The arguments are those the kernel called the running handler with.
    pub(in crate::stack) unsafe fn new(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) -> Delivery {
        Delivery { signal, info, context }
    }

    /// The address whose access the processor refused; `None` if somebody sent the signal.
    pub(in crate::stack) fn fault_address(&self) -> Option<usize> {
        // SAFETY: the kernel's argument, valid while the handler runs.
        let info = unsafe { &*self.info };
        // SAFETY: the field is there for the memory faults that handlers are installed for.
        (info.si_code > 0).then(|| unsafe { info.si_addr() }.addr())
    }

    /// The stack pointer of the interrupted code, where it is known how to find it.
    pub(in crate::stack) fn stack_pointer(&self) -> Option<usize> {
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        {
            // SAFETY: the kernel's argument, valid while the handler runs.
            let context = unsafe { &*self.context.cast::<libc::ucontext_t>() };
            Some(context.uc_mcontext.gregs[libc::REG_RSP as usize].cast_unsigned() as usize)
        }
        #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
        {
            // SAFETY: the kernel's argument, valid while the handler runs.
            let context = unsafe { &*self.context.cast::<libc::ucontext_t>() };
            Some(context.uc_mcontext.sp as usize)
        }
        #[cfg(not(all(
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64")
        )))]
        {
            let _ = self.context;
            None
        }
    }
}

impl Disposition {
    /// What `signal` does now.
    pub(in crate::stack) fn current(signal: libc::c_int) -> io::Result<Disposition> {
        // SAFETY: all zeroes is a valid `sigaction`, and the call writes one.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: changes nothing, writes `action`.
        check(unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) })?;
        Ok(Disposition(action))
    }

    /// Deals with a signal as if this disposition had been in force. Where that means death, it
    /// comes when the calling handler has returned.
    pub(in crate::stack) fn deliver(&self, delivery: Delivery) {
        let sent = delivery.fault_address().is_none();
        match self.0.sa_sigaction {
            // The kernel does not let a fault be ignored.
            libc::SIG_IGN if sent => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                reset(delivery.signal);
                if sent {
                    // A fault comes again by itself; this one has to be sent again.
                    // SAFETY: no requirements. The signal is blocked until the handler returns.
                    unsafe { libc::raise(delivery.signal) };
                }
            }
            handler => {
                if self.0.sa_flags & libc::SA_RESETHAND != 0 {
                    reset(delivery.signal);
                }
                if self.0.sa_flags & libc::SA_SIGINFO != 0 {
                    // SAFETY: it was registered as a handler of this type, and not as one of the
                    // two special values.
                    let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
                    handler(delivery.signal, delivery.info, delivery.context);
                } else {
                    // SAFETY: the same, for a handler of the older type.
                    let handler = unsafe {
                        std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)
                    };
                    handler(delivery.signal);
                }
            }
        }
    }
}

/// Makes `handler` handle `signal` on the alternate stack, with the mask and flags of the
/// disposition it stands in front of.
///
/// # Safety
///
/// `handler` does only what a signal handler may do.
pub(in crate::stack) unsafe fn install(
    signal: libc::c_int,
    handler: Handler,
    before: &Disposition,
) -> io::Result<()> {
    let mut action = before.0;
    action.sa_sigaction = handler as usize;
    action.sa_flags &= libc::SA_NODEFER | libc::SA_RESTART;
    action.sa_flags |= libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the caller vouches for the handler.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })
}

fn reset(signal: libc::c_int) {
    // SAFETY: all zeroes is a valid `sigaction`: no flags, nothing masked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = libc::SIG_DFL;
    // SAFETY: the default disposition runs no code of ours.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

/// Writes to standard error, past every buffer and lock; what cannot be written is lost.
pub(in crate::stack) fn write_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the bytes are readable.
        let written =
            unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// Waits until a signal ends the process.
pub(in crate::stack) fn wait_for_death() -> ! {
    loop {
        // SAFETY: no requirements.
        unsafe { libc::pause() };
    }
}

/// The least stack on which the kernel can deliver a signal at all.
pub(in crate::stack) fn least_signal_stack() -> usize {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: no requirements; zero if the kernel does not say.
        let stated = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) };
        libc::MINSIGSTKSZ.max(usize::try_from(stated).unwrap_or(0))
    }
    #[cfg(not(target_os = "linux"))]
    {
        libc::MINSIGSTKSZ
    }
}

/// The calling thread's alternate signal stack.
#[derive(Clone, Copy)]
pub(in crate::stack) struct SignalStack(libc::stack_t);

impl SignalStack {
    pub(in crate::stack) fn new(start: usize, len: usize) -> SignalStack {
        SignalStack(libc::stack_t {
            ss_sp: ptr::with_exposed_provenance_mut(start),
            ss_flags: 0,
            ss_size: len,
        })
    }

    /// The one in force.
    pub(in crate::stack) fn current() -> io::Result<SignalStack> {
        let mut stack = SignalStack::new(0, 0).0;
        // SAFETY: changes nothing, writes `stack`.
        check(unsafe { libc::sigaltstack(ptr::null(), &raw mut stack) })?;
        Ok(SignalStack(stack))
    }

    /// Its size; zero if there is none.
    pub(in crate::stack) fn len(&self) -> usize {
        if self.0.ss_flags & libc::SS_DISABLE != 0 { 0 } else { self.0.ss_size }
    }

    pub(in crate::stack) fn start(&self) -> usize {
        self.0.ss_sp.addr()
    }

    /// Puts it in force.
    ///
    /// # Safety
    ///
    /// The memory stays mapped, and nobody else's, until another one is in force.
    pub(in crate::stack) unsafe fn set(&self) -> io::Result<()> {
        let mut stack = self.0;
        // The kernel reports states in here that it does not accept back.
        stack.ss_flags &= libc::SS_DISABLE;
        // macOS wants a plausible size even when it is told to use none.
        stack.ss_size = stack.ss_size.max(least_signal_stack());
        // SAFETY: the caller's promise.
        check(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) })
    }
}
