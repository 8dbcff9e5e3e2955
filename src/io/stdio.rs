//! The standard streams of the process.
//!
//! Their descriptors are shared with whoever started the process, so no flag of theirs is changed,
//! and each call goes to whatever the descriptor is at that moment: a program may put another file
//! in its place. So they are not kept registered with a poller. Whoever has to wait does so on a
//! duplicate, which costs a few microseconds for each wait.

#![expect(unsafe_code, reason = "borrows descriptors 0 to 2, and asks to be called at exit")]

use crate::io::descriptor::{Descriptor, read_shared, write_shared};
use crate::io::lock::{Lock, LockGuard, ReentrantGuard, ReentrantLock};
use crate::io::sys;
use crate::netpoller::Side;
use crate::sched;
use std::cell::RefCell;
use std::fmt;
use std::io::{
    self, BufRead, BufReader, IoSlice, IoSliceMut, IsTerminal, LineWriter, Lines, Read, Write,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when the process ends, after which nobody waits but in the system call.
static EXITING: AtomicBool = AtomicBool::new(false);

/// Standard input, output or error output, without a buffer.
struct Raw<const FD: RawFd>;

impl<const FD: RawFd> AsFd for Raw<FD> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: std borrows these for ever, too. A call on one that is closed fails, and calls on
        // one that was opened anew are what is wanted.
        unsafe { BorrowedFd::borrow_raw(FD) }
    }
}

impl<const FD: RawFd> Raw<FD> {
    /// Calls `op`; waits for readiness on a duplicate.
    fn io(
        &self,
        side: Side,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
        blocking_op: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match op(self.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => {
                sched::cooperate();
                return result;
            }
        }
        match self.as_fd().try_clone_to_owned() {
            Ok(duplicate) => Descriptor::shared(duplicate).io(side, None, op),
            // No descriptor is left for it: this thread waits.
            Err(_) => sched::block_in_place(|| blocking_op(self.as_fd())),
        }
    }

    fn read_raw(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let bufs = RefCell::new(bufs);
        let op = |fd: BorrowedFd<'_>| read_shared(fd, &mut bufs.borrow_mut());
        let blocking_op = |fd: BorrowedFd<'_>| sys::read(fd, &mut bufs.borrow_mut());
        // As in std: a process that is started without it finds it empty.
        or_if_closed(self.io(Side::Read, op, blocking_op), || 0)
    }

    fn write_raw(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = if EXITING.load(Ordering::Relaxed) {
            write_at_exit(self.as_fd(), bufs)
        } else {
            let op = |fd: BorrowedFd<'_>| write_shared(fd, bufs);
            self.io(Side::Write, op, |fd| sys::write(fd, bufs))
        };
        // As in std: what is written there is gone.
        or_if_closed(result, || bufs.iter().map(|buf| buf.len()).sum())
    }
}

/// Waits in system calls alone, also if somebody has made the description nonblocking.
fn write_at_exit(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        match sys::write(fd, bufs) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sys::wait_until_ready(fd, Side::Write)?;
            }
            result => return result,
        }
    }
}

fn or_if_closed(result: io::Result<usize>, count: impl FnOnce() -> usize) -> io::Result<usize> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(count()),
        result => result,
    }
}

impl Read for Raw<{ libc::STDIN_FILENO }> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_raw(&mut [IoSliceMut::new(buf)])
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_raw(bufs)
    }
}

impl<const FD: RawFd> Write for Raw<FD> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_raw(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_raw(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Input = BufReader<Raw<{ libc::STDIN_FILENO }>>;
type Output = RefCell<LineWriter<Raw<{ libc::STDOUT_FILENO }>>>;
type ErrorOutput = RefCell<Raw<{ libc::STDERR_FILENO }>>;

static STDIN: OnceLock<Lock<Input>> = OnceLock::new();
static STDOUT: OnceLock<ReentrantLock<Output>> = OnceLock::new();
static STDERR: OnceLock<ReentrantLock<ErrorOutput>> = OnceLock::new();

/// The standard input of the process: [`std::io::stdin`], whose waits park the coroutine.
///
/// All handles share one buffer. It is not std's: bytes that [`std::io::stdin`] has read ahead are
/// not found here, and the other way round.
///
/// # Examples
///
/// ```no_run
/// for line in pirn::io::stdin().lines() {
///     println!("{}", line?.to_uppercase());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn stdin() -> Stdin {
    Stdin { inner: STDIN.get_or_init(|| Lock::new(BufReader::new(Raw))) }
}

/// The standard output of the process: [`std::io::stdout`], whose waits park the coroutine.
///
/// All handles share one buffer, of which whole lines are written at once. It is flushed when the
/// process ends by `exit` or by the return of `main`, unless somebody has it locked.
///
/// The buffer is not the one of [`println!`] and [`std::io::stdout`]: lines do not mix, but what
/// those have left without a newline comes after what is written here meanwhile. And `println!`
/// waits with its whole thread when whoever reads the output is slow.
///
/// # Examples
///
/// ```
/// use pirn::io::Write;
///
/// let mut out = pirn::io::stdout().lock();
/// for number in 0..3 {
///     writeln!(out, "{number}")?;
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn stdout() -> Stdout {
    let inner = STDOUT.get_or_init(|| {
        // SAFETY: a function that takes nothing, gives nothing, and does not unwind. If there is no
        // room for it, what is left in the buffer at the end is lost.
        let _no_room = unsafe { libc::atexit(flush_at_exit) };
        ReentrantLock::new(RefCell::new(LineWriter::new(Raw)))
    });
    Stdout { inner }
}

/// The standard error output of the process: [`std::io::stderr`], whose waits park the coroutine.
///
/// It has no buffer.
///
/// # Examples
///
/// ```
/// use pirn::io::Write;
///
/// writeln!(pirn::io::stderr(), "a warning")?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn stderr() -> Stderr {
    Stderr { inner: STDERR.get_or_init(|| ReentrantLock::new(RefCell::new(Raw))) }
}

/// Writes what is left, and makes what comes after it go out at once.
extern "C" fn flush_at_exit() {
    EXITING.store(true, Ordering::Relaxed);
    // Whoever has it may be in the middle of a write, or may have leaked its guard.
    let Some(output) = STDOUT.get().and_then(ReentrantLock::lock_at_exit) else { return };
    if let Ok(mut output) = output.try_borrow_mut() {
        // There is nobody left to tell of an error.
        let _written = output.flush();
        *output = LineWriter::with_capacity(0, Raw);
    }
}

/// A handle to the standard input; see [`stdin`].
pub struct Stdin {
    inner: &'static Lock<Input>,
}

/// The standard input, locked: nobody else reads it meanwhile.
#[must_use = "if unused stdin will immediately unlock"]
pub struct StdinLock<'a> {
    inner: LockGuard<'a, Input>,
}

impl Stdin {
    /// Waits for the standard input and locks it.
    ///
    /// To lock it twice in the same coroutine or thread never returns.
    pub fn lock(&self) -> StdinLock<'static> {
        StdinLock { inner: self.inner.lock() }
    }

    /// Locks the standard input and reads a line; see [`BufRead::read_line`].
    ///
    /// # Errors
    ///
    /// What the system says, and `InvalidData` for what is not UTF-8.
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// Locks the standard input for good and gives its lines; see [`BufRead::lines`].
    #[must_use = "`self` will be dropped if the result is not used"]
    pub fn lines(self) -> Lines<StdinLock<'static>> {
        self.lock().lines()
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.lock().read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.lock().read_exact(buf)
    }
}

impl Read for &Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.lock().read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.lock().read_exact(buf)
    }
}

impl Read for StdinLock<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.inner.read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.inner.read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.inner.read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(buf)
    }
}

impl BufRead for StdinLock<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }

    fn read_until(&mut self, byte: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.inner.read_until(byte, buf)
    }

    fn read_line(&mut self, buf: &mut String) -> io::Result<usize> {
        self.inner.read_line(buf)
    }
}

/// A handle to the standard output; see [`stdout`].
pub struct Stdout {
    inner: &'static ReentrantLock<Output>,
}

/// The standard output, locked: nobody else writes to it meanwhile.
#[must_use = "if unused stdout will immediately unlock"]
pub struct StdoutLock<'a> {
    inner: ReentrantGuard<'a, Output>,
}

/// A handle to the standard error output; see [`stderr`].
pub struct Stderr {
    inner: &'static ReentrantLock<ErrorOutput>,
}

/// The standard error output, locked: nobody else writes to it meanwhile.
#[must_use = "if unused stderr will immediately unlock"]
pub struct StderrLock<'a> {
    inner: ReentrantGuard<'a, ErrorOutput>,
}

impl Stdout {
    /// Waits for the standard output and locks it. Whoever has it may lock it again.
    pub fn lock(&self) -> StdoutLock<'static> {
        StdoutLock { inner: self.inner.lock() }
    }
}

impl Stderr {
    /// Waits for the standard error output and locks it. Whoever has it may lock it again.
    pub fn lock(&self) -> StderrLock<'static> {
        StderrLock { inner: self.inner.lock() }
    }
}

/// Writing through a handle, which locks, and through what it gives.
macro_rules! writes {
    ($handle:ident, $locked:ident, $function:ident) => {
        impl Write for $handle {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                (&*self).flush()
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                (&*self).write_all(buf)
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                (&*self).write_fmt(args)
            }
        }

        impl Write for &$handle {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.lock().write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.lock().write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.lock().flush()
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.lock().write_all(buf)
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                self.lock().write_fmt(args)
            }
        }

        impl Write for $locked<'_> {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.inner.borrow_mut().write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.inner.borrow_mut().write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.inner.borrow_mut().flush()
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.inner.borrow_mut().write_all(buf)
            }
        }

        /// The child that gets this writes to the stream.
        impl From<$handle> for Stdio {
            fn from(_: $handle) -> Stdio {
                std::io::$function().into()
            }
        }

        impl UnwindSafe for $handle {}
        impl RefUnwindSafe for $handle {}
        impl UnwindSafe for $locked<'_> {}
        impl RefUnwindSafe for $locked<'_> {}
    };
}

writes!(Stdout, StdoutLock, stdout);
writes!(Stderr, StderrLock, stderr);

/// What all handles have; `IsTerminal` is std's alone to implement.
macro_rules! stream {
    ($type:ty, $name:literal, $fd:ident) => {
        impl $type {
            /// Whether the stream is a terminal: [`IsTerminal::is_terminal`].
            #[must_use]
            pub fn is_terminal(&self) -> bool {
                self.as_fd().is_terminal()
            }
        }

        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                // SAFETY: as for `Raw`.
                unsafe { BorrowedFd::borrow_raw(libc::$fd) }
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                libc::$fd
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        }
    };
}

stream!(Stdin, "Stdin", STDIN_FILENO);
stream!(StdinLock<'_>, "StdinLock", STDIN_FILENO);
stream!(Stdout, "Stdout", STDOUT_FILENO);
stream!(StdoutLock<'_>, "StdoutLock", STDOUT_FILENO);
stream!(Stderr, "Stderr", STDERR_FILENO);
stream!(StderrLock<'_>, "StderrLock", STDERR_FILENO);
