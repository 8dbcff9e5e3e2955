//! Connections, with everything that TLS needs made for the test.

use pirn::net::{SocketBuilder, TcpListener, TcpStream};
use pirn_interop::tls::{self, Identity};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData,
    StreamOwned,
};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::DerefMut;
use std::sync::{Arc, LazyLock};

pub(crate) type Server = StreamOwned<ServerConnection, TcpStream>;
pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

/// A server's configuration, and that of a client who trusts it.
pub(crate) struct Parties {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

pub(crate) static PARTIES: LazyLock<Parties> = LazyLock::new(parties);

/// Parties of their own: those of another test do not trust them.
pub(crate) fn parties() -> Parties {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let client = tls::client_config(identity.certificates()).unwrap();
    Parties { server: identity.server_config().unwrap(), client }
}

pub(crate) fn server(stream: TcpStream) -> Server {
    stream.set_nodelay(true).unwrap();
    StreamOwned::new(ServerConnection::new(PARTIES.server.clone()).unwrap(), stream)
}

pub(crate) fn client_session(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap()
}

pub(crate) fn client(stream: TcpStream) -> Client {
    StreamOwned::new(client_session(&PARTIES.client), stream)
}

/// Both ends of a connection, which have not shaken hands.
pub(crate) fn pair() -> (Server, Client) {
    let (server_end, client_end) = sockets();
    (server(server_end), client(client_end))
}

pub(crate) fn sockets() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let client = connect(address);
    (listener.accept().unwrap().0, client)
}

/// Without the pauses that the system makes to fill its segments.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    // Room for all who come at once: who is turned away tries again after a second.
    let listener = SocketBuilder::new().backlog(1024).listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Says back what comes, until the end of it, and then says the end.
pub(crate) fn echo(mut stream: Server) -> io::Result<u64> {
    let mut piece = [0; 4096];
    let mut echoed = 0;
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            end(&mut stream)?;
            return Ok(echoed);
        }
        stream.write_all(&piece[..count])?;
        echoed += count as u64;
    }
}

/// Says that this was all.
pub(crate) fn end<C, D, S>(stream: &mut StreamOwned<C, S>) -> io::Result<()>
where
    C: DerefMut<Target = ConnectionCommon<D>>,
    D: SideData,
    S: Read + Write,
{
    stream.conn.send_close_notify();
    stream.flush()
}

/// Says something, and hears it.
pub(crate) fn ask(stream: &mut (impl Read + Write), said: &[u8]) {
    stream.write_all(said).unwrap();
    let mut heard = vec![0; said.len()];
    stream.read_exact(&mut heard).unwrap();
    assert!(heard == said);
}

/// Runs a test with one worker, and with several.
pub(crate) fn on_workers(test: impl Fn() + Send + Sync) {
    for workers in [1, 2, 4] {
        pirn::Builder::new().workers(workers).build().unwrap().run(&test);
    }
}

/// Bytes that show whether some are missing or out of place.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}
