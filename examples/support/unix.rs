//! A server and a client over a Unix socket.

use pirn::net::Shutdown;
use pirn::os::unix::net::{UnixListener, UnixStream};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

/// What an HTTP client gets.
const GREETING: &str = "Hello over a Unix socket!\n";
/// Of an HTTP request, more than anybody needs here.
const MAX_HEAD: u64 = 16 * 1024;

/// Listens at `path`, also if a server was there that is gone: its socket stays, and refuses.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    let is_left_over = |error: &io::Error| {
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        error.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(path).is_err_and(refused)
    };
    match UnixListener::bind(path) {
        Err(error) if is_left_over(&error) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        result => result,
    }
}

/// Serves one connection: to whoever begins with a request for HTTP, one response; to all others,
/// whatever they say.
pub(crate) fn serve(stream: &UnixStream) -> io::Result<()> {
    let mut input = BufReader::new(stream);
    if starts_with(&mut input, b"GET ")? {
        return respond(input);
    }
    io::copy(&mut input, &mut &*stream)?;
    stream.shutdown(Shutdown::Write)
}

/// Whether the first line to come begins so. What has come is left where it is; a prefix that comes
/// in pieces is not recognised, which no client of HTTP's does.
fn starts_with(input: &mut BufReader<&UnixStream>, prefix: &[u8]) -> io::Result<bool> {
    Ok(input.fill_buf()?.starts_with(prefix))
}

fn respond(input: BufReader<&UnixStream>) -> io::Result<()> {
    let mut stream = *input.get_ref();
    let mut head = input.take(MAX_HEAD);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Ok(());
        }
    }
    let length = GREETING.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{GREETING}"
    )?;
    stream.shutdown(Shutdown::Write)
}

/// Says something to the server at `path`, and gives its answer.
pub(crate) fn say(path: &Path, text: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
