//! What `pirn::block_on` costs beside `futures::executor::block_on` and a bare park:
//!
//! ```text
//! cargo bench -p pirn-interop --features full --bench block_on
//! ```

use futures::executor;
use std::future::poll_fn;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Instant;

const READY: u32 = 1_000_000;
const SELF_WAKES: u32 = 1_000_000;
const TURNS: u32 = 200_000;
const ROUNDS: usize = 5;

/// The median of some runs, in nanoseconds for each of `count` steps.
fn median(count: u32, mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn self_waking(wakes: u32) -> impl Future<Output = ()> {
    let mut left = wakes;
    poll_fn(move |context| {
        left -= 1;
        context.waker().wake_by_ref();
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
}

#[derive(Default)]
struct Table {
    turn: u32,
    waker: Option<Waker>,
}

/// Takes every second turn, and wakes the other player after each.
async fn play(table: Arc<Mutex<Table>>, player: u32) {
    for _ in 0..TURNS / 2 {
        poll_fn(|context| {
            let mut table = table.lock().unwrap();
            if table.turn % 2 != player {
                table.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            table.turn += 1;
            let waker = table.waker.take();
            drop(table);
            waker.into_iter().for_each(Waker::wake);
            Poll::Ready(())
        })
        .await;
    }
}

fn parks() {
    let other = pirn::spawn(|| {
        for _ in 0..TURNS / 2 {
            pirn::thread::park();
            let first: pirn::thread::Thread = FIRST.lock().unwrap().clone().unwrap();
            first.unpark();
        }
    });
    *FIRST.lock().unwrap() = Some(pirn::thread::current());
    for _ in 0..TURNS / 2 {
        other.thread().unpark();
        pirn::thread::park();
    }
    other.join().unwrap();
}

static FIRST: Mutex<Option<pirn::thread::Thread>> = Mutex::new(None);

fn main() {
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    println!("ns, median of {ROUNDS}                     pirn   futures (on threads)");
    let ready = |f: fn()| median(READY, || (0..READY).for_each(|_| f()));
    println!(
        "a future that is ready            {:>8.1} {:>8.1}",
        runtime.run(|| ready(|| pirn::block_on(async { black_box(()) }))),
        ready(|| executor::block_on(async { black_box(()) })),
    );
    println!(
        "a poll that wakes itself          {:>8.1} {:>8.1}",
        runtime.run(|| median(SELF_WAKES, || pirn::block_on(self_waking(SELF_WAKES)))),
        median(SELF_WAKES, || executor::block_on(self_waking(SELF_WAKES))),
    );
    let coroutines = runtime.run(|| {
        median(TURNS, || {
            let table = Arc::<Mutex<Table>>::default();
            let theirs = table.clone();
            let other = pirn::spawn(move || pirn::block_on(play(theirs, 1)));
            pirn::block_on(play(table, 0));
            other.join().unwrap();
        })
    });
    let threads = median(TURNS, || {
        let table = Arc::<Mutex<Table>>::default();
        let theirs = table.clone();
        let other = std::thread::spawn(move || executor::block_on(play(theirs, 1)));
        executor::block_on(play(table, 0));
        other.join().unwrap();
    });
    println!("a turn between two, by wakers     {coroutines:>8.1} {threads:>8.1}");
    println!("a turn, by park and unpark        {:>8.1}", runtime.run(|| median(TURNS, parks)));
}
