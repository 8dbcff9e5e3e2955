//! What the program answers. What is missing is empty: an older program may not say it.

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Runtimes<T> {
    pub(crate) runtimes: Vec<T>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Metrics {
    pub(crate) name: String,
    /// Seconds.
    pub(crate) uptime: f64,
    pub(crate) live: u64,
    pub(crate) workers: Vec<Worker>,
    pub(crate) blocking_threads: u64,
    pub(crate) blocking_busy: u64,
    pub(crate) blocking_queued: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Worker {
    pub(crate) number: u64,
    pub(crate) surplus: bool,
    pub(crate) stuck: bool,
    pub(crate) state: String,
    pub(crate) residents: u64,
    pub(crate) runnable: u64,
    pub(crate) starts: u64,
    pub(crate) ready: u64,
    pub(crate) timers: u64,
    pub(crate) schedules: u64,
    pub(crate) steals: u64,
    pub(crate) polls: u64,
    /// Seconds.
    pub(crate) busy: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) live: u64,
    pub(crate) workers: Vec<WorkerSummary>,
    pub(crate) states: BTreeMap<String, u64>,
    pub(crate) reasons: Vec<Count>,
    pub(crate) places: Vec<Count>,
    pub(crate) more_places: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WorkerSummary {
    pub(crate) number: u64,
    pub(crate) answered: bool,
    pub(crate) runs: Option<Coroutine>,
}

/// Of those that wait for the same kind of thing, or were spawned in the same place.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Count {
    #[serde(alias = "reason", alias = "spawned_at")]
    pub(crate) what: String,
    pub(crate) count: u64,
    /// Seconds.
    pub(crate) longest: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct List {
    pub(crate) total: usize,
    pub(crate) silent_workers: u64,
    pub(crate) coroutines: Vec<Coroutine>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Coroutine {
    pub(crate) runtime: String,
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) spawned_at: String,
    pub(crate) parent: Option<u64>,
    pub(crate) worker: Option<u64>,
    pub(crate) state: String,
    pub(crate) waits_for: Option<String>,
    pub(crate) held_by: Vec<Held>,
    /// Seconds.
    pub(crate) since: Option<f64>,
    pub(crate) times_out_in: Option<f64>,
    pub(crate) stack: Option<Vec<Frame>>,
    pub(crate) children: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Held {
    pub(crate) by: String,
    pub(crate) locked_at: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Frame {
    pub(crate) function: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u64>,
}

impl Coroutine {
    pub(crate) fn does(&self) -> &str {
        self.waits_for.as_deref().unwrap_or(&self.state)
    }
}

/// A time in two units at most.
pub(crate) fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0 => format!("{}ms", (seconds * 1e3) as u64),
        1..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{}h", whole / 86_400, whole % 86_400 / 3600),
    }
}
