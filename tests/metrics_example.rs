//! The example `metrics`: what it exports is Prometheus' text format, and its counters never fall.

#[path = "../examples/support/exporter.rs"]
mod exporter;
#[path = "../examples/support/exposition.rs"]
mod exposition;
#[path = "../examples/support/server.rs"]
mod server;

use pirn::{Builder, Metrics, Runtime};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Long enough for any machine: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn serving(name: &str, workers: usize) -> (Runtime, SocketAddr) {
    let runtime = Builder::new().name(name).workers(workers).build().unwrap();
    let (listener, address) = server::listen("127.0.0.1:0").unwrap();
    drop(runtime.spawn(move || server::accept_for_ever(&listener, exporter::serve)));
    (runtime, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(mut stream: &TcpStream, head: &str) {
    stream.write_all(head.replace('\n', "\r\n").as_bytes()).unwrap();
}

/// Reads one response: its head and its body, which `HEAD` does not have.
fn answer(mut stream: &TcpStream, has_body: bool) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.filter(|_| has_body).map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn scrape(stream: &TcpStream) -> String {
    ask(stream, "GET /metrics HTTP/1.1\nHost: test\n\n");
    let (head, body) = answer(stream, true);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    body
}

/// What a page of the format says.
#[derive(Debug, Default)]
struct Page {
    /// By name: whether it is a counter.
    families: BTreeMap<String, bool>,
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Page {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(label, value)| (label.to_string(), value.to_string()));
        self.samples[&(name.to_owned(), labels.collect())]
    }

    fn sum(&self, family: &str, runtime: &str) -> f64 {
        let ours = self.samples.iter().filter(|((name, labels), _)| {
            name == family && labels.get("runtime").is_some_and(|it| it == runtime)
        });
        ours.map(|(_, value)| value).sum()
    }
}

/// Reads a page as the format's document says, and refuses what promtool would complain of.
fn parse(text: &str) -> Result<Page, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".into());
    }
    let mut page = Page::default();
    let mut helped = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        let fail = |what: &str| Err(format!("{what}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return fail("no help") };
            if !is_name(name, true) || help.is_empty() || unescape(help, false).is_none() {
                return fail("bad help");
            }
            if !helped.insert(name.to_owned()) {
                return fail("helped twice");
            }
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { return fail("no type") };
            if name != current || !["counter", "gauge"].contains(&kind) {
                return fail("bad type");
            }
            let counts = kind == "counter";
            if counts != name.ends_with("_total") {
                return fail("badly named");
            }
            if page.families.insert(name.to_owned(), counts).is_some() {
                return fail("typed twice");
            }
        } else {
            let Some((name, labels, value)) = sample(line) else { return fail("no sample") };
            if name != current || !page.families.contains_key(name) {
                return fail("outside of its family");
            }
            if page.families[name] && value < 0.0 {
                return fail("a counter below zero");
            }
            if page.samples.insert((name.to_owned(), labels), value).is_some() {
                return fail("said twice");
            }
        }
    }
    match page.families.keys().find(|name| !page.samples.keys().any(|key| key.0 == **name)) {
        Some(empty) => Err(format!("no sample of {empty}")),
        None => Ok(page),
    }
}

fn is_name(name: &str, colons: bool) -> bool {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || colons && byte == b':';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(right)
}

/// `None` if there is a backslash before anything but itself, `n`, and in labels a quote.
fn unescape(text: &str, quotes: bool) -> Option<String> {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next()? {
                'n' => '\n',
                '\\' => '\\',
                '"' if quotes => '"',
                _ => return None,
            },
            '"' if quotes => return None,
            _ => character,
        });
    }
    Some(plain)
}

fn sample(line: &str) -> Option<(&str, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            // To the quote that no backslash protects.
            let mut protected = false;
            let end = after.find(|character| {
                let ends = character == '"' && !protected;
                protected = character == '\\' && !protected;
                ends
            })?;
            let value = unescape(&after[..end], true)?;
            let new = labels.insert(label.to_owned(), value).is_none();
            if !new || !is_name(label, false) || label.starts_with("__") {
                return None;
            }
            rest = &after[end + 1..];
            match rest.split_at_checked(1)? {
                (",", more) => rest = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let plain = value.bytes().all(|byte| b"0123456789.eE+-".contains(&byte));
    (is_name(name, true) && plain)
        .then(|| value.parse().ok())
        .flatten()
        .map(|it| (name, labels, it))
}

#[test]
fn the_checker_knows_right_from_wrong() {
    let head = "# HELP a_total Help.\n# TYPE a_total counter\n";
    let right = parse(&format!("{head}a_total{{x=\"1\\\"\\\\\\n,}}\",y=\"\"}} 1.5e3\n")).unwrap();
    assert_eq!(right.value("a_total", &[("x", "1\"\\\n,}"), ("y", "")]), 1500.0);
    for wrong in [
        "a_total 1",
        "a_total{x=\"1\"} 1\na_total{x=\"1\"} 2\n",
        "a_total{x=\"1\",x=\"2\"} 1\n",
        "a_total{x=\"1} 1\n",
        "a_total{x=\"\\t\"} 1\n",
        "a_total{__x=\"\"} 1\n",
        "a_total{x=\"\"} \n",
        "a_total{x=\"\"} -1\n",
        "a_total{x=\"\"} one\n",
        "b_total 1\n",
        "",
        "# TYPE a_total counter\n",
        "# HELP a_total Again.\n",
    ] {
        assert!(parse(&format!("{head}{wrong}")).is_err(), "{wrong}");
    }
    let gauge = "# HELP a_total Help.\n# TYPE a_total gauge\na_total 1\n";
    assert!(parse(gauge).is_err());
}

#[test]
fn the_page_is_right_and_counters_do_not_fall_under_load() {
    let (runtime, address) = serving("load", 2);
    let stop = Arc::new(AtomicBool::new(false));
    let all_served = Arc::new(Barrier::new(5));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, all_served) = (stop.clone(), all_served.clone());
            std::thread::spawn(move || {
                let stream = connect(address);
                let mut first = true;
                while !stop.load(Ordering::Relaxed) {
                    ask(&stream, "GET / HTTP/1.1\nHost: test\n\n");
                    let (head, body) = answer(&stream, true);
                    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
                    assert_eq!(body, "My metrics are at /metrics.\n");
                    if std::mem::take(&mut first) {
                        all_served.wait();
                    }
                }
            })
        })
        .collect();
    all_served.wait();
    let stream = connect(address);
    let page = || parse(&scrape(&stream)).unwrap_or_else(|error| panic!("{error}"));
    let first = page();
    let mut before = page();
    let mut looks = 0;
    while looks < 50 {
        let after = page();
        assert_eq!(before.families, after.families);
        for ((name, labels), value) in &before.samples {
            // Other tests' runtimes come and go, and one may get the name of another.
            if !before.families[name] || labels["runtime"] != "load" {
                continue;
            }
            match after.samples.get(&(name.clone(), labels.clone())) {
                Some(later) => assert!(value <= later, "{name} {labels:?}: {value}, then {later}"),
                // A surplus worker may end; what it did is still there.
                None => assert!(labels.contains_key("worker")),
            }
        }
        let name = "pirn_worker_events_total";
        assert!(before.sum(name, "load") <= after.sum(name, "load"));
        looks += usize::from(after.sum(name, "load") > first.sum(name, "load") + 100.0);
        before = after;
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    // The acceptor, and five connections.
    let spawned = before.sum("pirn_worker_spawned_total", "load");
    let outside = before.value("pirn_spawned_outside_total", &[("runtime", "load")]);
    assert_eq!((spawned, outside), (5.0, 1.0));
    assert_eq!(before.value("pirn_coroutines", &[("runtime", "load")]), 6.0);
    let guard = runtime.metrics().guard.to_string();
    assert_eq!(
        before.value("pirn_stack_guard_info", &[("runtime", "load"), ("guard", &guard)]),
        1.0
    );
    let size = (256 * 1024).to_string();
    let labels = [("runtime", "load"), ("size", &size)];
    assert_eq!(before.value("pirn_stacks_taken_total", &labels), 6.0);
}

#[test]
fn names_are_escaped_and_told_apart() {
    let odd = "a \\ \"name\"\nof two lines, {odd}";
    let runtimes = [odd, "twin", "twin"].map(|name| Builder::new().workers(1).name(name).build());
    let all: Vec<Metrics> = runtimes.iter().map(|it| it.as_ref().unwrap().metrics()).collect();
    let page = parse(&exposition::render(&all)).unwrap_or_else(|error| panic!("{error}"));
    for name in [odd, "twin", "twin#2"] {
        assert_eq!(page.value("pirn_workers", &[("runtime", name)]), 1.0);
    }
}

#[test]
fn requests_of_all_kinds() {
    let (_runtime, address) = serving("kinds", 1);
    let stream = connect(address);
    ask(&stream, "HEAD /metrics HTTP/1.1\nHost: test\n\nGET /nowhere?x HTTP/1.1\nHost: test\n\n");
    let (head, _) = answer(&stream, false);
    assert!(head.contains("version=0.0.4"), "{head}");
    assert!(answer(&stream, true).0.starts_with("HTTP/1.1 404 "));
    // Bytes that come one at a time.
    for byte in "GET /?x HTTP/1.1\nHost: test\n\n".bytes() {
        ask(&stream, char::from(byte).encode_utf8(&mut [0]));
    }
    assert!(answer(&stream, true).0.starts_with("HTTP/1.1 200 "));
    for (request, status) in [
        ("POST / HTTP/1.1\nContent-Length: 0\n\n", "405"),
        ("GET / HTTP/1.1\nContent-Length: 7\n\ncontent", "413"),
        ("GET / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\n", "413"),
        ("\0\0\0 what\n\n", "400"),
        ("GET / HTTP/1.1\nConnection: close\n\n", "200"),
        ("GET / HTTP/1.0\n\n", "200"),
        (&"GET ".repeat(10_000), "400"),
        (&format!("GET /{}", "x".repeat(20_000)), "431"),
    ] {
        let mut stream = connect(address);
        ask(&stream, request);
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.80}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    }
}
