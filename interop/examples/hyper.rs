//! hyper on pirn's sockets, a coroutine for each connection:
//!
//! ```text
//! cargo run --release -p pirn-interop --features full --example hyper -- 127.0.0.1:8080
//! curl -i http://127.0.0.1:8080/
//! curl --data-binary hello http://127.0.0.1:8080/echo
//! wrk -c 64 http://127.0.0.1:8080/
//! ```
//!
//! hyper's futures are polled by `pirn::block_on`, so a handler may block like any coroutine: with
//! locks, channels and sockets of pirn's.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use pirn::net::{TcpListener, TcpStream};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What a read takes at most.
const PIECE: usize = 8 << 10;

/// A stream with hyper's traits.
struct Stream(TcpStream);

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer is not initialised, and this is safe code.
        let mut piece = [0; PIECE];
        let room = cursor.remaining().min(PIECE);
        let count = ready!(self.0.poll_read(context, &mut piece[..room]))?;
        cursor.put_slice(&piece[..count]);
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.0.shutdown(Shutdown::Write) {
            // The other side was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let mut response = Response::default();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => *response.body_mut() = Full::from("Hello, World!"),
        (&Method::POST, "/echo") => {
            *response.body_mut() = request.into_body().collect().await?.to_bytes().into();
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

/// Serves one connection to its end.
pub fn serve(stream: TcpStream) -> hyper::Result<()> {
    let connection = http1::Builder::new().serve_connection(Stream(stream), service_fn(answer));
    pirn::block_on(connection)
}

#[pirn::main]
fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&*address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        pirn::go! {
            if let Err(error) = serve(stream) {
                eprintln!("{error}");
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// hyper's client, on pirn's sockets as well.
    fn ask(address: std::net::SocketAddr, requests: u32) -> u32 {
        pirn::block_on(async {
            let stream = Stream(TcpStream::connect(address).unwrap());
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake::<_, Full<Bytes>>(stream).await.unwrap();
            let connection = pirn::spawn(move || pirn::block_on(connection));
            let mut served = 0;
            for n in 0..requests {
                let text = n.to_string().repeat(1_000);
                let request = Request::post("/echo").header("host", "here");
                let request = request.body(Full::from(text.clone())).unwrap();
                sender.ready().await.unwrap();
                let response = sender.send_request(request).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                served += u32::from(body == text);
            }
            sender.ready().await.unwrap();
            let lost = sender.send_request(Request::get("/lost").body(Full::default()).unwrap());
            assert_eq!(lost.await.unwrap().status(), StatusCode::NOT_FOUND);
            drop(sender);
            connection.join().unwrap().unwrap();
            served
        })
    }

    #[test]
    fn hyper_serves_and_asks() {
        for workers in [1, 2] {
            let runtime = pirn::Builder::new().workers(workers).build().unwrap();
            let served: u32 = runtime.run(|| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                pirn::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        pirn::spawn(move || serve(stream));
                    }
                });
                let clients: Vec<_> =
                    (0..8).map(|_| pirn::spawn(move || ask(address, 20))).collect();
                clients.into_iter().map(|client| client.join().unwrap()).sum()
            });
            assert_eq!(served, 8 * 20);
        }
    }
}
