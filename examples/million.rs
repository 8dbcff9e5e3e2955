//! A million coroutines, all of them parked at the same time, and what they cost.
//!
//! ```sh
//! cargo run --release --example million -- --count 1000000 --stack-size 65536
//! ```

#[path = "support/memory.rs"]
mod memory;

use clap::Parser;
use memory::Memory;
use pirn::thread::{self, Builder, JoinHandle};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(about = "Spawns coroutines that all park, and tells what they cost")]
struct Options {
    /// How many.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Address space of each stack in bytes.
    #[arg(long, default_value_t = 65_536)]
    stack_size: usize,
    /// Go on even if the memory is not enough.
    #[arg(long)]
    force: bool,
}

/// How long to wait for the memory to go back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Coroutines that are about to park.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

#[pirn::main]
fn main() -> ExitCode {
    let options = Options::parse();
    let mut count = options.count;
    if let Some(room) = memory::room_for_coroutines().filter(|room| *room < count && !options.force)
    {
        println!("memory is enough for about {room} coroutines, so there will be no more");
        count = room;
    }

    let before = Memory::now();
    let start = Instant::now();
    let mut coroutines = Vec::new();
    for _ in 0..count {
        let spawned = Builder::new().stack_size(options.stack_size).spawn(|| {
            ARRIVED.fetch_add(1, Ordering::AcqRel);
            // It may end without reason, and that is fine here.
            thread::park();
        });
        match spawned {
            Ok(coroutine) => coroutines.push(coroutine),
            Err(error) => {
                println!("no more than {} coroutines: {error}", coroutines.len());
                break;
            }
        }
    }
    count = coroutines.len() as u64;
    if count == 0 {
        return ExitCode::FAILURE;
    }
    println!("spawned  {count} in {:.2?}", start.elapsed());
    // Behind all that are still to start, each time.
    while ARRIVED.load(Ordering::Acquire) < count {
        thread::yield_now();
    }
    report("parked", count, start.elapsed(), Memory::now(), before);

    let start = Instant::now();
    coroutines.iter().for_each(|coroutine| coroutine.thread().unpark());
    let finished = coroutines.into_iter().map(JoinHandle::join).filter(Result::is_ok).count();
    println!("released {finished} in {:.2?}", start.elapsed());

    // Step by step, so as not to slow down whoever needs it again.
    println!("the memory goes back to the system in the background …");
    let start = Instant::now();
    let mut after = Memory::now();
    while after.total() > before.total() + 64 * 1024 * 1024 && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(100));
        after = Memory::now();
    }
    println!(
        "finished {} MiB resident, {} MiB page tables, after {:.1?}{}",
        after.resident >> 20,
        after.page_tables >> 20,
        start.elapsed(),
        if start.elapsed() < PATIENCE { "" } else { "; the rest would follow" },
    );
    if finished as u64 == count { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(what: &str, count: u64, elapsed: Duration, now: Memory, before: Memory) {
    println!(
        "{what}   {count} after {elapsed:.2?}: {} MiB resident, {} MiB page tables",
        now.resident >> 20,
        now.page_tables >> 20,
    );
    println!(
        "         {} bytes each: {} resident, {} of page tables",
        now.total().saturating_sub(before.total()) / count,
        now.resident.saturating_sub(before.resident) / count,
        now.page_tables.saturating_sub(before.page_tables) / count,
    );
}
