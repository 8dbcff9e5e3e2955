//! A dump for programs.

use super::{
    CoroutineDump, Dump, Held, LockWait, RuntimeDump, StackFrame, StackTrace, ThreadDump,
    WorkerDump,
};
use crate::util::json::{Object, Seconds, list};

pub(super) fn of(dump: &Dump) -> String {
    let mut object = Object::new();
    object.list("runtimes", &dump.runtimes, runtime);
    object.list("threads", &dump.threads, thread);
    object.list("lock_cycles", &dump.lock_cycles(), |cycle| list(cycle, lock_wait));
    object.end()
}

fn runtime(runtime: &RuntimeDump) -> String {
    let mut object = Object::new();
    object.text("name", Some(&runtime.name));
    object.value("live", Some(runtime.live));
    object.list("workers", &runtime.workers, worker);
    object.list("coroutines", &runtime.coroutines, coroutine);
    object.end()
}

fn worker(worker: &WorkerDump) -> String {
    let mut object = Object::new();
    object.value("number", Some(worker.number));
    object.value("residents", Some(worker.residents));
    object.value("answered", Some(worker.answered));
    object.end()
}

fn coroutine(one: &CoroutineDump) -> String {
    let mut object = Object::new();
    coroutine_fields(one, &mut object);
    object.end()
}

/// What there is to say of a coroutine.
pub(crate) fn coroutine_fields(one: &CoroutineDump, object: &mut Object) {
    object.value("id", Some(one.id));
    object.text("name", one.name.as_ref());
    object.text("spawned_at", Some(one.spawned_at));
    object.value("parent", one.parent);
    object.value("worker", one.worker);
    object.text("state", Some(one.state));
    object.text("waits_for", one.waits_for.as_ref());
    object.text("object", one.object.map(|address| format!("{address:#x}")));
    object.list("held_by", &one.held_by, held);
    object.value("since", one.since.map(Seconds));
    object.value("times_out_in", one.times_out_in.map(Seconds));
    let frames = |stack: &StackTrace| list(&stack.frames(), frame);
    object.value("stack", one.stack.as_ref().map(frames));
}

fn frame(frame: &StackFrame) -> String {
    let mut object = Object::new();
    object.text("function", Some(&frame.function));
    object.text("file", frame.place.as_ref().map(|place| &place.0));
    object.value("line", frame.place.as_ref().map(|place| place.1));
    object.end()
}

fn thread(thread: &ThreadDump) -> String {
    let mut object = Object::new();
    object.text("name", thread.name.as_ref());
    object.text("waits_for", Some(&thread.waits_for));
    object.text("object", thread.object.map(|address| format!("{address:#x}")));
    object.list("held_by", &thread.held_by, held);
    object.end()
}

fn held(held: &Held) -> String {
    let mut object = Object::new();
    object.text("by", Some(&held.by));
    object.text("locked_at", Some(held.locked_at));
    object.end()
}

fn lock_wait(wait: &LockWait) -> String {
    let mut object = Object::new();
    object.text("party", Some(&wait.party));
    object.text("waits_for", Some(&wait.waits_for));
    object.text("locked_at", Some(wait.locked_at));
    object.end()
}
