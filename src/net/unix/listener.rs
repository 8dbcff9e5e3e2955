//! A Unix socket that takes connections.

use crate::net::fd::Std;
use crate::net::kind::Kind;
use crate::net::listening::ListeningSocket;
use crate::net::surface::listener_surface;
use crate::net::unix::{SocketAddr, UnixStream};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;

/// A Unix socket that takes connections: [`std::os::unix::net::UnixListener`] whose waits park the
/// coroutine.
///
/// Any number of coroutines and threads may accept at once, through `&UnixListener` or clones; each
/// connection goes to one of them.
///
/// # Examples
///
/// ```
/// use pirn::os::unix::net::{UnixListener, UnixStream};
/// use std::io::{Read, Write};
///
/// let path = std::env::temp_dir().join(format!("pirn-{}-listener", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let client = pirn::spawn({
///     let path = path.clone();
///     move || UnixStream::connect(path)?.write_all(b"hello")
/// });
/// let mut text = String::new();
/// listener.accept()?.0.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// client.join().unwrap()?;
/// std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener {
    socket: Arc<ListeningSocket>,
}

/// The endless iterator over a listener's connections, made by [`UnixListener::incoming`].
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl UnixListener {
    /// Listens on a socket that this makes at that path. It stays there when the listener is
    /// dropped.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for a path that is too long or contains a NUL.
    /// - `AddrInUse` if there is something at the path.
    /// - What else the system says.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::ours(StdListener::bind(path)?)
    }

    /// Listens on that address.
    ///
    /// # Errors
    ///
    /// What the system says, such as `AddrInUse`.
    ///
    /// # Examples
    ///
    /// See [`UnixStream::connect_addr`].
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::ours(StdListener::bind_addr(socket_addr)?)
    }

    fn ours(listener: StdListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        Ok(UnixListener { socket: Arc::new(ListeningSocket::new(listener.into(), Kind::OTHER)) })
    }

    /// Takes a listener of std's over, with its nonblocking mode.
    ///
    /// The descriptor itself is made nonblocking, also for other handles that std has to it.
    ///
    /// # Examples
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("pirn-{}-from-std", std::process::id()));
    /// let listener = std::os::unix::net::UnixListener::bind(&path)?;
    /// let listener = pirn::os::unix::net::UnixListener::from_std(listener);
    /// let client = pirn::os::unix::net::UnixStream::connect(&path)?;
    /// assert!(listener.accept()?.1.is_unnamed());
    /// std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn from_std(listener: StdListener) -> UnixListener {
        UnixListener::from(OwnedFd::from(listener))
    }

    /// Turns this into a listener of std's, which blocks unless
    /// [`set_nonblocking`](UnixListener::set_nonblocking) said otherwise. If there are clones, it is
    /// a duplicate of the descriptor, and stays nonblocking for their sake.
    ///
    /// # Errors
    ///
    /// That of duplicating the descriptor, or of setting its flags.
    ///
    /// # Examples
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("pirn-{}-into-std", std::process::id()));
    /// let listener = pirn::os::unix::net::UnixListener::bind(&path)?;
    /// let listener: std::os::unix::net::UnixListener = listener.into_std()?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(path.as_path()));
    /// std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<StdListener> {
        self.socket.into_fd().map(Into::into)
    }

    /// For what does not wait.
    fn std(&self) -> Std<'_, StdListener> {
        Std::of(self.as_fd())
    }

    /// The address that this listens on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// Waits for a connection, and gives it with the address of its other end.
    ///
    /// # Errors
    ///
    /// What the system says. If it has run out of descriptors or memory, a few milliseconds pass
    /// before that is said, so that a loop which tries again leaves others the time to free some.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.socket.accept(UnixListener::take)
    }

    /// Takes a connection that is there: the descriptor is nonblocking, so std's does not wait.
    pub(in crate::net) fn take(fd: BorrowedFd<'_>) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, addr) = Std::<StdListener>::of(fd).accept()?;
        Ok((UnixStream::ours(stream), addr))
    }

    pub(in crate::net) fn socket(&self) -> &Arc<ListeningSocket> {
        &self.socket
    }

    /// The connections, without end: what [`accept`](UnixListener::accept) gives, time after time.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }
}

listener_surface!(UnixListener);

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _peer)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}
