//! An HTTP server for one connection that tells its own metrics: `GET /metrics`, and `GET /` for
//! something to do.

use crate::exposition::{self, CONTENT_TYPE};
use pirn::net::{Shutdown, TcpStream};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// A connection on which nothing comes or goes for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// What a connection that is refused may still send before it is cut off, and how long.
const LINGER: Duration = Duration::from_secs(5);

const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 16 * 1024;

/// Serves one connection to its end. Nothing that has a body is understood, which keeps this short;
/// the example `http` has the whole of it.
pub(crate) fn serve(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut input = Vec::new();
    loop {
        let (length, response) = match parse(&input) {
            Parsed::Request { length, response } => (length, response),
            Parsed::Partial if input.len() < MAX_HEAD => {
                let mut part = [0; 4096];
                match stream.read(&mut part)? {
                    0 => return Ok(()),
                    count => input.extend_from_slice(&part[..count]),
                }
                continue;
            }
            Parsed::Partial => (0, Response::closing("431 Request Header Fields Too Large")),
        };
        input.drain(..length);
        stream.write_all(&response.bytes())?;
        if !response.keep_alive {
            return finish(stream);
        }
    }
}

enum Parsed {
    Request { length: usize, response: Response },
    Partial,
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => {
            return Parsed::Request { length: 0, response: Response::closing("400 Bad Request") };
        }
    };
    let response = respond(&request);
    Parsed::Request { length, response }
}

struct Response {
    status: &'static str,
    content_type: &'static str,
    body: String,
    /// The request was `HEAD`.
    head_alone: bool,
    keep_alive: bool,
}

fn respond(request: &httparse::Request<'_, '_>) -> Response {
    let has = |name: &str, value: &[u8]| {
        request.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case(name)
                && (value.is_empty() || header.value.eq_ignore_ascii_case(value))
        })
    };
    if has("content-length", b"") && !has("content-length", b"0") || has("transfer-encoding", b"") {
        return Response::closing("413 Content Too Large");
    }
    let method = request.method.unwrap_or_default();
    if !["GET", "HEAD"].contains(&method) {
        return Response::closing("405 Method Not Allowed");
    }
    // What follows `?` is not for us.
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let (status, content_type, body) = match path {
        "/metrics" => ("200 OK", CONTENT_TYPE, exposition::render(&pirn::Metrics::of_all())),
        "/" => ("200 OK", "text/plain", "My metrics are at /metrics.\n".to_owned()),
        _ => ("404 Not Found", "text/plain", "404 Not Found\n".to_owned()),
    };
    let keep_alive = request.version == Some(1) && !has("connection", b"close");
    Response { status, content_type, body, head_alone: method == "HEAD", keep_alive }
}

impl Response {
    /// The last one.
    fn closing(status: &'static str) -> Response {
        let body = format!("{status}\n");
        Response { status, content_type: "text/plain", body, head_alone: false, keep_alive: false }
    }

    fn bytes(&self) -> Vec<u8> {
        let Response { status, content_type, body, .. } = self;
        let connection = if self.keep_alive { "" } else { "Connection: close\r\n" };
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let length = body.len();
        let body = if self.head_alone { "" } else { body };
        format!(
            "HTTP/1.1 {status}\r\nServer: pirn\r\nContent-Type: {content_type}\r\n{allow}\
             {connection}Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Closes so that the peer gets the last response: to close a socket that has unread input is to
/// reset the connection, and that may overtake the response.
fn finish(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_deadline(Some(Instant::now() + LINGER));
    let mut rest = [0; 1024];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}
