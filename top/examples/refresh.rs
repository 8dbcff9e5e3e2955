//! What it costs a program with many coroutines to be looked at: for each request that `pirn-top`
//! makes, the bytes of its answer, the processor time that the program spends on it, and how long it
//! keeps a worker from a coroutine that would run.
//!
//! ```sh
//! cargo run --release -p pirn-top --example refresh
//! cargo run --release -p pirn-top --example refresh -- 10000 50
//! ```
//!
//! The first number is that of the coroutines, all parked, and the second that of the requests of
//! each kind. Medians are shown. A stall is the longest break that a coroutine sees which does nothing
//! but yield, on each of two workers, with a request and without; by the worker's processor time, so
//! that the machine's other load does not count.

use pirn::thread;
use rustix::time::{ClockId, clock_gettime};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, process};

const WORKERS: usize = 2;

/// The longest time for which some coroutine that only yields did not run, in nanoseconds.
#[derive(Default)]
struct Longest {
    gap: AtomicU64,
    rounds: AtomicU64,
    ends: AtomicBool,
}

impl Longest {
    fn watch(&self) {
        let mut last = this_threads_time();
        while !self.ends.load(Ordering::Relaxed) {
            thread::yield_now();
            let now = this_threads_time();
            self.gap.fetch_max(now - last, Ordering::Relaxed);
            self.rounds.fetch_add(1, Ordering::Release);
            last = now;
        }
    }

    /// Since the last call, what goes on at this moment included.
    fn take(&self) -> Duration {
        let before = self.rounds.load(Ordering::Acquire);
        while self.rounds.load(Ordering::Acquire) < before + 2 {
            std::thread::yield_now();
        }
        Duration::from_nanos(self.gap.swap(0, Ordering::Relaxed))
    }
}

fn this_threads_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

struct Client(BufReader<UnixStream>);

impl Client {
    /// The bytes of the answer.
    fn ask(&mut self, request: &str) -> io::Result<usize> {
        self.0.get_ref().write_all(format!("{request}\n").as_bytes())?;
        let mut answer = Vec::new();
        self.0.read_until(b'\n', &mut answer)?;
        let ok = answer.windows(5).any(|part| part == b"\"ok\":");
        if ok { Ok(answer.len()) } else { Err(io::Error::other("the request is refused")) }
    }
}

/// The processor time of the process's threads whose names begin so.
fn processor_time(name: &str) -> io::Result<Duration> {
    let mut sum = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?.path();
        if fs::read_to_string(thread.join("comm"))?.starts_with(name) {
            let times = fs::read_to_string(thread.join("schedstat"))?;
            sum += times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(sum))
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn main() -> io::Result<()> {
    let mut numbers = env::args().skip(1).map(|number| number.parse().map_err(io::Error::other));
    let coroutines: usize = numbers.next().transpose()?.unwrap_or(100_000);
    let requests: usize = numbers.next().transpose()?.unwrap_or(30).max(1);
    let path = env::temp_dir().join(format!("pirn-refresh-{}", process::id()));
    let builder = pirn::Builder::new().name("crowd").workers(WORKERS).stack_size(64 << 10);
    let runtime = builder.inspect(&path).build()?;
    let parked = Arc::new(AtomicU64::new(0));
    for _ in 0..coroutines {
        let parked = parked.clone();
        runtime.spawn(move || {
            parked.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::MAX);
        });
    }
    while parked.load(Ordering::Relaxed) < coroutines as u64 {
        std::thread::yield_now();
    }
    let mut client = Client(BufReader::new(UnixStream::connect(&path)?));
    let kinds = [
        ("metrics", r#"{"request":"metrics"}"#),
        ("summary", r#"{"request":"summary"}"#),
        ("list", r#"{"request":"coroutines","limit":50}"#),
        ("list by age", r#"{"request":"coroutines","limit":50,"sort":"age"}"#),
        ("last page", r#"{"request":"coroutines","limit":50,"reverse":true}"#),
        ("search", r#"{"request":"coroutines","limit":50,"text":"sleep"}"#),
        ("tree", r#"{"request":"tree","limit":50}"#),
        ("one", r#"{"request":"coroutine","coroutine":1}"#),
    ];
    println!("{coroutines} coroutines, {requests} requests of each kind\n");
    println!(
        "{:<12} {:>8} {:>12} {:>12} {:>10} {:>10} {:>10}",
        "request", "bytes", "workers", "its thread", "takes", "stall", "without"
    );
    for (name, request) in kinds {
        let bytes = client.ask(request)?;
        // At rest, all that the workers do is to answer.
        let before = (processor_time("crowd")?, processor_time("pirn-inspect")?);
        let mut took = Vec::new();
        for _ in 0..requests {
            let asked = Instant::now();
            client.ask(request)?;
            took.push(asked.elapsed());
        }
        let after = (processor_time("crowd")?, processor_time("pirn-inspect")?);
        let each = |before: Duration, after: Duration| (after - before) / requests as u32;

        let longest: Vec<_> = (0..WORKERS).map(|_| Arc::new(Longest::default())).collect();
        let watchers = runtime.run(|| {
            let watch = |one: &Arc<Longest>| {
                let one = one.clone();
                thread::Builder::new()
                    .placement(thread::Placement::Spread)
                    .spawn(move || one.watch())
            };
            longest.iter().map(watch).collect::<io::Result<Vec<_>>>()
        })?;
        let stall = || longest.iter().map(|one| one.take()).max().unwrap_or_default();
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..requests {
            std::thread::sleep(median(took.clone()));
            stall();
            client.ask(request)?;
            with.push(stall());
            std::thread::sleep(median(took.clone()));
            without.push(stall());
        }
        longest.iter().for_each(|one| one.ends.store(true, Ordering::Relaxed));
        watchers.into_iter().for_each(|one| one.join().expect("it ends"));
        println!(
            "{name:<12} {bytes:>8} {:>12.1?} {:>12.1?} {:>10.1?} {:>10.1?} {:>10.1?}",
            each(before.0, after.0),
            each(before.1, after.1),
            median(took),
            median(with),
            median(without),
        );
    }
    drop(runtime);
    Ok(())
}
