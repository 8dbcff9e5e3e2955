//! Metrics in Prometheus' text exposition format, version 0.0.4.
//!
//! Names follow Prometheus' rules: base units, `_total` for what only grows, and one family for what
//! can be summed over its labels. Workers come and go, since surplus ones stand in for stuck ones;
//! what those did that are gone is told of a worker named `gone`, so that no sum falls.

use pirn::{Metrics, WorkerCounters, WorkerMetrics};
use std::fmt::{self, Display, Write as _};

/// The media type of what [`render`] writes.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A name (behind `pirn_worker_` if it is of a worker), what it is, and where that is in a `T`.
type Figure<T> = (&'static str, &'static str, fn(&T) -> f64);

/// What a worker counts.
const COUNTERS: [Figure<WorkerCounters>; 18] = [
    ("schedules_total", "Runs of coroutines.", |it| it.schedules as f64),
    ("yields_total", "Runs that ended in a yield.", |it| it.yields as f64),
    ("spawned_total", "Coroutines spawned by coroutines.", |it| it.spawned as f64),
    ("finished_total", "Coroutines that ended.", |it| it.finished as f64),
    ("steals_total", "Times that work was taken from others.", |it| it.steals as f64),
    ("taken_over_total", "Steals from stuck workers.", |it| it.taken_over as f64),
    ("pushed_total", "Starts sent to less loaded workers.", |it| it.pushed as f64),
    ("wakes_local_total", "Own coroutines made ready.", |it| it.wakes_local as f64),
    ("wakes_sent_total", "Others' coroutines made ready.", |it| it.wakes_sent as f64),
    ("wakes_signalled_total", "Those that took a system call.", |it| it.wakes_signalled as f64),
    ("wakes_received_total", "Coroutines made ready by others.", |it| it.wakes_received as f64),
    ("polls_total", "Times that the system was asked for events.", |it| it.polls as f64),
    ("events_total", "Events that it had.", |it| it.events as f64),
    ("sleeps_total", "Times that it went to sleep.", |it| it.sleeps as f64),
    ("timers_set_total", "Timers set.", |it| it.timers_set as f64),
    ("timers_fired_total", "Waits ended by their deadline.", |it| it.timers_fired as f64),
    ("busy_seconds_total", "Processor time.", |it| it.busy.as_secs_f64()),
    ("slept_seconds_total", "Time asleep for want of work.", |it| it.slept.as_secs_f64()),
];

/// What a worker has at one moment.
const LEVELS: [Figure<WorkerMetrics>; 7] = [
    ("residents", "Coroutines that live there.", |it| it.residents as f64),
    ("runnable", "Coroutines spawned there that have not started.", |it| it.runnable as f64),
    ("starts", "Coroutines sent there to start.", |it| it.starts as f64),
    ("ready", "Residents that were ready at the latest run.", |it| it.ready as f64),
    ("timers", "Timers that are set.", |it| it.timers as f64),
    ("most_events", "The most events at one time so far.", |it| it.most_events as f64),
    ("stuck", "Whether it is stuck in a coroutine.", |it| f64::from(u8::from(it.stuck))),
];

/// Metrics of several runtimes, as text.
pub(crate) fn render(all: &[Metrics]) -> String {
    let mut page = Page { text: String::new(), all, names: names(all) };
    page.runtimes();
    page.workers();
    page.stacks();
    page.blocking();
    page.text
}

/// What to call each runtime: two may have the same name, but no two series the same labels.
fn names(all: &[Metrics]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for metrics in all {
        let numbered = (2..).map(|number| format!("{}#{number}", metrics.name));
        let mut candidates = std::iter::once(metrics.name.clone()).chain(numbered);
        names.extend(candidates.find(|name| !names.contains(name)));
    }
    names
}

struct Page<'a> {
    text: String,
    all: &'a [Metrics],
    names: Vec<String>,
}

impl Page<'_> {
    /// Begins a family, all of whose samples must follow.
    fn family(&mut self, name: &str, help: &str) {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let _infallible = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: f64) {
        self.text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let opens = if index == 0 { '{' } else { ',' };
            let _infallible = write!(self.text, "{opens}{label}=\"{}\"", Escaped(value));
        }
        let _infallible = writeln!(self.text, "}} {value}");
    }

    /// A family with one sample for each runtime.
    fn each(&mut self, name: &str, help: &str, value: impl Fn(&Metrics) -> f64) {
        self.family(name, help);
        for (index, metrics) in self.all.iter().enumerate() {
            let runtime = self.names[index].clone();
            self.sample(name, &[("runtime", &runtime)], value(metrics));
        }
    }

    fn runtimes(&mut self) {
        self.each("pirn_uptime_seconds", "Since the runtime started.", |it| {
            it.uptime.as_secs_f64()
        });
        self.each("pirn_coroutines", "Coroutines that have not ended.", |it| it.live as f64);
        self.each("pirn_spawned_outside_total", "Coroutines spawned by plain threads.", |it| {
            it.spawned_outside as f64
        });
        self.each("pirn_queued_outside", "Those that no worker has come to.", |it| {
            it.queued_outside as f64
        });
        self.each("pirn_workers", "Workers, surplus ones included.", |it| it.workers.len() as f64);
        self.each("pirn_stuck_workers", "Workers that are stuck.", |it| it.stuck_workers as f64);
        self.each("pirn_surplus_workers_total", "Workers started for stuck ones.", |it| {
            it.surplus_started as f64
        });
        self.each("pirn_retaken_events_total", "Events got for stuck workers.", |it| {
            it.retaken_events as f64
        });
        self.each("pirn_stalls_total", "Stalls reported.", |it| it.stalls as f64);
        let name = "pirn_stack_guard_info";
        self.family(name, "How stacks are guarded.");
        for (index, metrics) in self.all.iter().enumerate() {
            let runtime = self.names[index].clone();
            self.sample(name, &[("runtime", &runtime), ("guard", &metrics.guard)], 1.0);
        }
    }

    fn workers(&mut self) {
        for (what, help, value) in COUNTERS {
            let name = format!("pirn_worker_{what}");
            self.family(&name, help);
            for (index, metrics) in self.all.iter().enumerate() {
                let runtime = self.names[index].clone();
                for worker in &metrics.workers {
                    let labels: [(_, &dyn Display); 2] =
                        [("runtime", &runtime), ("worker", &worker.number)];
                    self.sample(&name, &labels, value(&worker.counters));
                }
                let labels: [(_, &dyn Display); 2] = [("runtime", &runtime), ("worker", &"gone")];
                self.sample(&name, &labels, value(&metrics.retired));
            }
        }
        for (what, help, value) in LEVELS {
            let name = format!("pirn_worker_{what}");
            self.family(&name, help);
            for (index, metrics) in self.all.iter().enumerate() {
                let runtime = self.names[index].clone();
                for worker in &metrics.workers {
                    let labels: [(_, &dyn Display); 2] =
                        [("runtime", &runtime), ("worker", &worker.number)];
                    self.sample(&name, &labels, value(worker));
                }
            }
        }
    }

    fn stacks(&mut self) {
        let figures: [Figure<pirn::StackClassMetrics>; 6] = [
            ("pirn_stack_mapped_bytes", "Address space of stacks.", |it| it.mapped as f64),
            ("pirn_stacks_carved", "Stacks fit for use.", |it| it.carved as f64),
            ("pirn_stacks_credited", "Stacks promised to coroutines.", |it| it.credited as f64),
            ("pirn_stacks_free", "Stacks that nobody uses.", |it| it.free as f64),
            ("pirn_stacks_taken_total", "Stacks given to coroutines.", |it| it.taken as f64),
            ("pirn_stack_misses_total", "Supplies from the shared pool.", |it| it.misses as f64),
        ];
        for (name, help, value) in figures {
            self.family(name, help);
            for (index, metrics) in self.all.iter().enumerate() {
                let runtime = self.names[index].clone();
                for class in &metrics.stacks {
                    let labels: [(_, &dyn Display); 2] =
                        [("runtime", &runtime), ("size", &class.size)];
                    self.sample(name, &labels, value(class));
                }
            }
        }
    }

    fn blocking(&mut self) {
        self.each("pirn_blocking_threads", "Threads for blocking work.", |it| {
            it.blocking_threads as f64
        });
        self.each("pirn_blocking_busy_threads", "Those that have a job.", |it| {
            it.blocking_busy as f64
        });
        self.each("pirn_blocking_peak_threads", "The most there were.", |it| {
            it.blocking_peak_threads as f64
        });
        self.each("pirn_blocking_queued_jobs", "Jobs that wait for a thread.", |it| {
            it.blocking_queued as f64
        });
        self.each("pirn_blocking_jobs_total", "Jobs for the pool.", |it| it.blocking_jobs as f64);
        self.each("pirn_blocking_in_place_total", "Jobs done where they arose.", |it| {
            it.blocking_in_place as f64
        });
    }
}

/// The value of a label.
struct Escaped<'a>(&'a dyn Display);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '\\' => f.write_str(r"\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str(r"\n")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}
