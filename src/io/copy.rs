//! [`copy`], [`copy_bidirectional`], and the latter with a limit: [`CopyBidirectional`].

use crate::io::duplex::DuplexStream;
#[cfg(target_os = "linux")]
use crate::io::kernel;
use crate::net::{Shutdown, TcpStream};
use crate::primitive::lock;
use crate::sched;
use crate::sync::Event;
use crate::thread;
use std::io::{self, Read, Write};
use std::mem;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Copies all that `reader` gives to `writer`: [`std::io::copy`], which on Linux leaves it to the
/// kernel where it can.
///
/// The kernel copies from [`TcpStream`] and [`PipeReader`](crate::io::PipeReader), by themselves, by
/// reference, in a `Take`, or in a `BufReader` (whose buffer comes first), to `TcpStream`,
/// [`PipeWriter`](crate::io::PipeWriter) and [`std::fs::File`]. All else goes through a buffer of a
/// few kilobytes, as in std.
///
/// # Errors
///
/// What `reader` and `writer` say, but for `Interrupted`, which is tried again. What was read and
/// could not be written, up to 64 KiB, is lost, as it is when the coroutine is cancelled.
///
/// # Examples
///
/// ```
/// use pirn::io;
/// use pirn::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
/// let sending = pirn::spawn(move || io::copy(&mut &b"hello"[..], &mut client));
///
/// let mut received = Vec::new();
/// assert_eq!(io::copy(&mut server, &mut received)?, 5);
/// assert_eq!(received, b"hello");
/// # sending.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: ?Sized + Read,
    W: ?Sized + Write,
{
    #[cfg(target_os = "linux")]
    let copied = match kernel::copy(reader, writer, &|| ())? {
        (copied, true) => return Ok(copied),
        (copied, false) => copied,
    };
    #[cfg(not(target_os = "linux"))]
    let copied = 0;
    Ok(copied + io::copy(reader, writer)?)
}

/// [`copy`], which tells of each read and write that has moved bytes.
fn copy_telling<R: Read, W: Write>(reader: R, writer: W, moved: &dyn Fn()) -> io::Result<u64> {
    let (mut reader, mut writer) = (Telling(reader, moved), Telling(writer, moved));
    #[cfg(target_os = "linux")]
    let copied = match kernel::copy(&mut reader.0, &mut writer.0, moved)? {
        (copied, true) => return Ok(copied),
        (copied, false) => copied,
    };
    #[cfg(not(target_os = "linux"))]
    let copied = 0;
    Ok(copied + io::copy(&mut reader, &mut writer)?)
}

/// Something that is read or written, and who is told of that.
struct Telling<'a, T>(T, &'a dyn Fn());

impl<T> Telling<'_, T> {
    fn tell(&self, count: usize) -> usize {
        if count > 0 {
            self.1();
        }
        count
    }
}

impl<T: Read> Read for Telling<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buf)?;
        Ok(self.tell(count))
    }
}

impl<T: Write> Write for Telling<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.0.write(buf)?;
        Ok(self.tell(count))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A stream of two directions, each of which can be ended by itself, as
/// [`copy_bidirectional`] does.
///
/// Implement it for a stream of your own if `&YourStream` implements `Read` and `Write`, so that
/// one coroutine can read while another writes.
pub trait HalfClose {
    /// Ends one direction, or both, and wakes whoever waits in it.
    ///
    /// With [`Shutdown::Write`], the other end is to read the end of the stream.
    ///
    /// # Errors
    ///
    /// What the system says. `NotConnected` is taken for an end that came before.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

impl HalfClose for TcpStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        TcpStream::shutdown(self, how)
    }
}

impl HalfClose for crate::net::unix::UnixStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        crate::net::unix::UnixStream::shutdown(self, how)
    }
}

impl HalfClose for DuplexStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        DuplexStream::shutdown(self, how)
    }
}

/// Copies from `a` to `b` and from `b` to `a` at once, until both have ended. Gives how many bytes
/// went from `a` to `b`, and from `b` to `a`.
///
/// When one of them has no more to say, the other is told so (by [`Shutdown::Write`]) once all of it
/// has been passed on, and the opposite direction goes on. Each direction is a [`copy`], by the
/// kernel if both are sockets on Linux. One of them runs in a coroutine of its own; if the caller is
/// a plain thread, in a thread.
///
/// A read timeout of a stream counts for what comes from that stream alone: one that only listens
/// ends the whole by it, however much goes the other way. [`CopyBidirectional::idle_timeout`] is for
/// both directions.
///
/// # Errors
///
/// The first error of either direction; it ends the other one. Both streams are shut down then, and
/// also if the coroutine is cancelled. It is an error, too, if there is no room for another
/// coroutine or thread.
///
/// # Examples
///
/// A proxy:
///
/// ```
/// use pirn::io::{Read, Write, copy_bidirectional};
/// use pirn::net::{Shutdown, TcpListener, TcpStream};
///
/// let server = TcpListener::bind("127.0.0.1:0")?;
/// let proxy = TcpListener::bind("127.0.0.1:0")?;
/// let (server_addr, proxy_addr) = (server.local_addr()?, proxy.local_addr()?);
/// let proxying = pirn::spawn(move || {
///     let (client, _) = proxy.accept()?;
///     copy_bidirectional(&client, &TcpStream::connect(server_addr)?)
/// });
///
/// let mut client = TcpStream::connect(proxy_addr)?;
/// client.write_all(b"question")?;
/// client.shutdown(Shutdown::Write)?;
/// let (mut answering, _) = server.accept()?;
/// let mut question = String::new();
/// answering.read_to_string(&mut question)?;
/// assert_eq!(question, "question");
/// answering.write_all(b"answer")?;
/// drop(answering);
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert_eq!(answer, "answer");
/// assert_eq!(proxying.join().unwrap()?, (8, 6));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy_bidirectional<A, B>(a: &A, b: &B) -> io::Result<(u64, u64)>
where
    A: HalfClose + Sync,
    B: HalfClose + Sync,
    for<'a> &'a A: Read + Write,
    for<'b> &'b B: Read + Write,
{
    CopyBidirectional::new().run(a, b)
}

/// [`copy_bidirectional`] with a limit.
///
/// # Examples
///
/// ```
/// use pirn::io::{CopyBidirectional, ErrorKind, duplex};
/// use std::time::Duration;
///
/// let ((_client, one), (two, _server)) = (duplex(64), duplex(64));
/// let copying = CopyBidirectional::new().idle_timeout(Duration::from_millis(10));
/// let error = copying.run(&one, &two).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// ```
#[derive(Debug, Clone, Default)]
pub struct CopyBidirectional {
    idle_timeout: Option<Duration>,
}

impl CopyBidirectional {
    /// One without a limit.
    #[must_use]
    pub const fn new() -> CopyBidirectional {
        CopyBidirectional { idle_timeout: None }
    }

    /// Ends both directions when nothing was read or written in either of them for so long:
    /// `proxy_timeout` of nginx.
    ///
    /// That takes one more coroutine, or thread, while the copy runs.
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Duration) -> CopyBidirectional {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Copies in both directions, until both have ended: [`copy_bidirectional`].
    ///
    /// # Errors
    ///
    /// - `TimedOut` after the idle timeout. Both streams are shut down then.
    /// - `InvalidInput` if that is zero.
    /// - Those of [`copy_bidirectional`].
    pub fn run<A, B>(&self, a: &A, b: &B) -> io::Result<(u64, u64)>
    where
        A: HalfClose + Sync,
        B: HalfClose + Sync,
        for<'a> &'a A: Read + Write,
        for<'b> &'b B: Read + Write,
    {
        if self.idle_timeout == Some(Duration::ZERO) {
            let message = "cannot set a 0 duration timeout";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let idle = self.idle_timeout.map(Idle::new);
        let both = Both { a, b, first_error: Mutex::new(None), idle, over: Event::new() };
        let counts = if sched::in_coroutine() {
            thread::scope(|scope| {
                let ending = both.ending();
                let spawn = thread::Builder::new;
                if let Some(idle) = &both.idle {
                    spawn().spawn_scoped(scope, || both.watch(idle))?;
                }
                let back =
                    spawn().spawn_scoped(scope, || both.run(|| both.one_way::<B, A>(b, a)))?;
                let there = both.run(|| both.one_way::<A, B>(a, b));
                // A cancellation may come here, too.
                let back = back.join().unwrap_or_else(|panic| resume_unwind(panic));
                ending.disarm();
                both.over.set();
                io::Result::Ok((there, back))
            })
        } else {
            std::thread::scope(|scope| {
                let ending = both.ending();
                let spawn = std::thread::Builder::new;
                if let Some(idle) = &both.idle {
                    spawn().spawn_scoped(scope, || both.watch(idle))?;
                }
                let back =
                    spawn().spawn_scoped(scope, || both.run(|| both.one_way::<B, A>(b, a)))?;
                let there = both.run(|| both.one_way::<A, B>(a, b));
                let back = back.join().unwrap_or_else(|panic| resume_unwind(panic));
                ending.disarm();
                both.over.set();
                Ok((there, back))
            })
        }?;
        match both.first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(counts),
            Some(error) => Err(error),
        }
    }
}

/// When something was moved, and how long nothing may be.
struct Idle {
    timeout: Duration,
    start: Instant,
    /// Nanoseconds from the start.
    moved_at: AtomicU64,
}

impl Idle {
    fn new(timeout: Duration) -> Idle {
        Idle { timeout, start: Instant::now(), moved_at: AtomicU64::new(0) }
    }

    fn moved(&self) {
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.moved_at.fetch_max(now, Ordering::Relaxed);
    }

    /// How long it is until it has lasted too long; nothing if it has.
    fn left(&self) -> Option<Duration> {
        let moved_at = Duration::from_nanos(self.moved_at.load(Ordering::Relaxed));
        let idle = self.start.elapsed().saturating_sub(moved_at);
        self.timeout.checked_sub(idle).filter(|left| !left.is_zero())
    }
}

/// Two streams, and the first error of the copies between them.
struct Both<'a, A, B> {
    a: &'a A,
    b: &'a B,
    first_error: Mutex<Option<io::Error>>,
    idle: Option<Idle>,
    /// Both directions have ended, or are about to.
    over: Event,
}

impl<A: HalfClose, B: HalfClose> Both<'_, A, B> {
    /// Copies until the end, and passes that on.
    fn one_way<F, T>(&self, mut from: &F, mut to: &T) -> io::Result<u64>
    where
        T: HalfClose,
        for<'a> &'a F: Read,
        for<'b> &'b T: Write,
    {
        let copied = match &self.idle {
            None => copy(&mut from, &mut to)?,
            Some(idle) => copy_telling(from, to, &|| idle.moved())?,
        };
        match to.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
            _ => Ok(copied),
        }
    }

    /// Ends both directions when nothing has moved for too long.
    fn watch(&self, idle: &Idle) {
        while let Some(left) = idle.left() {
            if self.over.wait_timeout(left) {
                return;
            }
        }
        let message = format!("nothing has moved either way for {:?}", idle.timeout);
        let error = io::Error::new(io::ErrorKind::TimedOut, message);
        lock(&self.first_error).get_or_insert(error);
        drop(self.ending());
    }

    /// One direction. If it fails, the other one is ended.
    fn run(&self, direction: impl FnOnce() -> io::Result<u64>) -> u64 {
        let ending = self.ending();
        match direction() {
            Ok(copied) => {
                ending.disarm();
                copied
            }
            Err(error) => {
                // Before the other one meets the consequences.
                lock(&self.first_error).get_or_insert(error);
                0
            }
        }
    }

    fn ending(&self) -> Ending<'_, A, B> {
        Ending(self)
    }
}

/// Ends both streams when it is dropped: when something has failed, panicked or been cancelled.
struct Ending<'a, A: HalfClose, B: HalfClose>(&'a Both<'a, A, B>);

impl<A: HalfClose, B: HalfClose> Ending<'_, A, B> {
    fn disarm(self) {
        mem::forget(self);
    }
}

impl<A: HalfClose, B: HalfClose> Drop for Ending<'_, A, B> {
    fn drop(&mut self) {
        // Whoever has ended before says so, and there is nothing else to be done about it.
        let _ended = self.0.a.shutdown(Shutdown::Both);
        let _ended = self.0.b.shutdown(Shutdown::Both);
        self.0.over.set();
    }
}
