//! Acting while another thread waits in a poll.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;
use std::{fs, thread};

use netpoll::{Event, Poller};

use crate::common::{LONG, poll};

/// Polls in a thread of its own until the end is one that `act` may have made, runs `act` when that
/// thread waits in the system, and returns what the last poll reported. A poll that ends before that
/// was ended by a signal, be it the one that continues a stopped process.
pub(crate) fn while_polling(
    poller: &Poller,
    is_the_end: impl Fn(&[Event]) -> bool + Send,
    act: impl FnOnce(),
) -> Vec<Event> {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let thread = scope.spawn(move || {
            sender.send(here()).unwrap();
            let start = Instant::now();
            loop {
                let events = poll(poller, LONG);
                if is_the_end(&events) || start.elapsed() >= LONG {
                    return events;
                }
            }
        });
        if let Some(thread) = receiver.recv().unwrap() {
            while !sleeps(&thread) {
                thread::yield_now();
            }
        }
        act();
        thread.join().unwrap()
    })
}

/// The entry of this thread in `/proc`. Without one, `act` may come before the poll, which must
/// make no difference to any test.
fn here() -> Option<PathBuf> {
    Some(Path::new("/proc").join(fs::read_link("/proc/thread-self").ok()?))
}

fn sleeps(thread: &Path) -> bool {
    let stat = fs::read_to_string(thread.join("stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name.starts_with('S')
}
