//! A connection over a Unix socket.

use crate::net::fd::Std;
use crate::net::kind::Kind;
use crate::net::socket::Socket;
use crate::net::surface::{socket_surface, stream_surface};
use crate::net::sys;
use crate::net::unix::SocketAddr;
use crate::net::unix::addr::to_system;
use crate::netpoller::Source;
use crate::park::WaitReason;
use socket2::{Domain, SockRef};
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::sync::Arc;

/// A connection over a Unix socket: [`std::os::unix::net::UnixStream`] whose waits park the
/// coroutine.
///
/// Any number of coroutines and threads may read and write at once, through `&UnixStream` or
/// clones. Dropping the last clone closes the connection.
///
/// # Examples
///
/// ```
/// use pirn::os::unix::net::UnixStream;
/// use std::io::{Read, Write};
///
/// let (mut here, mut there) = UnixStream::pair()?;
/// let echo = pirn::spawn(move || {
///     let mut buf = [0; 4];
///     there.read_exact(&mut buf)?;
///     there.write_all(&buf)
/// });
/// here.write_all(b"ping")?;
/// let mut answer = String::new();
/// here.read_to_string(&mut answer)?;
/// assert_eq!(answer, "ping");
/// # echo.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixStream {
    pub(in crate::net) socket: Arc<Socket>,
}

impl UnixStream {
    /// Connects to the socket at that path. If its queue is full, this waits until it is not.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for a path that is too long or contains a NUL.
    /// - What the system says of the attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::os::unix::net::{UnixListener, UnixStream};
    ///
    /// let path = std::env::temp_dir().join(format!("pirn-{}-connect", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let client = UnixStream::connect(&path)?;
    /// assert_eq!(client.peer_addr()?.as_pathname(), Some(path.as_path()));
    /// std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Connects to the socket with that address. If its queue is full, this waits until it is not.
    ///
    /// # Errors
    ///
    /// What the system says of the attempt.
    ///
    /// # Examples
    ///
    #[cfg_attr(any(target_os = "linux", target_os = "android"), doc = "```")]
    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), doc = "```ignore")]
    /// use pirn::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    /// use std::os::linux::net::SocketAddrExt;
    ///
    /// let name = format!("pirn {}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let client = UnixStream::connect_addr(&address)?;
    /// let (_server, peer) = listener.accept()?;
    /// assert!(peer.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        let source = Source::new(sys::stream_socket(Domain::UNIX)?.into());
        let addr = to_system(socket_addr)?;
        source.io_unannounced(WaitReason::Connect, None, |fd| SockRef::from(&fd).connect(&addr))?;
        // Nothing else needs it, and whoever gets the descriptor may not expect it.
        SockRef::from(&source.as_fd()).set_nonblocking(false)?;
        Ok(UnixStream { socket: Arc::new(Socket::new(source, Kind::OTHER)) })
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, two) = StdStream::pair()?;
        Ok((UnixStream::ours(one), UnixStream::ours(two)))
    }

    pub(in crate::net) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// A socket that nobody else has.
    pub(super) fn ours(stream: StdStream) -> UnixStream {
        UnixStream { socket: Arc::new(Socket::new(Source::new(stream.into()), Kind::OTHER)) }
    }

    /// Takes a stream of std's over, with its timeouts and nonblocking mode. The flags of its
    /// descriptor stay as they are.
    ///
    /// # Examples
    ///
    /// ```
    /// let (one, two) = std::os::unix::net::UnixStream::pair()?;
    /// let stream = pirn::os::unix::net::UnixStream::from_std(one);
    /// assert!(stream.peer_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn from_std(stream: StdStream) -> UnixStream {
        UnixStream::from(OwnedFd::from(stream))
    }

    /// Turns this into a stream of std's, which blocks unless
    /// [`set_nonblocking`](UnixStream::set_nonblocking) said otherwise. If there are clones, it is a
    /// duplicate of the descriptor.
    ///
    /// # Errors
    ///
    /// That of duplicating the descriptor, or of setting its flags.
    ///
    /// # Examples
    ///
    /// ```
    /// let (one, two) = pirn::os::unix::net::UnixStream::pair()?;
    /// let stream: std::os::unix::net::UnixStream = one.into_std()?;
    /// assert!(stream.peer_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<StdStream> {
        self.socket.into_fd().map(Into::into)
    }

    /// For what does not wait.
    fn std(&self) -> Std<'_, StdStream> {
        Std::of(self.as_fd())
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// What the system says, such as `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// Ends one direction, or both, for every clone. Whoever is waiting in it wakes up.
    ///
    /// # Errors
    ///
    /// What the system says, such as `NotConnected`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.std().shutdown(how)
    }

    /// Reads without taking what is read off the stream. Std has this on nightly only.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    /// Writes bytes, and sends duplicates of descriptors with the first of them.
    ///
    /// It may write fewer bytes than there are, as every write, and says how many. The descriptors
    /// have all been sent then, so that the rest of the bytes goes out by a plain write.
    ///
    /// A duplicate shares its flags with the original. Listeners of this crate, and TCP streams that
    /// it has opened, have `O_NONBLOCK` set; whoever makes one of them from what was received, and
    /// wants it to wait, calls its `set_nonblocking(false)`. In this crate that does not touch the
    /// flag.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` if there are descriptors but no byte with which they could travel.
    /// - What the system says, such as that there are too many; Linux sends up to 253 at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::os::unix::net::UnixStream;
    /// use std::io::{Read, Write};
    /// use std::os::fd::AsFd;
    ///
    /// let (one, two) = UnixStream::pair()?;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// one.send_fds(b"a pipe", &[reader.as_fd()])?;
    ///
    /// let mut buf = [0; 16];
    /// let (len, mut fds) = two.recv_fds(&mut buf, 1)?;
    /// assert_eq!(&buf[..len], b"a pipe");
    /// let mut pipe = std::io::PipeReader::from(fds.pop().unwrap());
    /// writer.write_all(b"hello")?;
    /// drop(writer);
    /// let mut text = String::new();
    /// pipe.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if bytes.is_empty() && !fds.is_empty() {
            let error = "descriptors need a byte to travel with";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        self.socket.transmit(|fd| sys::send_fds(fd, bytes, fds))
    }

    /// Reads bytes, and takes up to `max` descriptors that were sent with them. They are
    /// close-on-exec.
    ///
    /// One call gives the descriptors of one `send_fds` at the most, with bytes of it or sent
    /// before it. A plain read takes the bytes and closes the descriptors. At the end of the stream
    /// there are zero bytes and no descriptors.
    ///
    /// # Errors
    ///
    /// - `InvalidData` if descriptors were lost: more than `max` were sent, or this process cannot
    ///   have more. Those that came are closed, and the bytes that came with them are gone, so the
    ///   stream is best given up.
    /// - Those of reading.
    ///
    /// # Examples
    ///
    /// See [`send_fds`](UnixStream::send_fds).
    pub fn recv_fds(&self, buf: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.socket.receive(|fd| sys::recv_fds(fd, buf, max))
    }
}

socket_surface! {
    UnixStream, reading: "read", writing: "write",
    example: "let (socket, _peer) = pirn::os::unix::net::UnixStream::pair()?;"
}
stream_surface!(UnixStream);

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}
