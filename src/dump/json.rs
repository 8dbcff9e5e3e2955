//! A dump for programs: JSON by hand, since it takes a page.

use super::{
    CoroutineDump, Dump, Held, LockWait, RuntimeDump, StackFrame, StackTrace, ThreadDump,
    WorkerDump,
};
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

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
    object.end()
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

fn list<T>(items: &[T], write: impl Fn(&T) -> String) -> String {
    let items: Vec<_> = items.iter().map(write).collect();
    format!("[{}]", items.join(","))
}

/// An object that is being written. What is not there is `null`.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object("{".into())
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        let _infallible = write!(self.0, "\"{key}\":");
    }

    /// Something whose text is JSON.
    fn value(&mut self, key: &str, value: Option<impl Display>) {
        self.key(key);
        match value {
            Some(value) => drop(write!(self.0, "{value}")),
            None => self.0.push_str("null"),
        }
    }

    /// Something whose text is to be a string.
    fn text(&mut self, key: &str, value: Option<impl Display>) {
        self.value(key, value.map(|text| Quoted(text.to_string())));
    }

    fn list<T>(&mut self, key: &str, items: &[T], write: impl Fn(&T) -> String) {
        self.value(key, Some(list(items, write)));
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.as_secs(), self.0.subsec_nanos())
    }
}

struct Quoted(String);

impl Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\0'..' ' => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted() {
        let mut object = Object::new();
        object.text("a", Some("x \"y\" \\ \n é"));
        object.value("b", None::<u8>);
        object.list("c", &[1, 2], u8::to_string);
        object.value("d", Some(Seconds(Duration::from_millis(1050))));
        let expected = r#"{"a":"x \"y\" \\ \u000a é","b":null,"c":[1,2],"d":1.050000000}"#;
        assert_eq!(object.end(), expected);
    }
}
