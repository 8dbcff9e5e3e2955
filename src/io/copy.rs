//! [`copy`] and [`copy_bidirectional`].

use crate::io::duplex::DuplexStream;
#[cfg(target_os = "linux")]
use crate::io::kernel;
use crate::net::{Shutdown, TcpStream};
use crate::primitive::lock;
use crate::sched;
use crate::thread;
use std::io::{self, Read, Write};
use std::mem;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

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
    let copied = match kernel::copy(reader, writer)? {
        (copied, true) => return Ok(copied),
        (copied, false) => copied,
    };
    #[cfg(not(target_os = "linux"))]
    let copied = 0;
    Ok(copied + io::copy(reader, writer)?)
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
/// ends the whole by it, however much goes the other way.
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
    let both = Both { a, b, first_error: Mutex::new(None) };
    let counts = if sched::in_coroutine() {
        thread::scope(|scope| {
            let ending = both.ending();
            let back = thread::Builder::new()
                .spawn_scoped(scope, || both.run(|| one_way::<B, A>(b, a)))?;
            let there = both.run(|| one_way::<A, B>(a, b));
            // A cancellation may come here, too.
            let back = back.join().unwrap_or_else(|panic| resume_unwind(panic));
            ending.disarm();
            io::Result::Ok((there, back))
        })
    } else {
        std::thread::scope(|scope| {
            let ending = both.ending();
            let builder = std::thread::Builder::new();
            let back = builder.spawn_scoped(scope, || both.run(|| one_way::<B, A>(b, a)))?;
            let there = both.run(|| one_way::<A, B>(a, b));
            let back = back.join().unwrap_or_else(|panic| resume_unwind(panic));
            ending.disarm();
            Ok((there, back))
        })
    }?;
    match both.first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(counts),
        Some(error) => Err(error),
    }
}

/// Copies until the end, and passes that on.
fn one_way<A, B>(from: &A, to: &B) -> io::Result<u64>
where
    B: HalfClose,
    for<'a> &'a A: Read,
    for<'b> &'b B: Write,
{
    let (mut reader, mut writer) = (from, to);
    let copied = copy(&mut reader, &mut writer)?;
    match to.shutdown(Shutdown::Write) {
        Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
        _ => Ok(copied),
    }
}

/// Two streams, and the first error of the copies between them.
struct Both<'a, A, B> {
    a: &'a A,
    b: &'a B,
    first_error: Mutex<Option<io::Error>>,
}

impl<A: HalfClose, B: HalfClose> Both<'_, A, B> {
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
    }
}
