//! [`duplex`]: a stream of two directions in memory.

use crate::coroutine::{set_unwound, was_cancelled};
use crate::net::{Limits, Shutdown};
use crate::netpoller::Side;
use crate::park::shielded;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

/// What a write hands over at most if there is no capacity.
const HANDED_OVER: usize = 1 << 16;

/// Two ends of a stream in memory: what is written to one is read from the other.
///
/// Each direction holds up to `capacity` bytes, beyond which writes wait. With a capacity of 0 a
/// write waits until it is read, as with Go's `net.Pipe`. If a part was read when its deadline comes or
/// it is cancelled, it gives the length of that part, and the next wait ends instead.
///
/// # Examples
///
/// ```
/// use pirn::io::{Read, Write, duplex};
///
/// let (mut client, mut server) = duplex(1024);
/// client.write_all(b"ping")?;
/// let mut buf = [0; 4];
/// server.read_exact(&mut buf)?;
/// assert_eq!(&buf, b"ping");
/// drop(server);
/// assert_eq!(client.read(&mut buf)?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn duplex(capacity: usize) -> (DuplexStream, DuplexStream) {
    let (there, back) = (Arc::new(Direction::new(capacity)), Arc::new(Direction::new(capacity)));
    let one =
        DuplexStream { reads: back.clone(), writes: there.clone(), limits: Limits::default() };
    (one, DuplexStream { reads: there, writes: back, limits: Limits::default() })
}

/// One end of a [`duplex`].
///
/// Any number of coroutines and threads may read and write at once, through `&DuplexStream`. When it
/// is dropped, the other end reads what is left, and then the end of the stream; its writes fail.
pub struct DuplexStream {
    reads: Arc<Direction>,
    writes: Arc<Direction>,
    limits: Limits,
}

/// The bytes that go one way.
struct Direction {
    capacity: usize,
    state: Mutex<State>,
    /// Both for everybody who waits: one that is told and cancelled would take the news with it.
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Without a capacity: somebody's bytes are there, and it waits for them to be read.
    handing_over: bool,
    write_ended: bool,
    read_ended: bool,
}

impl State {
    /// `Err`: nobody will read it.
    fn check_writer(&self) -> io::Result<()> {
        let ended = self.write_ended || self.read_ended;
        if ended { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

type Guard<'a> = MutexGuard<'a, State>;

impl Direction {
    fn new(capacity: usize) -> Direction {
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        Direction { capacity, state: Mutex::default(), filled, emptied }
    }

    fn lock(&self) -> Guard<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut state = self.lock();
        while state.bytes.is_empty() && !state.write_ended && !state.read_ended {
            state = wait(&self.filled, state, deadline)?;
        }
        if state.read_ended {
            return Ok(0);
        }
        let count = state.bytes.read(buf)?;
        if count > 0 {
            self.emptied.notify_all();
        }
        Ok(count)
    }

    fn write(&self, buf: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.capacity == 0 {
            return self.hand_over(&buf[..buf.len().min(HANDED_OVER)], deadline);
        }
        let mut state = self.lock();
        loop {
            state.check_writer()?;
            let count = buf.len().min(self.capacity - state.bytes.len());
            if count > 0 {
                state.bytes.extend(&buf[..count]);
                self.filled.notify_all();
                return Ok(count);
            }
            state = wait(&self.emptied, state, deadline)?;
        }
    }

    /// Waits until it is read, as far as it is.
    fn hand_over(&self, buf: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        let mut state = self.lock();
        loop {
            state.check_writer()?;
            if !state.handing_over {
                break;
            }
            state = wait(&self.emptied, state, deadline)?;
        }
        state.handing_over = true;
        state.bytes.extend(buf);
        self.filled.notify_all();
        let unwound = was_cancelled();
        let waited = catch_unwind(AssertUnwindSafe(|| self.wait_until_read(state, deadline)));
        // What is left is counted and taken back in one step: readers go on until then. A
        // cancellation does not keep it from that.
        let mut state = shielded(|| self.lock());
        let count = buf.len() - state.bytes.len();
        state.bytes.clear();
        state.handing_over = false;
        drop(state);
        self.emptied.notify_all();
        match waited {
            // A part is a success; the error, or the cancellation, is there for the next one.
            _ if count > 0 => {
                set_unwound(unwound);
                Ok(count)
            }
            Ok(waited) => waited.map(|()| count),
            Err(cancelled) => resume_unwind(cancelled),
        }
    }

    /// # Errors
    ///
    /// If the rest will not be read, or not before the deadline.
    fn wait_until_read(&self, mut state: Guard<'_>, deadline: Option<Instant>) -> io::Result<()> {
        while !state.bytes.is_empty() {
            state.check_writer()?;
            state = wait(&self.emptied, state, deadline)?;
        }
        Ok(())
    }

    fn end(&self, end: impl FnOnce(&mut State)) {
        end(&mut self.lock());
        self.filled.notify_all();
        self.emptied.notify_all();
    }
}

/// # Errors
///
/// `WouldBlock` if the deadline comes first.
fn wait<'a>(
    condition: &Condvar,
    guard: Guard<'a>,
    deadline: Option<Instant>,
) -> io::Result<Guard<'a>> {
    let Some(deadline) = deadline else {
        return Ok(condition.wait(guard).unwrap_or_else(PoisonError::into_inner));
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::from_raw_os_error(libc::EAGAIN));
    }
    let waited = condition.wait_timeout(guard, left);
    Ok(waited.unwrap_or_else(PoisonError::into_inner).0)
}

impl DuplexStream {
    /// Ends one direction, or both. Whoever is waiting in it wakes up.
    ///
    /// After [`Shutdown::Write`] the other end reads what is left, and then the end of the stream.
    /// After [`Shutdown::Read`] its writes fail with `BrokenPipe`, and what is left is gone.
    ///
    /// # Errors
    ///
    /// None; the `Result` is that of a socket.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Write {
            self.reads.end(|state| {
                state.read_ended = true;
                // A writer that hands over sees by it how much was read.
                if !state.handing_over {
                    state.bytes.clear();
                }
            });
        }
        if how != Shutdown::Read {
            self.writes.end(|state| state.write_ended = true);
        }
        Ok(())
    }

    /// Sets the instant from which on reads fail with `WouldBlock`; `None` lifts it.
    ///
    /// It counts for reads that start from now on; see
    /// [`TcpStream::set_read_deadline`](crate::net::TcpStream::set_read_deadline).
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        self.limits.set_deadline(Side::Read, deadline);
    }

    /// Sets the instant from which on writes fail with `WouldBlock`; `None` lifts it.
    ///
    /// It counts for writes that start from now on.
    pub fn set_write_deadline(&self, deadline: Option<Instant>) {
        self.limits.set_deadline(Side::Write, deadline);
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.reads.end(|state| state.read_ended = true);
        self.writes.end(|state| state.write_ended = true);
    }
}

impl Read for &DuplexStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reads.read(buf, self.limits.start(Side::Read)?)
    }
}

impl Read for DuplexStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for &DuplexStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.writes.write(buf, self.limits.start(Side::Write)?)
    }

    /// Does nothing: what is written can be read.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for DuplexStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    /// Does nothing: what is written can be read.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for DuplexStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexStream")
            .field("capacity", &self.reads.capacity)
            .finish_non_exhaustive()
    }
}
