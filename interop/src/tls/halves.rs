//! Two halves of a TLS connection, for two coroutines or threads.
//!
//! - Nobody waits with the session locked. It is locked to move bytes between it and a buffer, and
//!   encryption and decryption are part of that; so the halves do not compute at the same time.
//! - The write half alone writes to the socket. Records have an order, and whoever has taken one
//!   out of the session must write it before the next. What the session has to say of itself when
//!   something has been read (new keys, an alert) goes out with the next write or flush: TLS asks
//!   for no more, and a reader that wrote would be a reader that waits for room.
//! - What a call could not send, because of a timeout or because it was cancelled, stays in the
//!   half, and comes first the next time. So no record is torn or lost.

use pirn::net::{Shutdown, TcpStream};
use pirn::sync::{Mutex, MutexGuard};
use rustls::{Connection, StreamOwned};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// What one read of the socket takes: a record of the largest kind, and its head.
const PIECE: usize = 17 << 10;

struct Shared {
    session: Mutex<Connection>,
    socket: TcpStream,
}

impl Shared {
    fn session(&self) -> MutexGuard<'_, Connection> {
        self.session.lock().expect("rustls does not panic")
    }
}

/// Reads what the peer has written.
pub struct ReadHalf {
    shared: Arc<Shared>,
    /// What has been read from the socket, and not yet been given to the session.
    piece: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Writes to the peer.
pub struct WriteHalf {
    shared: Arc<Shared>,
    /// Records that the session has given away.
    records: Vec<u8>,
    /// How much of them has been written.
    sent: usize,
}

/// Ends the handshake, if that is still to be done, and takes the stream apart.
///
/// # Errors
///
/// Those of the handshake.
///
/// # Examples
///
/// ```
/// use pirn::net::{TcpListener, TcpStream};
/// use pirn_interop::tls::{self, Identity};
/// use rustls::{ClientConnection, ServerConnection, StreamOwned};
/// use std::io::{Read, Write};
///
/// let identity = Identity::self_signed(&["localhost"])?;
/// let trusting = tls::client_config(identity.certificates())?;
/// let config = identity.server_config()?;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
///
/// // Says back what it hears, while it hears it.
/// let server = pirn::spawn(move || {
///     let (stream, _) = listener.accept()?;
///     let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
///     let (mut from, mut to) = tls::split(StreamOwned::new(session, stream))?;
///     std::io::copy(&mut from, &mut to)?;
///     to.finish()
/// });
///
/// let session = ClientConnection::new(trusting, "localhost".try_into().unwrap()).unwrap();
/// let stream = StreamOwned::new(session, TcpStream::connect(address)?);
/// let (mut from, mut to) = tls::split(stream)?;
/// let said = vec![7; 1 << 20];
/// let speaker = pirn::spawn({
///     let said = said.clone();
///     move || to.write_all(&said).and_then(|()| to.finish())
/// });
/// let mut heard = Vec::new();
/// from.read_to_end(&mut heard)?;
/// assert!(heard == said);
/// speaker.join().unwrap()?;
/// server.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub fn split<C: Into<Connection>>(
    stream: StreamOwned<C, TcpStream>,
) -> io::Result<(ReadHalf, WriteHalf)> {
    let StreamOwned { conn, sock: mut socket } = stream;
    let mut session = conn.into();
    if session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    let shared = Arc::new(Shared { session: Mutex::new(session), socket });
    let read = ReadHalf { shared: shared.clone(), piece: vec![0; PIECE].into(), start: 0, end: 0 };
    Ok((read, WriteHalf { shared, records: Vec::new(), sent: 0 }))
}

impl ReadHalf {
    /// The socket, for its timeouts.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.shared.socket
    }
}

impl Read for ReadHalf {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let mut session = self.shared.session();
            match session.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if self.start < self.end {
                self.start += session.read_tls(&mut &self.piece[self.start..self.end])?;
                digest(&mut session)?;
                continue;
            }
            drop(session);
            let mut socket = &self.shared.socket;
            (self.start, self.end) = (0, socket.read(&mut self.piece)?);
            if self.end == 0 {
                // The session says whether this is an end or a cut.
                let mut session = self.shared.session();
                session.read_tls(&mut io::empty())?;
                digest(&mut session)?;
            }
        }
    }
}

fn digest(session: &mut Connection) -> io::Result<()> {
    match session.process_new_packets() {
        Ok(_state) => Ok(()),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

impl WriteHalf {
    /// The socket, for its timeouts.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.shared.socket
    }

    /// Has both sides change their keys: the peer is asked to with the next write.
    ///
    /// # Errors
    ///
    /// In TLS 1.2 there is no such thing.
    pub fn refresh_keys(&mut self) -> io::Result<()> {
        self.shared.session().refresh_traffic_keys().map_err(io::Error::other)
    }

    /// Says that this was all. What the peer writes can still be read.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<()> {
        self.shared.session().send_close_notify();
        self.flush()?;
        self.shared.socket.shutdown(Shutdown::Write)
    }
}

impl Write for WriteHalf {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.shared.session().writer().write(buf)?;
        // They are taken: what went wrong is for the next call to say, as with `StreamOwned`.
        let _late = self.flush();
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut socket = &self.shared.socket;
        loop {
            while self.sent < self.records.len() {
                match socket.write(&self.records[self.sent..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => self.sent += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.records.clear();
            self.sent = 0;
            let mut session = self.shared.session();
            if !session.wants_write() {
                return Ok(());
            }
            while session.wants_write() {
                session.write_tls(&mut self.records)?;
            }
        }
    }
}
