//! What machines that are not here would do: a simulation of workers that serve requests and sleep in
//! between, and of the one cache line that all of them write when they do.
//!
//! ```text
//! cargo run --release -p pirn-benches -- limits
//! ```
//!
//! Each worker has its own stream of requests, which come at random, and serves them one after the
//! other. If none is left it searches, which takes a while for each other worker, and sleeps until the
//! next comes. To search, to fall asleep and to wake up it writes the word of `src/protocol/idle.rs`.
//! A write of a line that another core has written since takes a transfer, and transfers of one line
//! come one after the other. What is not simulated costs nothing here: the kernel, which has limits of
//! its own, memory, and the threads of other programs.
//!
//! The numbers of writes come from `pirn-counts atomics`, the times from measurements on two cores
//! (`docs/scaling.md`); what a transfer takes is assumed, and varied. Nothing depends on the time or on
//! the machine: each run prints the same.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A request that finds its worker awake, in ns of processor time, the kernel's included.
const SERVICE: f64 = 6_000.0;
/// What a sleep adds, the search and the writes not included: the calls of the poll, and the kernel's
/// switches.
const SLEEP: f64 = 2_500.0;
/// A write of a line that the core still has.
const OWN: f64 = 5.0;
/// Requests of each worker.
const REQUESTS: u64 = 2_000;

/// What a sleep costs, as it is or as it might be.
#[derive(Clone, Copy)]
struct Design {
    name: &'static str,
    /// To look at one other worker in a search, in ns.
    look: f64,
    /// Writes of the common word: before a search and after it, when falling asleep, when awake.
    search: u32,
    sleep: u32,
    wake: u32,
}

const DESIGNS: [Design; 4] = [
    Design { name: "with 125 ns a look, as it was", look: 125.0, search: 2, sleep: 1, wake: 1 },
    Design { name: "as it is", look: 6.0, search: 2, sleep: 1, wake: 1 },
    Design {
        name: "if only those search who see something",
        look: 6.0,
        search: 0,
        sleep: 1,
        wake: 1,
    },
    Design { name: "if no word were common", look: 6.0, search: 0, sleep: 0, wake: 0 },
];

/// What is asked of the model.
#[derive(Clone, Copy)]
struct Case {
    workers: usize,
    /// The share of its time that a worker would be busy if sleeps were free.
    load: f64,
    transfer: f64,
    design: Design,
}

/// What a request took.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// Processor time, in ns.
    cpu: f64,
    /// From when it came to its end, in ns: the mean, the median and p99.
    mean: f64,
    median: f64,
    p99: f64,
    sleeps: f64,
    /// The share of the time that the common line was on its way.
    line: f64,
}

/// A line that cores take from each other.
#[derive(Default)]
struct Line {
    owner: Option<usize>,
    free: f64,
    busy: f64,
}

impl Line {
    /// When the write is done.
    fn write(&mut self, worker: usize, now: f64, transfer: f64) -> f64 {
        let takes = if self.owner == Some(worker) { OWN } else { transfer };
        self.owner = Some(worker);
        self.free = self.free.max(now) + takes;
        self.busy += takes;
        self.free
    }
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Serve, or find that there is nothing to serve.
    Look,
    /// A write of the common word, and how many come after it before the next step.
    Write(u32, After),
    /// Looks at the other workers.
    Search,
    /// A request has come to a worker that sleeps.
    Wake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    Search,
    Sleep,
    Serve,
}

struct Worker {
    random: u64,
    /// Requests that have come and are not served, by when they came.
    queue: VecDeque<f64>,
    next: f64,
    left: u64,
    /// When it woke up last.
    awake_since: f64,
    awake: f64,
    searching: bool,
}

impl Worker {
    /// How long until the next request, by an exponential distribution (xorshift, and an inverse).
    fn pause(&mut self, mean: f64) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let uniform = ((self.random >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        -mean * uniform.ln()
    }

    /// Takes in what has come until now.
    fn receive(&mut self, now: f64, mean: f64) {
        while self.left > 0 && self.next <= now {
            self.queue.push_back(self.next);
            self.left -= 1;
            self.next += self.pause(mean);
        }
    }
}

fn simulate(case: Case) -> Outcome {
    let Case { workers: count, load, transfer, design } = case;
    let mean = SERVICE / load;
    let mut workers: Vec<Worker> = (0..count as u64)
        .map(|number| {
            let mut worker = Worker {
                random: (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
                queue: VecDeque::new(),
                next: 0.0,
                left: REQUESTS,
                awake_since: 0.0,
                awake: 0.0,
                searching: false,
            };
            // The first few of a xorshift are poor.
            (0..16).for_each(|_| {
                worker.pause(1.0);
            });
            worker.next = worker.pause(mean);
            worker
        })
        .collect();
    let mut line = Line::default();
    // By their time, as its bits: those of numbers that are not negative have the same order.
    let mut steps: BinaryHeap<Reverse<(u64, usize, Step)>> =
        (0..count).map(|worker| Reverse((0, worker, Step::Look))).collect();
    let (mut searching, mut asleep, mut sleeps) = (0_usize, 0_usize, 0_u64);
    let mut taken = Vec::with_capacity(count * REQUESTS as usize);
    let mut end = 0.0_f64;
    while let Some(Reverse((now, number, step))) = steps.pop() {
        let now = f64::from_bits(now);
        end = end.max(now);
        let worker = &mut workers[number];
        let mut then = |at: f64, step| steps.push(Reverse((at.to_bits(), number, step)));
        worker.receive(now, mean);
        match step {
            Step::Look => match worker.queue.pop_front() {
                Some(came) => {
                    taken.push(now + SERVICE - came);
                    then(now + SERVICE, Step::Look);
                }
                // At most half of those that are awake search.
                None if 2 * searching < count - asleep => {
                    searching += 1;
                    worker.searching = true;
                    then(now, Step::Write(design.search / 2, After::Search));
                }
                None => then(now, Step::Write(design.sleep, After::Sleep)),
            },
            Step::Write(0, After::Search) => then(now, Step::Search),
            Step::Write(0, After::Sleep) => {
                searching -= usize::from(std::mem::take(&mut worker.searching));
                sleeps += 1;
                if worker.left == 0 && worker.queue.is_empty() {
                    // For good.
                    worker.awake += now - worker.awake_since;
                    asleep += 1;
                    continue;
                }
                if worker.queue.is_empty() {
                    worker.awake += now - worker.awake_since;
                    worker.awake_since = worker.next;
                    asleep += 1;
                    then(worker.next, Step::Wake);
                } else {
                    then(now + SLEEP, Step::Write(design.wake, After::Serve));
                }
            }
            Step::Write(0, After::Serve) => then(now, Step::Look),
            Step::Write(left, after) => {
                let done = line.write(number, now, transfer);
                then(done, Step::Write(left - 1, after));
            }
            Step::Search => {
                let looks = now + design.look * (count - 1) as f64;
                let writes = design.sleep + design.search.div_ceil(2);
                then(looks, Step::Write(writes, After::Sleep));
            }
            Step::Wake => {
                asleep -= 1;
                then(now + SLEEP, Step::Write(design.wake, After::Serve));
            }
        }
    }
    taken.sort_by(f64::total_cmp);
    let requests = taken.len() as f64;
    Outcome {
        cpu: workers.iter().map(|worker| worker.awake).sum::<f64>() / requests,
        mean: taken.iter().sum::<f64>() / requests,
        median: taken[taken.len() / 2],
        p99: taken[taken.len() * 99 / 100],
        sleeps: sleeps as f64 / requests,
        line: line.busy / end,
    }
}

/// A line that all write, and after how many workers nothing else is done than to carry it about.
const LINES: [(&str, f64, f64); 5] = [
    ("a request, its worker awake: none", 0.0, SERVICE),
    ("a request, with a sleep: the word of `Idle`", 4.0, SERVICE + SLEEP),
    ("a connection made, accepted and closed, both sides: free slots", 8.0, 46_700.0),
    ("spawn and join: none", 0.0, 113.0),
    ("spawn and join: numbers, 1,024 at a time", 1.0 / 1_024.0, 113.0),
];

pub(crate) fn limits() {
    println!("workers beyond which one line is always on its way, by what a transfer takes\n");
    println!("| work: line | writes | ns | 50 ns | 100 ns | 200 ns |\n|---|---|---|---|---|---|");
    for (what, writes, nanos) in LINES {
        let most = [50.0, 100.0, 200.0].map(|transfer| match writes {
            0.0 => "no limit".to_owned(),
            writes => format!("{:.0}", nanos / (writes * transfer)),
        });
        println!("| {what} | {writes:.3} | {nanos:.0} | {} |", most.join(" | "));
    }
    for design in DESIGNS {
        println!("\n{}\n", design.name);
        println!(
            "| workers | load | transfer ns | CPU us a request | median us | p99 us | sleeps a \
             request | line busy |\n|---|---|---|---|---|---|---|---|"
        );
        for workers in [2, 8, 64, 192] {
            for load in [0.1, 0.5, 0.9] {
                for transfer in [50.0, 100.0, 200.0] {
                    let outcome = simulate(Case { workers, load, transfer, design });
                    let [cpu, median, p99] =
                        [outcome.cpu, outcome.median, outcome.p99].map(|nanos| nanos / 1e3);
                    println!(
                        "| {workers} | {load} | {transfer} | {cpu:.2} | {median:.2} | {p99:.1} | {:.2} | \
                         {:.0} % |",
                        outcome.sleeps,
                        100.0 * outcome.line
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Design = Design { name: "", look: 0.0, search: 0, sleep: 0, wake: 0 };

    fn near(value: f64, expected: f64) {
        assert!((value / expected - 1.0).abs() < 0.05, "{value} is not about {expected}");
    }

    #[test]
    fn it_repeats() {
        let case = Case { workers: 8, load: 0.5, transfer: 100.0, design: DESIGNS[1] };
        assert_eq!(simulate(case), simulate(case));
    }

    /// One that is hardly ever asked sleeps before each request, and owns the line.
    #[test]
    fn a_lone_request_pays_for_a_sleep() {
        let design = Design { sleep: 1, wake: 1, ..FREE };
        let alone = simulate(Case { workers: 1, load: 0.001, transfer: 100.0, design });
        near(alone.sleeps, 1.0);
        near(alone.cpu, SERVICE + SLEEP + 2.0 * OWN);
        near(alone.median, SERVICE + SLEEP + OWN);
    }

    /// With others beside it, a write is a transfer.
    #[test]
    fn what_others_have_written_is_fetched() {
        let design = Design { wake: 1, ..FREE };
        let case = Case { workers: 100, load: 0.001, transfer: 1_000.0, design };
        let among = simulate(case);
        near(among.cpu, SERVICE + SLEEP + 1_000.0);
    }

    /// Where the line costs nothing it is a queue of the kind M/D/1 with a setup, whose mean wait is
    /// known (Welch 1964).
    #[test]
    fn queues_are_as_long_as_theory_says() {
        for load in [0.2, 0.5, 0.8] {
            let free = simulate(Case { workers: 256, load, transfer: 0.0, design: FREE });
            let rate = load / SERVICE;
            let queue = load * SERVICE / (2.0 - 2.0 * load);
            let setup = (2.0 + rate * SLEEP) * SLEEP / (2.0 + 2.0 * rate * SLEEP);
            near(free.mean - SERVICE, queue + setup);
        }
    }

    /// A line that takes longer than all that workers do between two writes bounds them.
    #[test]
    fn a_line_saturates() {
        let design = Design { sleep: 1, wake: 1, ..FREE };
        let case = |workers| Case { workers, load: 0.5, transfer: 2_000.0, design };
        assert!(simulate(case(2)).line < 0.6);
        assert!(simulate(case(64)).line > 0.9);
        assert!(simulate(case(64)).p99 > 5.0 * simulate(case(2)).p99);
    }
}
