//! A runtime's metrics for whoever inspects the process.

use super::{Metrics, WorkerMetrics};
use crate::util::json::Object;

pub(super) fn to_json(metrics: &Metrics) -> String {
    let mut object = Object::new();
    object.value("live", Some(metrics.live));
    object.list("workers", &metrics.workers, worker);
    object.value("stuck_workers", Some(metrics.stuck_workers));
    object.value("blocking_threads", Some(metrics.blocking_threads));
    object.value("blocking_idle", Some(metrics.blocking_idle));
    object.value("blocking_queued", Some(metrics.blocking_queued));
    object.value("blocking_jobs", Some(metrics.blocking_jobs));
    object.end()
}

fn worker(worker: &WorkerMetrics) -> String {
    let mut object = Object::new();
    object.value("number", Some(worker.number));
    object.value("surplus", Some(worker.surplus));
    object.value("schedules", Some(worker.schedules));
    object.value("residents", Some(worker.residents));
    object.value("spawned", Some(worker.spawned));
    object.value("finished", Some(worker.finished));
    object.value("steals", Some(worker.steals));
    object.value("pushed", Some(worker.pushed));
    object.value("polls", Some(worker.polls));
    object.value("events", Some(worker.events));
    object.value("sleeps", Some(worker.sleeps));
    object.value("inbox_wakes", Some(worker.inbox_wakes));
    object.value("timers", Some(worker.timers));
    object.end()
}
