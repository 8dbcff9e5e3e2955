//! [`Async`].

use crate::io::Descriptor;
use crate::io::sys;
use crate::netpoller::Side;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ChildStdin;
use std::time::Instant;

/// Anything with a descriptor that can be polled, blocking-style: what would give `WouldBlock`
/// parks the coroutine instead. On a plain thread it blocks the thread.
///
/// For what pirn has no type of its own: inotify, timerfd, netlink, CAN or raw sockets, a terminal,
/// the socket of a C library. `read_with` and `write_with` make a wait of any operation; `Read` and
/// `Write` are there if the value has them, and for std's own types also by reference.
///
/// # The descriptor
///
/// An operation must give `WouldBlock` where it would block. [`new`](Async::new) therefore sets
/// `O_NONBLOCK`. That flag belongs to the open file description: **others who share it notice**, be
/// it a duplicate or the process that the descriptor was inherited from.
/// [`new_unchanged`](Async::new_unchanged) leaves it to the caller.
/// [`into_inner`](Async::into_inner) puts the flag back as it was found.
///
/// Waiting is done on a duplicate, so that nothing goes wrong if the value is replaced or closes
/// its descriptor; then the waits are still for what it was made with.
///
/// Whoever waits may be woken for nothing, so several can use one value at once.
///
/// # Examples
///
/// ```
/// use pirn::io::{Async, Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let (ours, theirs) = (Async::new(ours)?, Async::new(theirs)?);
/// let writing = pirn::spawn(move || (&theirs).write_all(b"hello"));
/// let mut buf = [0; 5];
/// (&ours).read_exact(&mut buf)?;
/// assert_eq!(&buf, b"hello");
/// writing.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// An operation of one's own:
///
/// ```
/// use pirn::io::Async;
///
/// let socket = Async::new(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
/// let address = socket.get_ref().local_addr()?;
/// socket.write_with(|socket| socket.send_to(b"to myself", address))?;
/// let mut buf = [0; 16];
/// let (count, from) = socket.read_with(|socket| socket.recv_from(&mut buf))?;
/// assert_eq!((count, from), (9, address));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Async<T> {
    waiting: Descriptor,
    was_nonblocking: Option<bool>,
    inner: T,
}

impl<T: AsFd> Async<T> {
    /// Takes `inner` over and makes its open file description nonblocking.
    ///
    /// # Errors
    ///
    /// - `Unsupported` for what cannot be polled: files on disks and directories.
    /// - What the system says of duplicating the descriptor or of setting the flag.
    pub fn new(inner: T) -> io::Result<Async<T>> {
        let mut new = Async::new_unchanged(inner)?;
        new.was_nonblocking = Some(sys::set_nonblocking(new.inner.as_fd(), true)?);
        Ok(new)
    }

    /// Takes `inner` over as it is.
    ///
    /// Its operations are to give `WouldBlock` rather than block, be it by `O_NONBLOCK` or by a flag
    /// of the call. What blocks all the same blocks the thread, with all its coroutines.
    ///
    /// # Errors
    ///
    /// - `Unsupported` for what cannot be polled: files on disks and directories.
    /// - What the system says of duplicating the descriptor.
    pub fn new_unchanged(inner: T) -> io::Result<Async<T>> {
        if sys::is_on_disk(inner.as_fd())? {
            let text = "files on disks are always ready and cannot be waited for";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let waiting = Descriptor::shared(inner.as_fd().try_clone_to_owned()?);
        Ok(Async { waiting, was_nonblocking: None, inner })
    }

    /// Gives the value back, with the flag that it came with.
    ///
    /// # Errors
    ///
    /// What the system says of setting the flag.
    pub fn into_inner(self) -> io::Result<T> {
        if self.was_nonblocking == Some(false) {
            sys::set_nonblocking(self.inner.as_fd(), false)?;
        }
        Ok(self.inner)
    }
}

impl<T> Async<T> {
    /// The value.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The value. Its descriptor should stay what it is.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Waits until there is something to read, or the end of the stream, or an error.
    ///
    /// # Errors
    ///
    /// What the system says of polling the descriptor.
    pub fn readable(&self) -> io::Result<()> {
        self.waiting.readable(None)
    }

    /// Waits until there is room to write, or an error.
    ///
    /// # Errors
    ///
    /// What the system says of polling the descriptor.
    pub fn writable(&self) -> io::Result<()> {
        self.waiting.writable(None)
    }

    /// [`readable`](Async::readable), until `deadline`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the deadline comes first.
    pub fn readable_until(&self, deadline: Instant) -> io::Result<()> {
        self.waiting.readable(Some(deadline))
    }

    /// [`writable`](Async::writable), until `deadline`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the deadline comes first.
    pub fn writable_until(&self, deadline: Instant) -> io::Result<()> {
        self.waiting.writable(Some(deadline))
    }

    /// Calls `op` until it gives something other than `WouldBlock` or `Interrupted`; waits in
    /// between until the descriptor is readable.
    ///
    /// # Errors
    ///
    /// What `op` says, and what the system says of polling the descriptor.
    pub fn read_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.waiting.io(Side::Read, None, |_| op(&self.inner))
    }

    /// Calls `op` until it gives something other than `WouldBlock` or `Interrupted`; waits in
    /// between until the descriptor is writable.
    ///
    /// # Errors
    ///
    /// What `op` says, and what the system says of polling the descriptor.
    pub fn write_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.waiting.io(Side::Write, None, |_| op(&self.inner))
    }

    /// [`read_with`](Async::read_with), for what needs `&mut T`.
    ///
    /// # Errors
    ///
    /// What `op` says, and what the system says of polling the descriptor.
    pub fn read_with_mut<R>(
        &mut self,
        mut op: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.waiting.io(Side::Read, None, |_| op(&mut self.inner))
    }

    /// [`write_with`](Async::write_with), for what needs `&mut T`.
    ///
    /// # Errors
    ///
    /// What `op` says, and what the system says of polling the descriptor.
    pub fn write_with_mut<R>(
        &mut self,
        mut op: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.waiting.io(Side::Write, None, |_| op(&mut self.inner))
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: Read> Read for Async<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with_mut(|inner| inner.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with_mut(|inner| inner.read_vectored(bufs))
    }
}

impl<T: Write> Write for Async<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_with_mut(|inner| inner.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with_mut(|inner| inner.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_with_mut(T::flush)
    }
}

/// By reference, type by type. An implementation for each `T` for which `&T` reads, `Async` being
/// one itself, would have the compiler go round in circles in every crate that asks for a type with
/// `for<'a> &'a T: Read`.
macro_rules! reads_by_reference {
    ($($kind:ty),*) => {
        $(
            impl Read for &Async<$kind> {
                fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                    self.read_with(|mut inner| inner.read(buf))
                }

                fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                    self.read_with(|mut inner| inner.read_vectored(bufs))
                }
            }
        )*
    };
}

macro_rules! writes_by_reference {
    ($($kind:ty),*) => {
        $(
            impl Write for &Async<$kind> {
                fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                    self.write_with(|mut inner| inner.write(buf))
                }

                fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                    self.write_with(|mut inner| inner.write_vectored(bufs))
                }

                fn flush(&mut self) -> io::Result<()> {
                    self.write_with(|mut inner| inner.flush())
                }
            }
        )*
    };
}

reads_by_reference!(File, TcpStream, UnixStream, io::PipeReader);
writes_by_reference!(File, TcpStream, UnixStream, io::PipeWriter, ChildStdin);
