//! What a switch costs, and a spawn with its join: on one worker, so that it is one processor's
//! time.

use crate::{Rows, stage};
use pirn::thread;
use std::io;
use std::time::{Duration, Instant};

const YIELDS: u32 = 5_000_000;
const SPAWNS: u32 = 1_000_000;

pub(crate) struct Switch {
    switch: Duration,
    spawn: Duration,
}

impl Switch {
    pub(crate) fn rows(&self, rows: &mut Rows) {
        rows.push(("ns per switch (yield)", nanoseconds(self.switch, YIELDS)));
        rows.push(("ns per spawn + join", nanoseconds(self.spawn, SPAWNS)));
    }
}

fn nanoseconds(total: Duration, count: u32) -> String {
    format!("{:.1}", total.as_secs_f64() * 1e9 / f64::from(count))
}

pub(crate) fn run() -> io::Result<Switch> {
    let runtime = pirn::Builder::new().workers(1).build()?;
    Ok(runtime.run(|| {
        let bar = stage::begin("switches, spawns and joins", u64::from(YIELDS + SPAWNS));
        let switch = yields();
        bar.set_position(u64::from(YIELDS));
        let spawn = spawns();
        bar.finish();
        Switch { switch, spawn }
    }))
}

/// Two coroutines take turns.
fn yields() -> Duration {
    let turns = || (0..YIELDS / 2).for_each(|_| thread::yield_now());
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(turns);
        scope.spawn(turns);
    });
    start.elapsed()
}

fn spawns() -> Duration {
    let start = Instant::now();
    for _ in 0..SPAWNS {
        // The closure does not panic.
        let _done = pirn::spawn(|| {}).join();
    }
    start.elapsed()
}
