//! Waiting for a file's lock (`flock`), which no readiness tells of.
//!
//! A thread that waits in the system can neither be called back nor bounded: a thousand coroutines
//! that want a lock would be a thousand threads, or all of the pool, and one that was cancelled
//! might get the lock when nobody wants it any more. So the lock is only ever *tried*. Of those who
//! wait for a file, one for each kind of lock tries again, when a lock of this process on that file
//! was given up, and otherwise after a while, for the sake of other processes. The others queue
//! behind it.
//!
//! The two kinds have a queue each: a shared lock may be had while an exclusive one may not, and
//! its owner may be whom the holder of the lock waits for.

use crate::sync::{Notify, Semaphore};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The pauses between attempts double from the one to the other.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(10);

/// What locks exclude each other by: the file, not its path or its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    device: u64,
    inode: u64,
}

impl Key {
    pub(super) fn of(file: &File) -> io::Result<Key> {
        let metadata = file.metadata()?;
        Ok(Key { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Whether others may hold the lock too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exclusive,
    Shared,
}

/// Those who wait for one kind of lock on one file.
struct Queue {
    /// Held by the one that tries.
    turn: Semaphore,
    released: Notify,
}

impl Queue {
    fn new() -> Queue {
        Queue { turn: Semaphore::new(1), released: Notify::new() }
    }
}

/// Those who wait for a lock on one file.
struct Queues {
    exclusive: Queue,
    shared: Queue,
}

impl Queues {
    fn of(&self, kind: Kind) -> &Queue {
        match kind {
            Kind::Exclusive => &self.exclusive,
            Kind::Shared => &self.shared,
        }
    }
}

/// The queues of the files that are waited for, and by how many.
type Table = HashMap<Key, (Arc<Queues>, usize)>;

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);
/// Whether there is anything in the table, so that nobody looks for nothing.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Being among those who wait.
struct Membership {
    key: Key,
    queues: Arc<Queues>,
}

impl Membership {
    fn new(key: Key) -> Membership {
        WAITING.fetch_add(1, Ordering::SeqCst);
        let mut table = lock_table();
        let fresh = || (Arc::new(Queues { exclusive: Queue::new(), shared: Queue::new() }), 0);
        let (queues, members) = table.entry(key).or_insert_with(fresh);
        *members += 1;
        Membership { key, queues: queues.clone() }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = lock_table().entry(self.key) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock_table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `attempt` until it does not say `WouldBlock`.
pub(super) fn wait(
    key: Key,
    kind: Kind,
    mut attempt: impl FnMut() -> Result<(), TryLockError>,
) -> io::Result<()> {
    let member = Membership::new(key);
    let queue = member.queues.of(kind);
    let _turn = queue.turn.acquire().expect("nobody closes this semaphore");
    let mut pause = SHORTEST;
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        let released = queue.released.notified_timeout(pause);
        pause = if released { SHORTEST } else { (pause * 2).min(LONGEST) };
    }
}

/// Tells those who wait that a lock on that file was given up.
pub(super) fn released(key: Key) {
    if is_anybody_waiting()
        && let Some((queues, _)) = lock_table().get(&key)
    {
        queues.exclusive.released.notify_one();
        queues.shared.released.notify_one();
    }
}

pub(super) fn is_anybody_waiting() -> bool {
    WAITING.load(Ordering::SeqCst) > 0
}
