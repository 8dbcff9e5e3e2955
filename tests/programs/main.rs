//! Random programs: whatever the interleaving, nothing is lost, nothing hangs, and all counts are exact.
//!
//! A seed makes a program (`generator`), which is data (`program`) and is run with several numbers of
//! workers (`context` and `task`, and by subject `holds`, `together`, `traffic`). What its coroutines share
//! keeps books (`world`, `account`); when everybody has come to an end, the books are closed. A program that
//! goes wrong is printed, and so is one that does not end in time, with a dump.
//!
//! ```sh
//! PIRN_PROGRAM_RUNS=10000 cargo test --release --test programs   # programs 0 to 9999
//! PIRN_PROGRAM_SEED=17 PIRN_PROGRAM_RUNS=100 cargo test --test programs   # one of them, again and again
//! PIRN_PROGRAM_FIRST=10000 cargo test --test programs            # as many as ever, from there on
//! ```
//!
//! # Why no program deadlocks
//!
//! A program that hangs is to be the runtime's fault. Nobody waits but
//!
//! - for its own children, of whatever kind; what these run is smaller than what their parent runs;
//! - for a *resource* (`Hold`): these have an order, and who has one asks only for those behind it, and
//!   so do the children that were begun meanwhile. Each is given back by a destructor;
//! - in a channel between producers and consumers who are brothers (`Traffic`). They hold only the ends
//!   that they use, a consumer waits for all of its channels at once, and in between both run what does
//!   not know of the channel. So if somebody waits to send, some consumer is there who will take that; if
//!   nobody sends any more, receives end;
//! - for another one's turn, in turns, where whoever leaves says so in a destructor (`PingPong`);
//! - at a barrier, for brothers that are cancelled only with their parent, which waits there too. This
//!   is not so where a shield or a destructor keeps the parent and not its children, so no barriers are
//!   made there, nor in blocking work;
//! - for a while;
//! - for ever (`Endless`), as the last thing that it does, where a timeout or a cancellation is sure to come
//!   that ends it.
//!
//! No other wait relies on a timeout or a cancellation, and each is as good if somebody is cut short. In a
//! third of the programs nobody is, so that no lost wake is made up for.

mod account;
mod context;
mod generator;
mod holds;
mod program;
mod task;
mod together;
mod traffic;
mod world;

use context::Context;
use pirn::Builder;
use pirn::channel::bounded;
use program::{Ending, Program, Root, Start};
use std::io::Write as _;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use task::Task;
use world::{Failures, ROUTES, World};

/// How long a program may take that usually takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(120);
const RUNS: u64 = 75;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// What `eprintln` says is kept until the test ends, and lost if the process is aborted.
fn say(text: &str) {
    let _written = writeln!(std::io::stderr(), "{text}");
}

fn programs(workers: usize, other: &'static OnceLock<pirn::Runtime>) {
    let other = other.get_or_init(|| Builder::new().workers(2).name("other").build().unwrap());
    let first = number("PIRN_PROGRAM_FIRST").unwrap_or(0);
    for run in first..first + number("PIRN_PROGRAM_RUNS").unwrap_or(RUNS) {
        one(number("PIRN_PROGRAM_SEED").unwrap_or(run), workers, other);
    }
}

fn one(seed: u64, workers: usize, other: &'static pirn::Runtime) {
    let program = Arc::new(generator::generate(seed));
    let failures = Arc::new(Failures::default());
    let report = {
        let (program, failures) = (program.clone(), failures.clone());
        move |what: &str| {
            let found = failures.get();
            say(&format!("{what}: seed {seed}, {workers} workers, {found:#?}\n{program:#?}"));
        }
    };
    let (done, running) = std::sync::mpsc::channel::<()>();
    let hangs = report.clone();
    let watch = std::thread::spawn(move || {
        if running.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            hangs("does not end");
            say(&pirn::dump().to_string());
            std::process::abort();
        }
    });
    run(&program, workers, other, failures.clone());
    drop(done);
    watch.join().unwrap();
    if !failures.get().is_empty() {
        report("goes wrong");
        panic!("seed {seed}, {workers} workers: {:?}", failures.get());
    }
}

fn run(program: &Program, workers: usize, other: &'static pirn::Runtime, failures: Arc<Failures>) {
    let runtime = Builder::new().workers(workers).name("program").build().unwrap();
    let (routes, ends) = ROUTES.iter().map(|&capacity| bounded(capacity)).unzip();
    let world = Arc::new(World::new(other, routes, failures));
    let ferries = world::ferries(&world, ends, &runtime);
    let doomed = matches!(program.ending, Ending::DropRuntime(_));
    let cut = !matches!(program.ending, Ending::Wait);
    let (mut handles, mut threads) = (Vec::new(), Vec::new());
    for (root, body) in &program.tasks {
        let start = if let Root::Thread = root { Start::Thread } else { Start::Spawn };
        let doomed = doomed && matches!(root, Root::Runtime);
        let body = body.clone();
        let task = Task::new(&world, start, doomed, move |context: &Context| context.body(&body));
        let watched = task.watched(cut);
        match root {
            Root::Runtime => handles.push((runtime.spawn(move || task.run()), watched)),
            Root::Elsewhere => handles.push((other.spawn(move || task.run()), watched)),
            Root::Thread => threads.push((std::thread::spawn(move || task.run()), watched)),
        }
    }
    let mut runtime = Some(runtime);
    match program.ending {
        Ending::Wait => {}
        Ending::Cancel(after) => {
            std::thread::sleep(after);
            for (handle, _) in &handles {
                let _outcome = handle.cancel();
            }
        }
        Ending::DropRuntime(after) => {
            std::thread::sleep(after);
            drop(runtime.take());
        }
    }
    handles.into_iter().for_each(|(handle, watched)| watched.joined(handle.join()));
    threads.into_iter().for_each(|(thread, watched)| watched.joined(thread.join()));
    world.wait();
    for ferry in ferries {
        let _outcome = ferry.cancel();
        let ended = ferry.join();
        world.check(ended.is_err_and(|payload| payload.is::<pirn::Cancelled>()), "a ferry ended");
    }
    drop(runtime);
    world.settle();
}

#[test]
fn one_worker() {
    static OTHER: OnceLock<pirn::Runtime> = OnceLock::new();
    programs(1, &OTHER);
}

#[test]
fn two_workers() {
    static OTHER: OnceLock<pirn::Runtime> = OnceLock::new();
    programs(2, &OTHER);
}

#[test]
fn four_workers() {
    static OTHER: OnceLock<pirn::Runtime> = OnceLock::new();
    programs(4, &OTHER);
}

#[test]
fn eight_workers() {
    static OTHER: OnceLock<pirn::Runtime> = OnceLock::new();
    programs(8, &OTHER);
}
