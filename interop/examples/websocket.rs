//! WebSocket with nothing special: tungstenite over pirn's streams, with TLS and without.
//!
//! ```sh
//! cargo run --release -p pirn-interop --features tls --example websocket -- serve 127.0.0.1:8080
//! cargo run --release -p pirn-interop --features tls --example websocket -- serve 127.0.0.1:8443 localhost.pem
//! ```
//!
//! The second serves `wss:` by a certificate for `localhost`, which it makes and writes to that file.
//! Both say back each message that they get. In another terminal:
//!
//! ```sh
//! cargo run --release -p pirn-interop --features tls --example websocket -- say ws://localhost:8080/ hello 'hello again'
//! cargo run --release -p pirn-interop --features tls --example websocket -- say wss://localhost:8443/ localhost.pem hello
//! ```
//!
//! tungstenite takes whatever has `Read` and `Write`, so what it gets is a `TcpStream` of pirn's, or a
//! `rustls::StreamOwned` over one. Its `WebSocket` reads and writes in turns, by `&mut`. A server that
//! has something to say while nobody asks needs two coroutines, as `pirn_interop::tls::split` has it
//! for TLS: the session behind a lock (here `tungstenite::protocol::WebSocketContext`), which is never
//! held by who waits, and the socket used by each as `&TcpStream`.

#![expect(
    clippy::result_large_err,
    reason = "tungstenite's handshakes fail with all of the stream"
)]

use pirn::net::{Server, SocketBuilder, TcpListener, TcpStream};
use pirn::time::timeout;
use pirn_interop::tls::{self, Identity};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::Uri;
use tungstenite::{Error, Message, WebSocket};

/// How long a peer may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A client that says nothing for so long is left.
const IDLE: Duration = Duration::from_secs(60);

/// Shakes hands, which is over soon or fails.
fn shake<T, R: tungstenite::handshake::HandshakeRole>(
    hands: impl FnOnce() -> Result<T, HandshakeError<R>>,
) -> Result<T, Error> {
    match timeout(HANDSHAKE, hands) {
        Ok(Ok(shaken)) => Ok(shaken),
        Ok(Err(HandshakeError::Failure(error))) => Err(error),
        // The socket's own timeout, or ours.
        Ok(Err(HandshakeError::Interrupted(_))) | Err(_) => {
            Err(Error::Io(io::ErrorKind::TimedOut.into()))
        }
    }
}

/// Says back what it is told, until the client has had enough.
fn echo<S: Read + Write>(stream: S) -> Result<(), Error> {
    let mut socket = shake(|| tungstenite::accept(stream))?;
    loop {
        match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message)?,
            // Pings are answered by the next read, and so is the client's last word.
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The same over TLS.
fn echo_by_tls(stream: TcpStream, config: Arc<ServerConfig>) -> Result<(), Error> {
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    timeout(HANDSHAKE, || stream.conn.complete_io(&mut stream.sock))
        .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    echo(&mut stream)?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

/// Serves all who come.
fn start(
    server: &Server,
    listener: TcpListener,
    config: Option<Arc<ServerConfig>>,
) -> io::Result<()> {
    server.start(listener, move |stream, peer| {
        let served = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(IDLE)));
        let served = served.map_err(Error::Io).and_then(|()| match &config {
            None => echo(&stream),
            Some(config) => echo_by_tls(stream, config.clone()),
        });
        match served {
            // Peers go away and are silent: no news.
            Ok(())
            | Err(Error::Io(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {}
            Err(error) => eprintln!("{peer}: {error}"),
        }
    })
}

/// Says something and gives what is said back, message by message.
fn converse<S: Read + Write>(
    mut socket: WebSocket<S>,
    messages: &[&str],
) -> Result<Vec<String>, Error> {
    let mut answers = Vec::new();
    for &message in messages {
        socket.send(message.into())?;
        answers.push(socket.read()?.to_text()?.to_owned());
    }
    socket.close(None)?;
    loop {
        match socket.read() {
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return Ok(answers),
            Err(error) => return Err(error),
        }
    }
}

/// A conversation with the server of a `ws:`, or of a `wss:` if there is a configuration for that.
fn say(
    uri: &str,
    config: Option<Arc<ClientConfig>>,
    messages: &[&str],
) -> Result<Vec<String>, Error> {
    let parsed: Uri = uri.parse().map_err(io::Error::other)?;
    let host = parsed.host().unwrap_or_default();
    let port = parsed.port_u16().unwrap_or(if config.is_some() { 443 } else { 80 });
    let stream = TcpStream::connect((host, port))?;
    stream.set_nodelay(true)?;
    let request = uri.into_client_request()?;
    match config {
        None => converse(shake(|| tungstenite::client(request, stream))?.0, messages),
        Some(config) => {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
            let stream = StreamOwned::new(session, stream);
            converse(shake(|| tungstenite::client(request, stream))?.0, messages)
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Error> {
    let report = |answers: Vec<String>| answers.iter().for_each(|answer| println!("{answer}"));
    match *arguments {
        ["serve", address, ref certificate @ ..] if certificate.len() < 2 => {
            let config = match certificate {
                [file] => {
                    let made = Identity::self_signed(&["localhost"])?;
                    pirn::fs::write(file, made.to_pem())?;
                    Some(made.server_config()?)
                }
                _ => None,
            };
            let scheme = if config.is_some() { "wss" } else { "ws" };
            let listener = SocketBuilder::new().backlog(4096).listen(address)?;
            println!("WebSocket server on {scheme}://{}/", listener.local_addr()?);
            let server = Server::builder().name(scheme).build();
            start(&server, listener, config)?;
            Ok(server.wait()?)
        }
        ["say", uri, trusted, ref messages @ ..] if uri.starts_with("wss:") => {
            let config = tls::client_config(&tls::trusted(Path::new(trusted))?)?;
            say(uri, Some(config), messages).map(report)
        }
        ["say", uri, ref messages @ ..] => say(uri, None, messages).map(report),
        _ => {
            let usage = "usage: serve ADDRESS [CERTIFICATE] | say WS-URI MESSAGE... | \
                         say WSS-URI TRUSTED MESSAGE...";
            Err(io::Error::new(io::ErrorKind::InvalidInput, usage).into())
        }
    }
}

#[pirn::main]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("websocket: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many clients at once, with messages that do not fit into a socket's buffers.
    fn check(scheme: &str, server_config: Option<Arc<ServerConfig>>, trusting: &TrustAnchors) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("{scheme}://localhost:{}/", listener.local_addr().unwrap().port());
        let server = Server::new();
        start(&server, listener, server_config).unwrap();
        let clients: Vec<_> = (0..16)
            .map(|number| {
                let (uri, trusting) = (uri.clone(), trusting.clone());
                pirn::spawn(move || {
                    let long = format!("{number}").repeat(500_000);
                    let said = ["hello", &long, "", "bye"];
                    assert!(say(&uri, trusting, &said).unwrap() == said);
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!(server.stop(Duration::MAX), 0);
        assert_eq!((server.stats().accepted, server.stats().panicked), (16, 0));
    }

    type TrustAnchors = Option<Arc<ClientConfig>>;

    #[test]
    fn what_is_said_comes_back() {
        check("ws", None, &None);
    }

    #[test]
    fn what_is_said_comes_back_by_tls() {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let trusting = tls::client_config(identity.certificates()).unwrap();
        check("wss", Some(identity.server_config().unwrap()), &Some(trusting));
    }
}
