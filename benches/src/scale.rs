//! Whether costs stay what they are as numbers grow: of coroutines, of connections, of workers.
//! `docs/scaling.md` has the figures.

use crate::echo::drive;
use crate::race::{CPU, Entry, figures_of_a_process, race};
use crate::server::Server;
use crate::table::Table;
use crate::{cpu, memory};
use pirn::net::{TcpListener, TcpStream};
use pirn::thread;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ROUNDS: usize = 3;
/// What a parked coroutine takes, and what else the machine is to have.
const BYTES: u64 = 4_600;
const SPARE: u64 = 2 << 30;

/// The life of a coroutine by its parts, of ten up to four million at once.
pub(crate) fn coroutines() {
    let units = [
        "ns of processor time: spawn",
        "start and park",
        "release",
        "end and join",
        "all, stacks new",
        "all, once more",
        "bytes each",
    ];
    let mut table = Table::new("coroutines at once, one worker, stacks of 64 KiB", &units);
    for count in [10, 100, 1_000, 10_000, 100_000, 1_000_000, 2_000_000, 4_000_000] {
        let name = count.to_string();
        if memory::available() < count * BYTES + SPARE {
            table.failed(&name, &"not enough memory");
            continue;
        }
        // The largest are slow, and their figures differ little.
        let rounds = if count < 2_000_000 { ROUNDS } else { 1 };
        let figures: io::Result<Vec<_>> = (0..rounds)
            .map(|_| figures_of_a_process("pirn", 1, "lives", &[count, 64 << 10]))
            .collect();
        match figures {
            Ok(figures) => table.line(&name, figures),
            Err(error) => table.failed(&name, &error),
        }
    }
    table.finish();
}

/// In a coroutine: so many that live at once, in a process that has had none, and then again and
/// again, so that many have lived in the end. The figures are those of [`coroutines`].
pub(crate) fn lives(count: u64) -> Vec<f64> {
    /// Of small crowds, until their times can be told.
    const ENOUGH: u64 = 200_000;

    let (cold, bytes) = live(count);
    let times = ENOUGH.div_ceil(count);
    let mut warm = [0.0; 4];
    for _ in 0..times {
        let (parts, _) = live(count);
        for (sum, part) in warm.iter_mut().zip(parts) {
            *sum += part / times as f64;
        }
    }
    let all = |parts: [f64; 4]| parts.iter().sum::<f64>();
    [&warm[..], &[all(cold), all(warm), bytes]].concat()
}

/// Processor time of each of the four parts, for one coroutine; and what one that is parked takes.
fn live(count: u64) -> ([f64; 4], f64) {
    let before = memory::now();
    let mut last = cpu::nanos();
    let mut part = || {
        let now = cpu::nanos();
        let since = now - std::mem::replace(&mut last, now);
        since as f64 / count as f64
    };
    let arrived = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..count)
        .map(|_| {
            let arrived = arrived.clone();
            pirn::spawn(move || {
                arrived.fetch_add(1, Ordering::Relaxed);
                thread::park();
            })
        })
        .collect();
    let spawned = part();
    while arrived.load(Ordering::Relaxed) < count {
        thread::yield_now();
    }
    let parked = part();
    let bytes = memory::each_since(before, count);
    // To ask was no part of it.
    part();
    handles.iter().for_each(|handle| handle.thread().unpark());
    let released = part();
    handles.into_iter().for_each(|handle| handle.join().expect("it does not panic"));
    ([spawned, parked, released, part()], bytes)
}

/// The echo, from one connection up to as many as a process may have here.
pub(crate) fn connections() {
    const LANES: [Entry; 3] = [
        ("floor, 1 core", "floor", 1),
        ("pirn, 1 worker", "pirn", 1),
        ("pirn, 2 workers", "pirn", 2),
    ];

    for connections in [1, 10, 100, 1_000, 5_000, 10_000, 18_000] {
        echo(connections, &LANES);
    }
}

fn echo(connections: usize, entries: &[Entry]) {
    let mut lanes: Vec<_> = entries.iter().map(|entry| (entry, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for ((_, who, workers), rounds) in &mut lanes {
            match of_connections(who, *workers, connections) {
                Ok(figures) => rounds.push(figures),
                Err(error) => eprintln!("{who} failed: {error}"),
            }
        }
    }
    let what = format!("echo of 64 B, {connections} connections");
    let mut table = Table::new(&what, &["CPU s per million", "requests a second", "KB each"]);
    for ((name, ..), rounds) in lanes {
        table.line(name, rounds);
    }
    table.finish();
}

fn of_connections(who: &str, workers: usize, connections: usize) -> io::Result<Vec<f64>> {
    let server = Server::start(who, "serve", workers)?;
    let process = server.process.id().to_string();
    let before = memory::of(&process);
    let outcome = drive(&server, connections)?;
    let bytes = memory::of(&process).saturating_sub(before);
    let kilobytes = bytes as f64 / 1e3 / connections as f64;
    Ok(vec![outcome.cpu_per_million, outcome.per_second, kilobytes])
}

const WORKERS: [Entry; 6] = [
    ("1 worker", "pirn", 1),
    ("2 workers", "pirn", 2),
    ("3 workers", "pirn", 3),
    ("4 workers", "pirn", 4),
    ("6 workers", "pirn", 6),
    ("8 workers", "pirn", 8),
];

/// More workers than the machine has processors.
pub(crate) fn workers() {
    let rows: [(&str, &str, &str, &[u64]); 6] = [
        ("bounded 128, 4 x 4", "M messages a second", "crowd", &[4, 4, 128, 2_000_000]),
        ("bounded 128, 64 x 64", "M messages a second", "crowd", &[64, 64, 128, 2_000_000]),
        ("spawn and join, one after the other", "ns each", "spawn", &[300_000]),
        ("fork-join: fib(34), below fib(14) by itself", "ms", "fib", &[34, 14]),
        ("one mutex, 1,000 who want it", "ns an operation", "mutex", &[1_000, 1_000]),
        ("skynet: a million leaves", "ms", "skynet", &[1_000_000, 10]),
    ];
    for (what, unit, work, numbers) in rows {
        race(what, &[unit, CPU], ROUNDS, (work, numbers), &WORKERS);
    }
    echo(64, &WORKERS);
    echo(1_000, &WORKERS);
}

/// What crosses from one worker to another, in operations of which nobody chose where they run.
pub(crate) fn signals() {
    const OPERATIONS: u64 = 200_000;

    type Work = fn(u64);
    let works: [(&str, Work); 5] = [
        ("spawn and join", |count| {
            (0..count).for_each(|_| pirn::spawn(|| ()).join().expect("it does not panic"));
        }),
        ("a message, capacity 0, one and one", |count| crowd(1, 0, count)),
        ("a message, capacity 128, 4 and 4", |count| crowd(4, 128, count)),
        ("a message, capacity 128, 64 and 64", |count| crowd(64, 128, count)),
        ("a request and its answer, 100 connections, both sides", |count| echoes(100, count)),
    ];
    let units =
        ["woken elsewhere", "of these by a call", "starts sent", "steals", "polls", "sleeps"];
    for workers in [2, 4, 8] {
        let mut table = Table::new(&format!("of 1,000 operations, {workers} workers"), &units);
        for (name, work) in works {
            let rounds = (0..ROUNDS).map(|_| {
                let runtime = pirn::Builder::new().workers(workers).build().expect("a runtime");
                runtime.run(move || work(OPERATIONS));
                let total = runtime.metrics().total();
                let counts = [
                    total.wakes_sent,
                    total.wakes_signalled,
                    total.pushed,
                    total.steals,
                    total.polls,
                    total.sleeps,
                ];
                counts.map(|count| count as f64 * 1e3 / OPERATIONS as f64).to_vec()
            });
            table.line(name, rounds.collect());
        }
        table.finish();
    }
}

/// So many who send as who receive.
fn crowd(each: u64, capacity: usize, messages: u64) {
    let (sender, receiver) = pirn::channel::bounded(capacity);
    let share = messages / each;
    thread::scope(|scope| {
        for _ in 0..each {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            scope.spawn(move || (0..share).for_each(|n| sender.send(n).expect("connected")));
            scope.spawn(move || (0..share).for_each(|_| assert!(receiver.recv().is_ok())));
        }
    });
}

/// Servers and clients in one runtime.
fn echoes(connections: u64, requests: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).expect("it listens");
                let mut buffer = [0; 512];
                for _ in 0..requests / connections {
                    stream.write_all(&[b'x'; 64]).expect("connected");
                    assert_eq!(stream.read(&mut buffer).expect("connected"), 64);
                }
            });
        }
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().expect("a connection");
            scope.spawn(move || {
                let mut buffer = [0; 512];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..length]).expect("connected");
                }
            });
        }
    });
}
