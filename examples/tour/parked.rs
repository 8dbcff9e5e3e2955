//! A million coroutines that are all parked at the same time.
//!
//! They have a runtime to themselves, so that nothing else is in the measurement, and nothing is
//! left when it has been dropped.

use crate::memory::{self, Memory};
use crate::{Rows, stage};
use pirn::thread::{self, Builder, JoinHandle};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STACK_SIZE: usize = 64 * 1024;

pub(crate) struct Parked {
    parked: u64,
    finished: u64,
    bytes: u64,
    spawned_in: Duration,
    released_in: Duration,
}

impl Parked {
    pub(crate) fn rows(&self, rows: &mut Rows) {
        let each = self.bytes / self.parked.max(1);
        rows.push(("coroutines parked at once", self.parked.to_string()));
        rows.push(("bytes per parked coroutine (RSS + VmPTE)", each.to_string()));
        rows.push(("to spawn and park all of them", format!("{:.2?}", self.spawned_in)));
        rows.push(("to wake and join all of them", format!("{:.2?}", self.released_in)));
    }

    pub(crate) fn is_good(&self) -> bool {
        self.finished == self.parked
    }
}

/// Parks `count` coroutines, or as many as there is room for, and lets them finish.
pub(crate) fn run(mut count: u64) -> io::Result<Parked> {
    if let Some(room) = memory::room_for_coroutines().filter(|room| *room < count) {
        stage::say(&format!("memory is enough for about {room} coroutines"));
        count = room;
    }
    let runtime = pirn::Builder::new().stack_size(STACK_SIZE).build()?;
    Ok(runtime.run(|| spawn_and_release(count)))
}

fn spawn_and_release(count: u64) -> Parked {
    static ARRIVED: AtomicU64 = AtomicU64::new(0);
    let bar = stage::begin("coroutines that all park", count);
    let before = Memory::now();
    let start = Instant::now();
    let mut coroutines = Vec::new();
    for number in 0..count {
        let spawned = Builder::new().spawn(|| {
            ARRIVED.fetch_add(1, Ordering::AcqRel);
            // It may end without reason, and that is fine here.
            thread::park();
        });
        match spawned {
            Ok(coroutine) => coroutines.push(coroutine),
            Err(error) => {
                let why = format!("no more than {number} coroutines: {error}");
                bar.suspend(|| stage::say(&why));
                break;
            }
        }
        if number % 4096 == 0 {
            bar.set_position(number);
        }
    }
    let parked = coroutines.len() as u64;
    // Behind all that are still to start, each time.
    while ARRIVED.load(Ordering::Acquire) < parked {
        thread::yield_now();
    }
    bar.finish();
    let spawned_in = start.elapsed();
    let bytes = Memory::now().total().saturating_sub(before.total());

    let start = Instant::now();
    coroutines.iter().for_each(|coroutine| coroutine.thread().unpark());
    let finished = coroutines.into_iter().map(JoinHandle::join).filter(Result::is_ok).count();
    Parked { parked, finished: finished as u64, bytes, spawned_in, released_in: start.elapsed() }
}
