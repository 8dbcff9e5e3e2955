//! An HTTP/1.1 server for one connection.
//!
//! All requests that have arrived are answered together: one read, one write, however many
//! requests a client has pipelined. Both buffers last as long as the connection, so that a request
//! allocates nothing.
//!
//! | request | response |
//! |---|---|
//! | `GET /` | a greeting |
//! | `POST /echo` | the request's body |
//! | `HEAD` of `/` | the head alone |
//! | another path | 404 |
//! | another method | 405 |

use pirn::net::{Shutdown, TcpStream};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// What `GET /` gives.
pub(crate) const GREETING: &[u8] = b"Hello from a coroutine!\n";

/// A connection on which nothing comes or goes for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// What a connection that is refused may still send before it is cut off, and how long.
const LINGER: Duration = Duration::from_secs(5);

const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 16 * 1024;
const MAX_BODY: usize = 1024 * 1024;
/// The buffers' size to begin with, and what is answered at once.
const BUFFER: usize = 4 * 1024;
const FLUSH_AT: usize = 64 * 1024;

/// Serves one connection to its end.
pub(crate) fn serve(stream: &TcpStream) -> io::Result<()> {
    limit(stream)?;
    match answer(&mut &*stream)? {
        Ended::ByClient => Ok(()),
        Ended::ByServer => finish(stream),
    }
}

/// How long a connection may do nothing, and that responses are not held back.
pub(crate) fn limit(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))
}

/// Who has had enough.
pub(crate) enum Ended {
    ByClient,
    /// The last response has been written.
    ByServer,
}

/// Answers requests until one side ends it. To close is the caller's affair.
pub(crate) fn answer(stream: &mut (impl Read + Write)) -> io::Result<Ended> {
    let mut input = Input { bytes: vec![0; BUFFER], start: 0, end: 0 };
    let mut output = Vec::with_capacity(BUFFER);
    loop {
        let mut need = 0;
        while need == 0 {
            match parse(input.pending()) {
                Parsed::Request(request) => {
                    respond(&request, &mut output);
                    let Request { length, keep_alive, .. } = request;
                    input.start += length;
                    if !keep_alive {
                        flush(stream, &mut output)?;
                        return Ok(Ended::ByServer);
                    }
                    if output.len() >= FLUSH_AT {
                        flush(stream, &mut output)?;
                    }
                }
                Parsed::Partial { length, expects_continue } => {
                    if expects_continue {
                        output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                    need = length;
                }
                Parsed::Bad(status) => {
                    status.write(&mut output);
                    flush(stream, &mut output)?;
                    return Ok(Ended::ByServer);
                }
            }
        }
        flush(stream, &mut output)?;
        if input.read(stream, need)? == 0 {
            return Ok(Ended::ByClient);
        }
    }
}

/// What has been read, and not yet answered.
struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Reads once, with room for a request of `need` bytes.
    fn read(&mut self, stream: &mut impl Read, need: usize) -> io::Result<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if need > self.bytes.len() {
            self.bytes.resize(need, 0);
        }
        loop {
            match stream.read(&mut self.bytes[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn flush(stream: &mut impl Write, output: &mut Vec<u8>) -> io::Result<()> {
    if output.is_empty() {
        return Ok(());
    }
    stream.write_all(output)?;
    output.clear();
    stream.flush()
}

/// Closes so that the peer gets the last response: to close a socket that has unread input is to
/// reset the connection, and that may overtake the response.
pub(crate) fn finish(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_deadline(Some(Instant::now() + LINGER));
    let mut rest = [0; 1024];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a [u8],
    minor_version: u8,
    keep_alive: bool,
    /// Of head and body.
    length: usize,
}

enum Parsed<'a> {
    Request(Request<'a>),
    /// There is more to come: `length` bytes are enough, or a whole head.
    Partial {
        length: usize,
        expects_continue: bool,
    },
    Bad(Status),
}

#[derive(Clone, Copy)]
enum Status {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    ContentTooLarge,
    HeadTooLarge,
    NotImplemented,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::NotImplemented => "501 Not Implemented",
        }
    }

    /// The response after which the connection is closed.
    fn write(self, output: &mut Vec<u8>) {
        let text = self.text();
        write_head(output, text, "", text.len() + 1, Some("close"));
        output.extend_from_slice(text.as_bytes());
        output.push(b'\n');
    }
}

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let head = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => {
            return Parsed::Bad(Status::HeadTooLarge);
        }
        Ok(httparse::Status::Partial) => {
            let length = (2 * bytes.len()).clamp(BUFFER, MAX_HEAD);
            return Parsed::Partial { length, expects_continue: false };
        }
        Err(httparse::Error::TooManyHeaders) => return Parsed::Bad(Status::HeadTooLarge),
        Err(_) => return Parsed::Bad(Status::BadRequest),
    };
    let (Some(method), Some(path), Some(minor_version)) =
        (request.method, request.path, request.version)
    else {
        return Parsed::Bad(Status::BadRequest);
    };
    let fields = match Fields::of(request.headers, minor_version) {
        Ok(fields) => fields,
        Err(status) => return Parsed::Bad(status),
    };
    let length = head + fields.content_length;
    let Some(body) = bytes.get(head..length) else {
        let expects_continue = fields.expects_continue && bytes.len() == head;
        return Parsed::Partial { length, expects_continue };
    };
    let keep_alive = fields.keep_alive;
    Parsed::Request(Request { method, path, body, minor_version, keep_alive, length })
}

/// The header fields that matter to the connection.
struct Fields {
    content_length: usize,
    keep_alive: bool,
    expects_continue: bool,
}

impl Fields {
    fn of(headers: &[httparse::Header<'_>], minor_version: u8) -> Result<Fields, Status> {
        let mut keep_alive = minor_version == 1;
        let mut expects_continue = false;
        let mut content_length = None;
        let mut hosts = 0;
        for header in headers {
            let value = header.value.trim_ascii();
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                let length = decimal(value).ok_or(Status::BadRequest)?;
                // Two lengths: somebody is to be misled about where the next request begins.
                if content_length.replace(length).is_some_and(|other| other != length) {
                    return Err(Status::BadRequest);
                }
            } else if is("connection") {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        keep_alive = false;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") && minor_version == 0 {
                        keep_alive = true;
                    }
                }
            } else if is("expect") {
                expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            } else if is("transfer-encoding") {
                return Err(Status::NotImplemented);
            }
        }
        if hosts > 1 || (hosts == 0 && minor_version == 1) {
            return Err(Status::BadRequest);
        }
        let content_length = content_length.unwrap_or(0);
        if content_length > MAX_BODY {
            return Err(Status::ContentTooLarge);
        }
        Ok(Fields { content_length, keep_alive, expects_continue })
    }
}

/// Digits alone: `parse` would take a sign too.
fn decimal(text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0usize, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| usize::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn respond(request: &Request<'_>, output: &mut Vec<u8>) {
    let (status, allow, body) = match (request.method, request.path) {
        ("GET" | "HEAD", "/") => ("200 OK", "", GREETING),
        ("POST", "/echo") => ("200 OK", "", request.body),
        (_, "/") => error(Status::MethodNotAllowed, "Allow: GET, HEAD\r\n"),
        (_, "/echo") => error(Status::MethodNotAllowed, "Allow: POST\r\n"),
        _ => error(Status::NotFound, ""),
    };
    let connection = match (request.keep_alive, request.minor_version) {
        (false, _) => Some("close"),
        (true, 0) => Some("keep-alive"),
        (true, _) => None,
    };
    write_head(output, status, allow, body.len(), connection);
    if request.method != "HEAD" {
        output.extend_from_slice(body);
    }
}

fn error(status: Status, extra: &'static str) -> (&'static str, &'static str, &'static [u8]) {
    (status.text(), extra, status.text().as_bytes())
}

/// `extra` is header fields, each with its line's end.
fn write_head(
    output: &mut Vec<u8>,
    status: &str,
    extra: &str,
    content_length: usize,
    connection: Option<&str>,
) {
    let mut text = |part: &str| output.extend_from_slice(part.as_bytes());
    text("HTTP/1.1 ");
    text(status);
    text("\r\nServer: pirn\r\nContent-Type: text/plain\r\n");
    text(extra);
    if let Some(connection) = connection {
        text("Connection: ");
        text(connection);
        text("\r\n");
    }
    text("Content-Length: ");
    write_decimal(output, content_length);
    output.extend_from_slice(b"\r\n\r\n");
}

fn write_decimal(output: &mut Vec<u8>, mut number: usize) {
    let start = output.len();
    loop {
        output.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    output[start..].reverse();
}
