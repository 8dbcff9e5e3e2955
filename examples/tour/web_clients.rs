//! HTTP clients: keep-alive, pipelining, bodies, `HEAD`, 404 and requests that are none.

use crate::http::GREETING;
use crate::load::{Client, Load};
use crate::pattern;
use pirn::net::{SocketAddr, TcpStream};
use std::io::{self, Read, Write};
use std::time::Instant;

/// Five kinds of exchange, this many times.
const ROUNDS: u64 = 5;
const PIPELINED: usize = 6;
/// The pipelined ones, and one for each of the other kinds.
const REQUESTS: u64 = ROUNDS * (PIPELINED as u64 + 4) + 2;

const GET: &str = "GET / HTTP/1.1\r\nHost: tour\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: tour\r\n\r\n";
const MISSING: &str = "GET /missing HTTP/1.1\r\nHost: tour\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: tour\r\nConnection: close\r\n\r\n";
const BAD: &str = "this is no request\r\n\r\n";

pub(crate) fn run(address: SocketAddr, connections: u64) -> io::Result<Load> {
    Load::run("HTTP requests", address, connections, REQUESTS, client)
}

fn client(client: &mut Client) -> io::Result<()> {
    let mut responses = Responses { buf: vec![0; 4096], start: 0, end: 0 };
    let mut body = vec![0; 1000];
    let mut request = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        client.stream.write_all(GET.as_bytes())?;
        responses.expect(&mut client.stream, 200, Some(GREETING))?;
        client.answered(1, start);

        let start = Instant::now();
        client.stream.write_all(HEAD.as_bytes())?;
        responses.expect(&mut client.stream, 200, None)?;
        client.answered(1, start);

        let start = Instant::now();
        client.stream.write_all(MISSING.as_bytes())?;
        responses.expect(&mut client.stream, 404, Some(b"404 Not Found"))?;
        client.answered(1, start);

        pattern::fill(&mut body, client.number, round);
        request.clear();
        write!(request, "POST /echo HTTP/1.1\r\nHost: tour\r\n")?;
        write!(request, "Content-Length: {}\r\n\r\n", body.len())?;
        request.extend_from_slice(&body);
        let start = Instant::now();
        client.stream.write_all(&request)?;
        responses.expect(&mut client.stream, 200, Some(&body))?;
        client.answered(1, start);

        let start = Instant::now();
        client.stream.write_all(GET.repeat(PIPELINED).as_bytes())?;
        for _ in 0..PIPELINED {
            responses.expect(&mut client.stream, 200, Some(GREETING))?;
        }
        client.answered(PIPELINED, start);
    }
    let start = Instant::now();
    client.stream.write_all(GET.as_bytes())?;
    responses.expect(&mut client.stream, 200, Some(GREETING))?;
    client.answered(1, start);

    // Either way the server closes the connection.
    let start = Instant::now();
    if client.number.is_multiple_of(16) {
        client.stream.write_all(BAD.as_bytes())?;
        responses.expect(&mut client.stream, 400, Some(b"400 Bad Request\n"))?;
    } else {
        client.stream.write_all(LAST.as_bytes())?;
        responses.expect(&mut client.stream, 200, Some(GREETING))?;
    }
    client.answered(1, start);
    responses.expect_end(&mut client.stream)
}

/// What has come from the server, and not been looked at yet.
struct Responses {
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl Responses {
    /// Reads a response, which must be this one. Without a body it is the response to `HEAD`.
    fn expect(
        &mut self,
        stream: &mut TcpStream,
        status: u16,
        body: Option<&[u8]>,
    ) -> io::Result<()> {
        let (head, length) = loop {
            if let Some(complete) = self.head(status)? {
                break complete;
            }
            self.fill(stream)?;
        };
        self.start += head;
        let Some(body) = body else { return Ok(()) };
        if length != body.len() {
            return Err(wrong(format!("a body of {length} bytes, not of {}", body.len())));
        }
        while self.end - self.start < length {
            self.fill(stream)?;
        }
        if self.buf[self.start..][..length] != *body {
            return Err(wrong("the body has wrong bytes".into()));
        }
        self.start += length;
        Ok(())
    }

    /// The length of the head and that of the body, once the head is there.
    fn head(&self, status: u16) -> io::Result<Option<(usize, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&self.buf[self.start..self.end]);
        let Ok(parsed) = parsed else { return Err(wrong("the response is no HTTP".into())) };
        let httparse::Status::Complete(head) = parsed else { return Ok(None) };
        if response.code != Some(status) {
            return Err(wrong(format!("status {:?}, not {status}", response.code)));
        }
        let length = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"))
            .and_then(|header| str::from_utf8(header.value).ok()?.parse().ok());
        let length = length.ok_or_else(|| wrong("no Content-Length".into()))?;
        Ok(Some((head, length)))
    }

    fn fill(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.buf.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match stream.read(&mut self.buf[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }

    fn expect_end(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.start < self.end || stream.read(&mut [0])? > 0 {
            return Err(wrong("more came after the last response".into()));
        }
        Ok(())
    }
}

fn wrong(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
