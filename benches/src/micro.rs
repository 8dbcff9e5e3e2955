//! What one operation costs.

use crate::race::{CPU, race};
use crate::table::{contest, nanos_each};

/// A switch away from a coroutine and to another one.
pub(crate) fn switch() {
    const SWITCHES: u64 = 2_000_000;
    race(
        "yield between two coroutines, one worker",
        &["ns a switch", CPU],
        5,
        ("yield", &[SWITCHES]),
        &[
            ("corosensei, bare", "floor", 1),
            ("may", "may", 1),
            ("tokio", "tokio", 1),
            ("Go", "go", 1),
            ("pirn", "pirn", 1),
        ],
    );
    let one = pirn::Builder::new().workers(1).build().expect("a runtime");
    contest(
        "park and unpark between two coroutines, one worker",
        "ns a switch",
        9,
        &mut [("pirn", &mut || {
            one.run(|| {
                let main = pirn::thread::current();
                nanos_each(SWITCHES / 4, || {
                    let peer = pirn::spawn(move || {
                        for _ in 0..SWITCHES / 8 {
                            pirn::thread::park();
                            main.unpark();
                        }
                    });
                    for _ in 0..SWITCHES / 8 {
                        peer.thread().unpark();
                        pirn::thread::park();
                    }
                    peer.join().expect("it does not panic");
                })
            })
        })],
    );
}

/// The whole life of a coroutine that does nothing.
pub(crate) fn spawn() {
    race(
        "spawn, run, join",
        &["ns each", CPU],
        5,
        ("spawn", &[500_000]),
        &[
            ("corosensei, one stack", "floor", 1),
            ("may, 1 worker", "may", 1),
            ("may, 2 workers", "may", 2),
            ("tokio, 1 worker", "tokio", 1),
            ("tokio, 2 workers", "tokio", 2),
            ("Go, 1 processor", "go", 1),
            ("Go, 2 processors", "go", 2),
            ("pirn, 1 worker", "pirn", 1),
            ("pirn, 2 workers", "pirn", 2),
        ],
    );
}

/// A million coroutines that all park, are released and joined.
pub(crate) fn parked() {
    const COUNT: u64 = 1_000_000;
    let units = ["us each", "us of processor time each", "bytes each, page tables included"];
    race(
        "a million parked, released and joined, stacks of 64 KiB",
        &units,
        3,
        ("parked", &[COUNT, 64 << 10]),
        &[
            ("a page touched", "floor", 1),
            ("may, 30,000 of them", "may", 2),
            ("tokio, 2 workers", "tokio", 2),
            ("Go, 2 processors", "go", 2),
            ("pirn, 1 worker", "pirn", 1),
            ("pirn, 2 workers", "pirn", 2),
        ],
    );
    race(
        "a million parked, released and joined, stacks of 256 KiB",
        &units,
        3,
        ("parked", &[COUNT, 256 << 10]),
        &[("pirn, 1 worker", "pirn", 1), ("pirn, 2 workers", "pirn", 2)],
    );
}
