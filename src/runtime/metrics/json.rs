//! Metrics for programs.

use super::{Metrics, StackClassMetrics, WorkerMetrics};
use crate::sched::WorkerCounters;
use crate::util::json::{Object, Seconds};

pub(super) fn of(metrics: &Metrics) -> String {
    let mut object = Object::new();
    object.text("name", Some(&metrics.name));
    object.value("runtimes", Some(metrics.runtimes));
    object.value("uptime", Some(Seconds(metrics.uptime)));
    object.value("live", Some(metrics.live));
    object.value("spawned_outside", Some(metrics.spawned_outside));
    object.value("queued_outside", Some(metrics.queued_outside));
    object.list("workers", &metrics.workers, worker);
    object.value("retired", Some(counters(&metrics.retired)));
    object.value("total", Some(counters(&metrics.total())));
    object.value("stuck_workers", Some(metrics.stuck_workers));
    object.value("surplus_started", Some(metrics.surplus_started));
    object.value("retaken_events", Some(metrics.retaken_events));
    object.value("stalls", Some(metrics.stalls));
    object.text("guard", Some(metrics.guard));
    object.list("stacks", &metrics.stacks, stack_class);
    object.value("blocking_threads", Some(metrics.blocking_threads));
    object.value("blocking_idle", Some(metrics.blocking_idle));
    object.value("blocking_busy", Some(metrics.blocking_busy));
    object.value("blocking_queued", Some(metrics.blocking_queued));
    object.value("blocking_jobs", Some(metrics.blocking_jobs));
    object.value("blocking_in_place", Some(metrics.blocking_in_place));
    object.value("blocking_peak_threads", Some(metrics.blocking_peak_threads));
    object.end()
}

fn worker(worker: &WorkerMetrics) -> String {
    let mut object = Object::new();
    object.value("number", Some(worker.number));
    object.value("surplus", Some(worker.surplus));
    object.value("stuck", Some(worker.stuck));
    object.text("state", Some(worker.state));
    object.value("running", worker.running);
    object.value("residents", Some(worker.residents));
    object.value("runnable", Some(worker.runnable));
    object.value("starts", Some(worker.starts));
    object.value("ready", Some(worker.ready));
    object.value("inbox", Some(worker.inbox));
    object.value("timers", Some(worker.timers));
    object.value("most_events", Some(worker.most_events));
    add_counters(&mut object, &worker.counters);
    object.end()
}

fn counters(counters: &WorkerCounters) -> String {
    let mut object = Object::new();
    add_counters(&mut object, counters);
    object.end()
}

fn add_counters(object: &mut Object, counters: &WorkerCounters) {
    counters.for_each(|name, count| object.value(name, Some(count)));
    object.value("parks", Some(counters.parks()));
    object.value("busy", Some(Seconds(counters.busy)));
    object.value("slept", Some(Seconds(counters.slept)));
}

fn stack_class(class: &StackClassMetrics) -> String {
    let mut object = Object::new();
    object.value("size", Some(class.size));
    object.value("mapped", Some(class.mapped));
    object.value("carved", Some(class.carved));
    object.value("credited", Some(class.credited));
    object.value("out", Some(class.out));
    object.value("free", Some(class.free));
    object.value("warm", Some(class.warm));
    object.value("taken", Some(class.taken));
    object.value("misses", Some(class.misses));
    object.end()
}
