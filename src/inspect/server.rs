//! One thread that serves all who have connected.
//!
//! It waits in a poller of its own, since what is to be inspected may be stuck. One thread, since the
//! report of a deadlock counts the process's threads, and one for each client would come and go
//! between its two looks.
//!
//! Nobody holds up anybody: a client whose answer has not been taken is not read from, and so has no
//! second answer; one that takes nothing for [`SLOW`] is gone. So there is one line and one answer in
//! memory for each, and no more than [`CLIENTS`] of them.

use super::MetricsToJson;
use super::answer;
use super::sys;
use crate::util::json::Object;
use netpoll::{Events, Interest, Key, Poller, Trigger};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Who may be connected at once.
const CLIENTS: usize = 16;
/// Bytes of a request.
const LINE: usize = 4096;
/// How long a client may leave an answer where it is, outside of tests.
pub(super) const SLOW: Duration = Duration::from_secs(10);
/// How long nobody is accepted after the system has refused to.
const PAUSE: Duration = Duration::from_secs(1);

const LISTENER: Key = Key::new(CLIENTS as u32, 0);

pub(super) struct Server {
    poller: Poller,
    listener: UnixListener,
    stop: Arc<AtomicBool>,
    metrics: MetricsToJson,
    /// How long a client may leave an answer where it is.
    slow: Duration,
    clients: [Option<Client>; CLIENTS],
    /// When to listen again.
    paused_until: Option<Instant>,
}

struct Client {
    stream: UnixStream,
    /// What was read and not answered: no more than a line.
    input: Vec<u8>,
    /// The line was too long, and its rest is to be skipped.
    skips: bool,
    /// It sends no more.
    ended: bool,
    output: Vec<u8>,
    written: usize,
    /// When it last took some of its answer, or got it.
    moved: Instant,
    interest: Interest,
}

/// What comes of a turn with a client.
#[derive(PartialEq)]
enum Turn {
    /// It has to do something.
    Waits,
    /// There is another line of its own.
    More,
    Gone,
}

impl Server {
    pub(super) fn new(
        poller: Poller,
        listener: UnixListener,
        stop: Arc<AtomicBool>,
        metrics: MetricsToJson,
        slow: Duration,
    ) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        poller.add(listener.as_fd(), LISTENER, Interest::READABLE, Trigger::Level)?;
        let clients = [const { None }; CLIENTS];
        Ok(Server { poller, listener, stop, metrics, slow, clients, paused_until: None })
    }

    /// Until it is stopped.
    ///
    /// # Errors
    ///
    /// The poller's, which is broken then: a signal is none, and the kernel's want of memory passes.
    pub(super) fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(CLIENTS + 1);
        let mut more = [false; CLIENTS];
        while !self.stop.load(Ordering::Acquire) {
            let timeout = if more.contains(&true) { Some(Duration::ZERO) } else { self.timeout() };
            match self.poller.poll(&mut events, timeout) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::OutOfMemory => {
                    // Not to spin meanwhile. There are no events.
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
            let mut due = more;
            for event in events.iter() {
                match due.get_mut(event.key().index() as usize) {
                    Some(due) => *due = true,
                    None => self.accept(),
                }
            }
            for place in 0..CLIENTS {
                more[place] = due[place] && self.turn(place) == Turn::More;
                let slow = |client: &Client| client.is_slow(self.slow);
                if self.clients[place].as_ref().is_some_and(slow) {
                    self.leave(place);
                }
            }
            if self.paused_until.is_some_and(|until| until <= Instant::now()) {
                self.listen_again();
            }
        }
        Ok(())
    }

    /// How long to wait for events: until the first client is too slow, or a pause is over.
    fn timeout(&self) -> Option<Duration> {
        let busy = self.clients.iter().flatten().filter(|client| client.is_owed());
        let slow = busy.map(|client| client.moved + self.slow);
        let first = slow.chain(self.paused_until).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    // No descriptors, most likely. The connection would be reported again at once.
                    _ => {
                        let _deleted = self.poller.delete(self.listener.as_fd());
                        self.paused_until = Some(Instant::now() + PAUSE);
                        return;
                    }
                },
            }
        }
    }

    fn listen_again(&mut self) {
        let (fd, interest) = (self.listener.as_fd(), Interest::READABLE);
        let added = self.poller.add(fd, LISTENER, interest, Trigger::Level);
        self.paused_until = added.is_err().then(|| Instant::now() + PAUSE);
    }

    fn admit(&mut self, mut stream: UnixStream) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let user = sys::peer_user(&stream);
        let allowed = user.is_ok_and(|user| user == 0 || user == sys::own_user());
        let place = self.clients.iter().position(Option::is_none);
        let refusal = match place {
            _ if !allowed => "this process is another user's".to_owned(),
            None => format!("{CLIENTS} are connected, and there is no room for more"),
            Some(place) => {
                let key = Key::new(place as u32, 0);
                let interest = Interest::READABLE;
                if self.poller.add(stream.as_fd(), key, interest, Trigger::Level).is_ok() {
                    self.clients[place] = Some(Client::new(stream));
                }
                return;
            }
        };
        // It fits, or there is nobody who wants it.
        let _sent = stream.write(&failure(None, &refusal));
    }

    fn turn(&mut self, place: usize) -> Turn {
        let Some(client) = &mut self.clients[place] else { return Turn::Waits };
        let turn = client.turn(self.metrics).unwrap_or(Turn::Gone);
        let wanted = if client.is_owed() { Interest::WRITABLE } else { Interest::READABLE };
        if turn == Turn::Gone {
            self.leave(place);
        } else if wanted != client.interest {
            let key = Key::new(place as u32, 0);
            let modified = self.poller.modify(client.stream.as_fd(), key, wanted, Trigger::Level);
            client.interest = wanted;
            if modified.is_err() {
                self.leave(place);
            }
        }
        turn
    }

    fn leave(&mut self, place: usize) {
        if let Some(client) = self.clients[place].take() {
            let _deleted = self.poller.delete(client.stream.as_fd());
        }
    }
}

impl Client {
    fn new(stream: UnixStream) -> Client {
        Client {
            stream,
            input: Vec::new(),
            skips: false,
            ended: false,
            output: Vec::new(),
            written: 0,
            moved: Instant::now(),
            interest: Interest::READABLE,
        }
    }

    /// Whether there is an answer that it has not taken.
    fn is_owed(&self) -> bool {
        self.written < self.output.len()
    }

    fn is_slow(&self, limit: Duration) -> bool {
        self.is_owed() && self.moved.elapsed() >= limit
    }

    /// Reads once, answers one line at most, and writes what the socket takes.
    fn turn(&mut self, metrics: MetricsToJson) -> io::Result<Turn> {
        if !self.write()? {
            return Ok(Turn::Waits);
        }
        if !self.has_line() && !self.ended {
            self.read()?;
        }
        if let Some(line) = self.take_line() {
            let mut answer = match line {
                Ok(line) => answer::to(&line, metrics),
                Err(too_long) => too_long,
            };
            answer.push(b'\n');
            (self.output, self.written, self.moved) = (answer, 0, Instant::now());
            if !self.write()? {
                return Ok(Turn::Waits);
            }
        }
        match (self.has_line(), self.ended) {
            (true, _) => Ok(Turn::More),
            (false, true) => Ok(Turn::Gone),
            (false, false) => Ok(Turn::Waits),
        }
    }

    /// Whether all is written.
    fn write(&mut self) -> io::Result<bool> {
        while self.is_owed() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count;
                    self.moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Its room, too: an answer may have been large.
        (self.output, self.written) = (Vec::new(), 0);
        Ok(true)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; LINE];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn has_line(&self) -> bool {
        self.input.len() > LINE || self.input.contains(&b'\n')
    }

    /// The next line, or the answer to one that is too long.
    fn take_line(&mut self) -> Option<Result<Vec<u8>, Vec<u8>>> {
        loop {
            let Some(end) = self.input.iter().position(|&byte| byte == b'\n') else {
                if self.skips {
                    self.input.clear();
                } else if self.input.len() > LINE {
                    self.input.clear();
                    self.skips = true;
                    let message = format!("a request is a line of {LINE} bytes at most");
                    return Some(Err(failure(None, &message)));
                }
                return None;
            };
            let line: Vec<u8> = self.input.drain(..=end).take(end).collect();
            if self.skips {
                self.skips = false;
            } else if !line.trim_ascii().is_empty() {
                return Some(Ok(line));
            }
        }
    }
}

/// A line that says what is wrong, without its end.
pub(super) fn failure(id: Option<u64>, message: &str) -> Vec<u8> {
    let mut object = Object::new();
    object.value("v", Some(super::VERSION));
    object.value("id", id);
    object.text("error", Some(message));
    object.end().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::thread;

    const HELLO: &[u8] = b"{\"request\":\"hello\"}\n";

    /// A server whose clients may be so slow.
    struct Served {
        folder: std::path::PathBuf,
        stop: Arc<AtomicBool>,
        waker: netpoll::Waker,
        thread: Option<thread::JoinHandle<io::Result<()>>>,
    }

    impl Served {
        fn new(name: &str, slow: Duration) -> Served {
            let folder = format!("pirn-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            std::fs::create_dir(&folder).unwrap();
            let listener = UnixListener::bind(folder.join("s")).unwrap();
            let (poller, stop) = (Poller::new().unwrap(), Arc::new(AtomicBool::new(false)));
            let waker = poller.waker();
            let metrics: MetricsToJson = |_| "{}".into();
            let server = Server::new(poller, listener, stop.clone(), metrics, slow).unwrap();
            let thread = Some(thread::spawn(move || server.serve()));
            Served { folder, stop, waker, thread }
        }

        fn connect(&self) -> BufReader<UnixStream> {
            BufReader::new(UnixStream::connect(self.folder.join("s")).unwrap())
        }

        /// A client that asks until nothing more goes in, and takes no answer.
        fn sleeper(&self) -> BufReader<UnixStream> {
            let client = self.connect();
            client.get_ref().set_nonblocking(true).unwrap();
            while client.get_ref().write(HELLO).is_ok() {
                thread::yield_now();
            }
            client.get_ref().set_nonblocking(false).unwrap();
            client
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Release);
            self.waker.wake().unwrap();
            self.thread.take().unwrap().join().unwrap().unwrap();
            std::fs::remove_dir_all(&self.folder).unwrap();
        }
    }

    fn hello(client: &mut BufReader<UnixStream>) -> String {
        let mut line = String::new();
        client.get_mut().write_all(HELLO).unwrap();
        client.read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn who_takes_no_answer_is_dropped_and_others_are_not() {
        let served = Served::new("slow", Duration::from_millis(50));
        let mut other = served.connect();
        let mut sleeper = served.sleeper();
        assert!(hello(&mut other).contains("\"ok\""));
        // Gone: it can no longer be written to. What was asked is never answered in full.
        let hung_up = loop {
            assert!(hello(&mut other).contains("\"ok\""));
            sleeper.get_ref().set_nonblocking(true).unwrap();
            // It asks for more: if the server was late, all answers may have had room so far.
            match sleeper.get_ref().write(HELLO) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => break error.kind(),
                _ => thread::yield_now(),
            }
        };
        assert!(matches!(hung_up, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
        sleeper.get_ref().set_nonblocking(false).unwrap();
        let mut taken = Vec::new();
        // The end, or a reset, since what it had sent was not read.
        let _reset = sleeper.read_to_end(&mut taken);
        assert!(hello(&mut other).contains("\"ok\""));
    }

    #[test]
    fn who_is_only_slow_gets_all_answers() {
        let served = Served::new("patient", Duration::from_secs(3600));
        let mut sleeper = served.sleeper();
        sleeper.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        let lines: Vec<_> = sleeper.by_ref().lines().map(Result::unwrap).collect();
        // The last line may have been cut where nothing more went in.
        let (last, full) = lines.split_last().unwrap();
        assert!(full.len() > 100 && full.iter().all(|line| line.contains("\"ok\"")), "{last}");
    }
}
