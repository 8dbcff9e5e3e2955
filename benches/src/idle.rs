//! What is there and does nothing: connections, and whole processes.

use crate::contestants;
use crate::cpu;
use crate::memory;
use crate::server::Server;
use crate::table::Table;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 3;
/// A process of ours has room for as many descriptors, and one more thousand.
const CONNECTIONS: usize = 9_000;
/// Are there before the first look.
const BEFORE: usize = 100;
/// How long a process is watched.
const WATCH: Duration = Duration::from_secs(5);
/// What it gets to come to rest.
const REST: Duration = Duration::from_secs(2);

const SERVERS: [(&str, &str, usize); 7] = [
    ("floor", "floor", 2),
    ("may", "may", 2),
    ("tokio", "tokio", 2),
    ("Go", "go", 2),
    ("gevent", "gevent", 1),
    ("pirn", "pirn", 2),
    ("pirn, migrating", "pirn, migrating", 2),
];

/// Connects, and has a message echoed on each.
fn connect(server: &Server, count: usize, streams: &mut Vec<TcpStream>) -> io::Result<()> {
    for _ in 0..count {
        let mut stream = TcpStream::connect(server.address)?;
        let mut message = [7; 64];
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        streams.push(stream);
    }
    Ok(())
}

fn bytes_each(who: &str, workers: usize) -> io::Result<Vec<f64>> {
    let server = Server::start(who, "serve", workers)?;
    let (id, mut streams) = (server.process.id().to_string(), Vec::new());
    connect(&server, BEFORE, &mut streams)?;
    let before = memory::of(&id);
    connect(&server, CONNECTIONS - BEFORE, &mut streams)?;
    let added = memory::of(&id).saturating_sub(before);
    Ok(vec![added as f64 / (CONNECTIONS - BEFORE) as f64])
}

/// Runs and milliseconds of processor time, in a second.
fn wakeups(who: &str, workers: usize) -> io::Result<Vec<f64>> {
    let server = Server::start(who, "serve", workers)?;
    let mut streams = Vec::new();
    connect(&server, BEFORE, &mut streams)?;
    thread::sleep(REST);
    let (runs, seconds) = cpu::runs_of(server.process.id())?;
    thread::sleep(WATCH);
    let (more_runs, more_seconds) = cpu::runs_of(server.process.id())?;
    let time = WATCH.as_secs_f64();
    Ok(vec![(more_runs - runs) as f64 / time, (more_seconds - seconds) * 1e3 / time])
}

fn watch(what: &str, units: &[&str], figures: fn(&str, usize) -> io::Result<Vec<f64>>) {
    let mut table = Table::new(what, units);
    let built = SERVERS.into_iter().filter(|(_, who, _)| contestants::is_built(who));
    let mut lanes: Vec<_> = built.map(|entry| (entry, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for ((_, who, workers), rounds) in &mut lanes {
            match figures(who, *workers) {
                Ok(figures) => rounds.push(figures),
                Err(error) => eprintln!("{who} failed: {error}"),
            }
        }
    }
    for ((name, ..), rounds) in lanes {
        table.line(name, rounds);
    }
    table.finish();
}

/// The tables.
pub(crate) fn idle() {
    watch(
        "a connection of 9,000 that do nothing after an echo",
        &["bytes each, page tables included"],
        bytes_each,
    );
    watch(
        "a server with 100 connections on which nothing comes",
        &["wakeups a second", "ms of processor time a second"],
        wakeups,
    );
}
