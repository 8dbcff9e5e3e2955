//! A small HTTP server, and how it ends.

use pirn::channel::{Receiver, unbounded};
use pirn::net::{Server, SocketBuilder, TcpStream};
use pirn::signal::{SignalKind, Signals};
use std::io::{self, BufRead, BufReader, Write};
use std::thread;
use std::time::Duration;

/// What a request may be long.
const LONGEST_HEAD: usize = 16 * 1024;

/// A connection on which nothing comes for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// Serves until there is a reason to stop, and then for as long as it takes, or as `grace` says.
pub(crate) fn serve_until_told(address: &str, grace: Duration) -> io::Result<()> {
    let told = reasons_to_stop()?;
    let listener = SocketBuilder::new().backlog(4096).nodelay(true).listen(address)?;
    println!("listening on http://{}/", listener.local_addr()?);
    let server = Server::builder()
        .name("http")
        .max_connections(10_000)
        .on_error(|error| eprintln!("accepting: {error}"))
        .build();
    let handle = server.clone();
    server.start(listener, move |stream, _peer| {
        // Peers vanish; that ends their connection and is no news.
        let _gone = serve(&stream, &handle);
    })?;

    let reason = told.recv().expect("the signals last");
    println!("{reason}: {} connections left", server.stats().active);
    let cut = server.stop(grace);
    let stats = server.stats();
    println!("served {} connections, {} panics, {cut} cut off", stats.accepted, stats.panicked);
    Ok(())
}

/// Ctrl-c, the signal that service managers send, and a line of input.
fn reasons_to_stop() -> io::Result<Receiver<String>> {
    let (tell, told) = unbounded();
    let by_input = tell.clone();
    let signals = Signals::new([SignalKind::interrupt(), SignalKind::terminate()])?;
    pirn::go!(move || {
        for signal in signals.iter().flatten() {
            tell.send(format!("{signal:?}")).ok();
        }
    });
    thread::spawn(move || {
        // The end of the input is no wish to stop: a service has none.
        for line in io::stdin().lines().map_while(Result::ok).filter(|line| line == "quit") {
            by_input.send(line).ok();
        }
    });
    Ok(told)
}

/// Serves one request after another, until the other end has no more or the server stops.
fn serve(mut stream: &TcpStream, server: &Server) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let mut input = BufReader::new(stream);
    while let Some(path) = read_request(&mut input)? {
        let (status, body) = answer(&path);
        // It would be cut off while it waits for nothing.
        let last = server.is_stopping();
        let connection = if last { "close" } else { "keep-alive" };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: {connection}");
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
        if last {
            break;
        }
    }
    Ok(())
}

/// The path that a request is for; `None` at the end.
fn read_request(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        length += input.read_line(&mut line)?;
        if line.is_empty() || length > LONGEST_HEAD {
            return Ok(None);
        }
        if line.trim_end().is_empty() && path.is_some() {
            return Ok(path);
        }
        path.get_or_insert_with(|| line.split(' ').nth(1).unwrap_or("").to_owned());
    }
}

fn answer(path: &str) -> (&'static str, String) {
    match path.strip_prefix("/slow/").map(str::parse) {
        Some(Ok(millis)) if millis <= 60_000 => {
            pirn::thread::sleep(Duration::from_millis(millis));
            ("200 OK", format!("This took {millis} ms.\n"))
        }
        None if path == "/" => ("200 OK", "Hello from a coroutine!\n".into()),
        _ => ("404 Not Found", "There is nothing here.\n".into()),
    }
}
