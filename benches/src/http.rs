//! Plain text by HTTP over connections that stay open, driven by `wrk`.
//!
//! pirn and may run the code below, the floor answers without parsing, or whole requests only, and
//! the others are servers that people use. All send a date, and 13 bytes of text.

use crate::contestants;
use crate::cpu;
use crate::server::Server;
use crate::table::Table;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 3;
const RUN: Duration = Duration::from_secs(3);
/// What all answer.
pub(crate) const TEXT: &str = "Hello, World!";

thread_local! {
    /// The second, and the head of an answer in that second. No borrow lasts over a park.
    static HEAD: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// The same for all requests.
pub(crate) fn write_answer(output: &mut Vec<u8>) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    HEAD.with_borrow_mut(|(of, head)| {
        if *of != second {
            let date = httpdate::fmt_http_date(now);
            *head = format!(
                "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: {date}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                TEXT.len()
            );
            *of = second;
        }
        output.extend_from_slice(head.as_bytes());
    });
    output.extend_from_slice(TEXT.as_bytes());
}

/// Answers the requests that are complete, and says where they end.
pub(crate) fn answer_all(input: &[u8], output: &mut Vec<u8>) -> io::Result<usize> {
    let mut start = 0;
    while start < input.len() {
        let mut headers = [const { MaybeUninit::uninit() }; 32];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(&input[start..], &mut headers);
        match parsed.map_err(io::Error::other)? {
            httparse::Status::Complete(length) => start += length,
            httparse::Status::Partial => break,
        }
        write_answer(output);
    }
    Ok(start)
}

/// Serves one connection to its end: requests without bodies, each of which gets the same answer.
pub(crate) fn answer(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let (mut input, mut output) = (vec![0; 4096], Vec::with_capacity(4096));
    let mut end = 0;
    loop {
        match stream.read(&mut input[end..])? {
            0 => return Ok(()),
            count => end += count,
        }
        let start = answer_all(&input[..end], &mut output)?;
        input.copy_within(start..end, 0);
        end -= start;
        stream.write_all(&output)?;
        output.clear();
    }
}

/// nginx in the place of this process, with a configuration of its own.
pub(crate) fn nginx(workers: usize) -> io::Result<()> {
    let address = crate::server::free_port()?;
    let folder = std::env::temp_dir().join(format!("pirn-bench-nginx-{}", address.port()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("nginx.conf");
    let folder = folder.display();
    std::fs::write(
        &path,
        format!(
            "worker_processes {workers};\n\
             daemon off;\n\
             pid {folder}/pid;\n\
             error_log {folder}/error.log;\n\
             events {{ worker_connections 10000; }}\n\
             http {{\n\
             access_log off;\n\
             keepalive_requests 1000000000;\n\
             client_body_temp_path {folder}/body;\n\
             proxy_temp_path {folder}/proxy;\n\
             fastcgi_temp_path {folder}/fastcgi;\n\
             uwsgi_temp_path {folder}/uwsgi;\n\
             scgi_temp_path {folder}/scgi;\n\
             server {{ listen {address}; location / {{ default_type text/plain; return 200 \"{TEXT}\"; }} }}\n\
             }}\n"
        ),
    )?;
    println!("{address}");
    Err(Command::new("nginx").arg("-c").arg(path).exec())
}

/// Its figures: requests a second, CPU s per million, p50 and p99 in ms.
fn drive(who: &str, workers: usize, connections: usize) -> io::Result<Vec<f64>> {
    let server = Server::start(who, "http", workers)?;
    let url = format!("http://{}/", server.address);
    // To warm up.
    wrk(&url, connections, Duration::from_secs(1))?;
    let before = cpu::seconds_of(server.process.id())?;
    let output = wrk(&url, connections, RUN)?;
    let cpu = cpu::seconds_of(server.process.id())? - before;
    let word_after = |name: &str| {
        let line = output.lines().find_map(|line| line.trim().strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .ok_or_else(|| io::Error::other(format!("wrk says nothing of {name}: {output}")))
    };
    let line = output.lines().find(|line| line.contains(" requests in "));
    let requests = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let requests = requests.ok_or_else(|| io::Error::other(output.clone()))?;
    if output.contains("Socket errors") || output.contains("Non-2xx") {
        return Err(io::Error::other(output));
    }
    let per_second: f64 = word_after("Requests/sec:")?.parse().map_err(io::Error::other)?;
    let (p50, p99) = (millis(word_after("50%")?)?, millis(word_after("99%")?)?);
    Ok(vec![cpu * 1e6 / requests, per_second, p50, p99])
}

fn wrk(url: &str, connections: usize, time: Duration) -> io::Result<String> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency", "-c", &connections.to_string()]);
    let output = command.arg(format!("-d{}s", time.as_secs())).arg(url).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// As `wrk` writes times: `530.00us`, `1.25ms`, `1.02s`.
fn millis(text: &str) -> io::Result<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (figure, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => return Err(io::Error::other(format!("no unit of time: {text}"))),
    };
    figure.parse::<f64>().map(|figure| figure * factor).map_err(io::Error::other)
}

const SERVERS: [(&str, &str, usize); 15] = [
    ("floor, unparsed, 1 core", "floor", 1),
    ("floor, unparsed, 2 cores", "floor", 2),
    ("floor, parsed, 1 core", "floor, parsed", 1),
    ("floor, parsed, 2 cores", "floor, parsed", 2),
    ("nginx, 1 worker", "nginx", 1),
    ("nginx, 2 workers", "nginx", 2),
    ("may_minihttp, 2 workers", "may", 2),
    ("may, pirn's code, 2 workers", "may, plain", 2),
    ("tokio and hyper, 1 worker", "tokio", 1),
    ("tokio and hyper, 2 workers", "tokio", 2),
    ("Go net/http, 1 processor", "go", 1),
    ("Go net/http, 2 processors", "go", 2),
    ("gevent pywsgi", "gevent", 1),
    ("pirn, 1 worker", "pirn", 1),
    ("pirn, 2 workers", "pirn", 2),
];

/// The tables.
pub(crate) fn http() {
    for connections in [64, 512] {
        let mut lanes: Vec<_> = SERVERS
            .into_iter()
            .filter(|(_, who, _)| contestants::is_built(who))
            .map(|entry| (entry, Vec::new()))
            .collect();
        for _ in 0..ROUNDS {
            for ((_, who, workers), rounds) in &mut lanes {
                match drive(who, *workers, connections) {
                    Ok(figures) => rounds.push(figures),
                    Err(error) => eprintln!("{who} failed: {error}"),
                }
            }
        }
        let mut table = Table::new(
            &format!("HTTP, plain text, {connections} connections that stay open"),
            &["CPU s per million", "requests a second", "p50 ms", "p99 ms"],
        );
        for ((name, ..), rounds) in lanes {
            table.line(name, rounds);
        }
        table.finish();
    }
}
