//! HTTPS with nothing special: rustls over pirn's streams, a coroutine for each connection.
//!
//! ```sh
//! cargo run --release -p pirn-interop --features tls --example https -- serve 127.0.0.1:8443 localhost.pem
//! ```
//!
//! It makes a certificate for `localhost`, and writes it to that file, so that clients can trust it.
//! With a third argument, the two files are the certificate and the key to be used. In another
//! terminal:
//!
//! ```sh
//! cargo run --release -p pirn-interop --features tls --example https -- get localhost.pem localhost:8443 /
//! curl -i --cacert localhost.pem https://localhost:8443/
//! curl -k -d 'some text' https://127.0.0.1:8443/echo
//! openssl s_client -connect localhost:8443 -CAfile localhost.pem -verify_return_error </dev/null
//! ```
//!
//! The client gets pages of the world, too, if it is given the certificates that the system trusts:
//!
//! ```sh
//! cargo run --release -p pirn-interop --features tls --example https -- get /etc/ssl/certs/ca-certificates.crt example.org:443 /
//! ```
//!
//! HTTP/1.1 takes turns: a request, a response. So one `rustls::StreamOwned` in one coroutine is
//! enough here. It cannot be read and written at once, since both need `&mut`; a protocol in which
//! both sides may speak at any time splits it, as `pirn_interop::tls` shows and explains.

#[path = "../../examples/support/http.rs"]
#[expect(dead_code, reason = "only what needs no more than `Read` and `Write` is of use with TLS")]
mod http;

use http::Ended;
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

/// How long a client may take to shake hands, and a server.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves one connection to its end.
fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    http::limit(&stream)?;
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    timeout(HANDSHAKE, || stream.conn.complete_io(&mut stream.sock))
        .map_err(|_elapsed| io::ErrorKind::TimedOut)??;
    let ended = http::answer(&mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    match ended {
        Ended::ByClient => Ok(()),
        Ended::ByServer => http::finish(&stream.sock),
    }
}

/// Serves all who come.
fn start(server: &Server, listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<()> {
    server.start(listener, move |stream, peer| match serve(stream, config.clone()) {
        // Clients that try other protocols, and go away when they like, are no news.
        Err(error) if error.kind() == io::ErrorKind::Other => eprintln!("{peer}: {error}"),
        _ => {}
    })
}

/// Gets a page, and gives all of the response.
fn get(config: Arc<ClientConfig>, address: &str, path: &str) -> io::Result<Vec<u8>> {
    let stream = timeout(HANDSHAKE, || TcpStream::connect(address))
        .map_err(|_elapsed| io::ErrorKind::TimedOut)??;
    let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    // An end that was not said is an error: the response may have been cut.
    stream.read_to_end(&mut response)?;
    Ok(response)
}

fn run(arguments: &[&str]) -> io::Result<()> {
    match *arguments {
        ["serve", address, certificate, ref key @ ..] if key.len() < 2 => {
            let certificate = Path::new(certificate);
            let identity = match key {
                [key] => Identity::from_files(certificate, Path::new(key))?,
                _ => {
                    let made = Identity::self_signed(&["localhost"])?;
                    pirn::fs::write(certificate, made.to_pem())?;
                    made
                }
            };
            let listener = SocketBuilder::new().backlog(4096).listen(address)?;
            println!("HTTPS server on https://{}/", listener.local_addr()?);
            let server = Server::builder().name("https").build();
            start(&server, listener, identity.server_config()?)?;
            server.wait()
        }
        ["get", trusted, address, path] => {
            let config = tls::client_config(&tls::trusted(Path::new(trusted))?)?;
            io::stdout().write_all(&get(config, address, path)?)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: serve ADDRESS CERTIFICATE [KEY] | get TRUSTED HOST:PORT PATH",
        )),
    }
}

#[pirn::main]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("https: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_they_ask_for() {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let trusting = tls::client_config(identity.certificates()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let server = Server::new();
        start(&server, listener, identity.server_config().unwrap()).unwrap();
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (trusting, address) = (trusting.clone(), address.clone());
                pirn::spawn(move || get(trusting, &address, "/").unwrap())
            })
            .collect();
        for client in clients {
            let response = client.join().unwrap();
            assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert!(response.ends_with(http::GREETING));
        }
        assert_eq!(server.stop(Duration::MAX), 0);
        assert_eq!(server.stats().accepted, 16);
    }
}
