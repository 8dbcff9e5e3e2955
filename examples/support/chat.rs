//! A room in which every line goes to everybody else.

use pirn::net::{Shutdown, TcpStream};
use pirn::thread::{self, Thread};
use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that may wait for a member before it is dropped. More than there are members: all of them may
/// say something before one that was woken comes to its turn.
const QUEUE: usize = 16_384;
/// A member that takes nothing for so long is dropped, also one that has said that it is done.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_LINE: u64 = 1024;
const MAX_NAME: usize = 32;

/// Lets somebody in, and serves them until they leave.
pub(crate) fn serve(stream: &TcpStream, room: &Room) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream);
    let member = loop {
        (&mut &*stream).write_all(b"Your name? ")?;
        let Some(name) = read_line(&mut lines)? else { return Ok(()) };
        match room.join(&name, stream.try_clone()?) {
            Ok(member) => break member,
            Err(why) => writeln!(&mut &*stream, "{why}")?,
        }
    };
    thread::scope(|scope| {
        let writer = thread::Builder::new().spawn_scoped(scope, || member.write_queue());
        let result = writer.and_then(|writer| {
            member.outbox.set_writer(writer.thread().clone());
            read_lines(&mut lines, &member, room)
        });
        room.leave(&member);
        // The writer ends when it has written the rest; the scope waits for it.
        member.outbox.close();
        result
    })
}

fn read_lines(lines: &mut impl BufRead, member: &Member, room: &Room) -> io::Result<()> {
    while let Some(line) = read_line(lines)? {
        if !line.is_empty() {
            room.broadcast(&format!("{}: {line}\n", member.name), Some(member));
            // Lines that are there already are read without a wait: a member that has pasted a page
            // would fill all queues before anybody could take from them.
            thread::yield_now();
        }
    }
    Ok(())
}

/// A line without its end and without control characters; `None` when there are no more.
fn read_line(lines: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    lines.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a member's line is too long"));
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.chars().filter(|char| !char.is_control()).collect::<String>().trim().into()))
}

/// Who is here.
#[derive(Default)]
pub(crate) struct Room {
    members: Mutex<HashMap<String, Arc<Member>>>,
}

struct Member {
    name: String,
    stream: TcpStream,
    outbox: Outbox,
}

impl Room {
    /// Lets somebody in, or says why not.
    fn join(&self, name: &str, stream: TcpStream) -> Result<Arc<Member>, &'static str> {
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err("A name has from 1 to 32 characters.");
        }
        let member = Member { name: name.into(), stream, outbox: Outbox::default() };
        let member = Arc::new(member);
        let mut members = lock(&self.members);
        if members.contains_key(name) {
            return Err("That name is taken.");
        }
        let mut names: Vec<_> = members.keys().map(String::as_str).collect();
        names.sort_unstable();
        let here = if names.is_empty() { "nobody else".into() } else { names.join(", ") };
        member.outbox.push(format!("* here: {here}\n").into());
        members.insert(name.into(), member.clone());
        drop(members);
        self.broadcast(&format!("* {name} has come\n"), Some(&member));
        Ok(member)
    }

    fn leave(&self, member: &Member) {
        lock(&self.members).remove(&member.name);
        self.broadcast(&format!("* {} has gone\n", member.name), None);
    }

    /// Shows a line to everybody but `except`. Waits for nobody.
    fn broadcast(&self, line: &str, except: Option<&Member>) {
        let line: Arc<str> = line.into();
        for member in lock(&self.members).values() {
            let is_excepted = except.is_some_and(|except| std::ptr::eq(except, &**member));
            if !is_excepted && !member.outbox.push(line.clone()) {
                // Its reader and its writer wake up, and it leaves. If it is gone already, good.
                let _gone = member.stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Member {
    /// Writes what the member is to see, until it leaves.
    fn write_queue(&self) {
        let mut lines = VecDeque::new();
        while self.outbox.take(&mut lines) {
            for line in lines.drain(..) {
                if (&self.stream).write_all(line.as_bytes()).is_err() {
                    // Ends the reader too, and with it this member.
                    let _gone = self.stream.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }
}

/// Lines on their way to one member. The locks are std's: nobody parks while holding one.
#[derive(Default)]
struct Outbox {
    state: Mutex<OutboxState>,
}

#[derive(Default)]
struct OutboxState {
    lines: VecDeque<Arc<str>>,
    closed: bool,
    writer: Option<Thread>,
}

impl Outbox {
    /// Names the coroutine that takes the lines, and wakes it for those that nobody woke it for.
    fn set_writer(&self, writer: Thread) {
        let mut state = lock(&self.state);
        state.writer = Some(writer);
        state.wake();
    }

    /// Whether there was room.
    fn push(&self, line: Arc<str>) -> bool {
        let mut state = lock(&self.state);
        if state.lines.len() >= QUEUE {
            return false;
        }
        state.lines.push_back(line);
        state.wake();
        true
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.wake();
    }

    /// Waits for lines and takes all of them; `false` when there will be no more.
    fn take(&self, lines: &mut VecDeque<Arc<str>>) -> bool {
        loop {
            let mut state = lock(&self.state);
            if !state.lines.is_empty() {
                lines.append(&mut state.lines);
                return true;
            }
            if state.closed {
                return false;
            }
            drop(state);
            thread::park();
        }
    }
}

impl OutboxState {
    fn wake(&self) {
        if let Some(writer) = &self.writer {
            writer.unpark();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
