//! Side-by-side measurements: pirn, the bare switch and a bare epoll loop, alternately in one run.
//!
//! ```text
//! cargo run --release -p pirn-benches -- switch spawn parked place channel echo locks mutex
//! ```
//!
//! Each row is the median of several rounds in which the contestants take turns, with the smallest
//! and the largest beside it. Machines differ and are shared: read the ratios.

mod channel;
mod echo;
mod micro;
mod place;
mod sync;
mod table;

fn main() {
    let mut rows: Vec<String> = std::env::args().skip(1).collect();
    if rows.first().is_some_and(|first| first == "child") {
        return echo::child(&rows[1..]);
    }
    if rows.is_empty() {
        rows = ["switch", "spawn", "parked", "place", "channel", "echo", "locks", "mutex"]
            .map(String::from)
            .to_vec();
    }
    for row in rows {
        match row.as_str() {
            "switch" => micro::switch(),
            "spawn" => micro::spawn(),
            "parked" => micro::parked(),
            "place" => place::place(),
            "channel" => channel::channel(),
            "echo" => echo::echo(),
            "locks" => sync::uncontended(),
            "mutex" => sync::contended(),
            other => eprintln!("no such row: {other}"),
        }
    }
}
