//! What no design under pirn's contract can leave out, by itself: the locked instructions and the stack
//! switches of a spawn and of a round trip, with nothing around them.
//!
//! How many there are is counted by `pirn-counts` (the column `locked` of `benches/instructions.txt`).
//! What is locked is on lines of the caller's own, in its first-level cache, as it is on one worker.

use crate::table::{contest, nanos_each};
use corosensei::{Coroutine, CoroutineResult};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

const ROUNDS: u64 = 1_000_000;

/// Parts of a round.
#[derive(Clone, Copy)]
struct Parts {
    locked: usize,
    /// There and back.
    switches: usize,
}

/// A line of its own.
#[repr(align(128))]
struct Line(AtomicUsize);

/// Rounds of nothing but those parts, in turns as far as there are both.
fn rounds(parts: Parts) -> f64 {
    let lines = [const { Line(AtomicUsize::new(0)) }; 4];
    let mut other = Coroutine::<(), (), ()>::new(|yielder, ()| {
        loop {
            yielder.suspend(());
        }
    });
    let nanos = nanos_each(ROUNDS, || {
        for round in 0..ROUNDS {
            for part in 0..parts.locked.max(parts.switches) {
                if part < parts.locked {
                    let Line(word) = &lines[part % lines.len()];
                    let now = word.load(Ordering::Relaxed);
                    let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
                    let swapped = word.compare_exchange(now, now ^ 1, success, failure);
                    black_box(swapped).expect("nobody else is there");
                }
                if part < parts.switches {
                    assert!(matches!(other.resume(()), CoroutineResult::Yield(())));
                }
            }
            black_box(round);
        }
    });
    // SAFETY: nothing on its stack has a destructor.
    #[expect(unsafe_code, reason = "gives up a coroutine that does not end")]
    unsafe {
        other.force_reset();
    }
    nanos
}

pub(crate) fn floors() {
    let of = |locked, switches| move || rounds(Parts { locked, switches });
    contest(
        "what cannot be left out",
        "ns a round",
        9,
        &mut [
            ("a locked compare-and-exchange", &mut of(1, 0)),
            ("a switch there and back", &mut of(0, 1)),
            ("spawn, run, join: five locked, two switches", &mut of(5, 2)),
            ("a round trip without a buffer: six locked, two switches", &mut of(6, 2)),
            ("park and unpark there and back: eight locked, two switches", &mut of(8, 2)),
        ],
    );
}
