//! Where the waiters of a descriptor are found.
//!
//! A slot belongs to one descriptor while it is open. Slots are never freed, only used again
//! (Go's `pollCache` does the same): an event that was collected before its descriptor was closed
//! may still be looked up, and finds a slot of another *generation*. One that slips past that
//! check wakes a stranger, who tries again and parks again.
//!
//! The table is the process's, not a runtime's: sockets outlive runtimes and move between them.

use crate::netpoller::driver::{PollDriver, lock_registration, wake_all};
use crate::park::Ticket;
use crate::primitive::{lock, prefetch};
use crate::protocol::readiness::{Readiness, Seen, Side};
use crate::sched::{self, Driver};
use netpoll::{Interest, Key, Trigger};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::task::Waker;

/// Slots in the first run of chunks; each further run has twice as many.
const FIRST_RUN: usize = 64;
/// Chunks in a run, which are made as they are needed: what lies idle is at most an eighth of what is
/// in use.
const RUN_CHUNKS: usize = 8;
const RUNS: usize = 24;
const CHUNKS: usize = RUNS * RUN_CHUNKS;
/// Waits from another processor, in a row, before a descriptor moves there.
const FOREIGN_WAITS: u32 = 4;
/// Of a coroutine's header, what a wake and the run after it touch.
const WAITER_LINES: usize = 3;

static CHUNK_LIST: [OnceLock<Box<[Slot]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];
static FREE: Mutex<Free> = Mutex::new(Free { used: 0, free: Vec::new() });

struct Free {
    /// Slots that were ever in use: the lowest indices.
    used: u32,
    free: Vec<u32>,
}

/// See the module's description.
///
/// In cache lines of its own, and in two: the next slot is mostly that of a connection to another
/// worker. The first has all that a read and its wait touch.
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// The memory of the one that joined a queue last: its coroutine, and its frame. A hint.
    near: [AtomicPtr<()>; 2],
    index: u32,
    generation: AtomicU32,
    foreign: AtomicU32,
    /// The driver's number, or 0; written with the registration locked.
    registered_with: AtomicU32,
    /// Begins with its word and the queue of those who read.
    pub(super) readiness: Readiness<Ticket, Waker>,
    registration: Mutex<Option<PollDriver>>,
}

// Elsewhere a mutex may be larger.
const _: () = assert!(!cfg!(target_os = "linux") || size_of::<Slot>() == 2 * 64);

#[inline]
fn place_of(index: u32) -> (usize, usize) {
    let position = index as usize + FIRST_RUN;
    let run = position.ilog2() - FIRST_RUN.ilog2();
    let within = position - (FIRST_RUN << run);
    let bits = run + (FIRST_RUN / RUN_CHUNKS).ilog2();
    (run as usize * RUN_CHUNKS + (within >> bits), within & ((1 << bits) - 1))
}

/// Slots in a chunk.
fn chunk_len(chunk: usize) -> usize {
    (FIRST_RUN / RUN_CHUNKS) << (chunk / RUN_CHUNKS)
}

/// The slot that a key names or has named.
#[inline]
pub(super) fn get(key: Key) -> Option<&'static Slot> {
    at(key.index())
}

#[inline]
fn at(index: u32) -> Option<&'static Slot> {
    let (chunk, offset) = place_of(index);
    CHUNK_LIST.get(chunk)?.get()?.get(offset)
}

/// Every slot that was ever in use.
pub(super) fn for_each(mut look: impl FnMut(&'static Slot)) {
    let used = lock(&FREE).used;
    (0..used).filter_map(at).for_each(&mut look);
}

/// A slot for a descriptor that has just been opened.
pub(super) fn allocate() -> &'static Slot {
    let mut free = lock(&FREE);
    let index = free.free.pop().unwrap_or_else(|| {
        free.used += 1;
        free.used - 1
    });
    drop(free);
    let (chunk, offset) = place_of(index);
    let slots = CHUNK_LIST[chunk].get_or_init(|| {
        let first = index - offset as u32;
        (0..chunk_len(chunk)).map(|offset| Slot::new(first + offset as u32)).collect()
    });
    &slots[offset]
}

impl Slot {
    fn new(index: u32) -> Slot {
        Slot {
            near: [const { AtomicPtr::new(ptr::null_mut()) }; 2],
            index,
            generation: AtomicU32::new(0),
            foreign: AtomicU32::new(0),
            registered_with: AtomicU32::new(0),
            readiness: Readiness::new(),
            registration: Mutex::new(None),
        }
    }

    pub(super) fn registered_with(&self) -> u32 {
        self.registered_with.load(Ordering::Acquire)
    }

    /// A read that began in `seen` left room. That proves that the descriptor, a stream, is empty, if it
    /// is registered, so that what comes later makes an edge, and if nothing but its emptiness cuts
    /// a read short.
    ///
    /// What is behind the bytes may have been reported before the read began: the end of the
    /// stream, an error, the bytes after an urgent mark. So these are remembered.
    #[inline]
    pub(super) fn note_short_read(&self, seen: Seen) {
        if seen.short_reads_drain() && self.registered_with.load(Ordering::Relaxed) != 0 {
            self.readiness.drained(seen);
        }
    }

    /// Notes what an edge is going to touch: what the ticket names, and the waiting frame.
    #[inline]
    pub(super) fn note_waiter<T>(&self, ticket: Ticket, frame: *const T) {
        self.near[0].store(ticket.address().cast_mut(), Ordering::Relaxed);
        self.near[1].store(frame.cast_mut().cast(), Ordering::Relaxed);
    }

    /// Whether the key is that of the descriptor which it belongs to, and not of one that has been closed.
    #[inline]
    pub(super) fn is_named_by(&self, key: Key) -> bool {
        self.generation.load(Ordering::Acquire) == key.generation()
    }

    /// Asks for its memory, of which an event that somebody waits for needs half.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(self, 1);
    }

    /// Asks for the memory that [`note_waiter`](Slot::note_waiter) was told of.
    #[inline]
    pub(super) fn prefetch_waiter(&self) {
        prefetch(self.near[0].load(Ordering::Relaxed), WAITER_LINES);
        prefetch(self.near[1].load(Ordering::Relaxed), 1);
    }

    /// Sees to it that edges are reported to the runtime of the calling coroutine, or at least to
    /// some runtime.
    pub(super) fn register(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let elsewhere = sched::with_processor(|processor, _| {
            // As a rule it is, and then the driver is not looked at.
            match self.is_registered_with(processor.driver_number) {
                true => None,
                false => PollDriver::of(processor).cloned(),
            }
        });
        match elsewhere.flatten() {
            Some(driver) => self.register_with(fd, driver),
            None => Ok(()),
        }
    }

    /// If so, nobody waits from elsewhere.
    fn is_registered_with(&self, driver: u32) -> bool {
        let here = self.registered_with() == driver;
        if here && self.foreign.load(Ordering::Relaxed) != 0 {
            self.foreign.store(0, Ordering::Relaxed);
        }
        here
    }

    /// Sees to it that edges are reported to that driver, or at least to another one.
    pub(super) fn register_with(&self, fd: BorrowedFd<'_>, driver: PollDriver) -> io::Result<()> {
        if self.is_registered_with(driver.number())
            || self.registered_with() != 0 && !self.wants_to_move()
        {
            return Ok(());
        }
        let mut registration = lock_registration(&self.registration);
        let old = registration.take();
        if let Some(old) = &old {
            self.registered_with.store(0, Ordering::Release);
            // Its poller may be gone, and the registration with it.
            let _gone = old.poller().delete(fd);
        }
        let key = Key::new(self.index, self.generation.load(Ordering::Relaxed));
        if let Err(error) = driver.poller().add(fd, key, Interest::BOTH, Trigger::Edge) {
            drop(registration);
            if old.is_some() {
                // Whoever has come to rely on the old one meanwhile is to see for itself.
                wake_all(self, Side::Read);
                wake_all(self, Side::Write);
            }
            return Err(error);
        }
        self.registered_with.store(driver.number(), Ordering::Release);
        self.foreign.store(0, Ordering::Relaxed);
        *registration = Some(driver);
        Ok(())
    }

    /// Tells the poller that the next readiness is awaited; nothing on epoll and kqueue.
    pub(super) fn rearm(&self, fd: BorrowedFd<'_>, side: Side) -> io::Result<()> {
        if !cfg!(netpoll_backend = "poll") && cfg!(target_os = "linux") {
            return Ok(());
        }
        let registration = lock_registration(&self.registration);
        let interest = match side {
            Side::Read => Interest::READABLE,
            Side::Write => Interest::WRITABLE,
        };
        registration.as_ref().map_or(Ok(()), |driver| driver.poller().rearm(fd, interest))
    }

    /// Counts a wait from another processor than the one that polls.
    fn wants_to_move(&self) -> bool {
        !self.readiness.has_waiters()
            && self.foreign.fetch_add(1, Ordering::Relaxed) >= FOREIGN_WAITS
    }

    /// The driver of that number ends. Whether this slot was registered there.
    pub(super) fn forget(&self, driver: u32) -> bool {
        let mut registration = lock_registration(&self.registration);
        let ours = registration.as_ref().is_some_and(|registered| registered.number() == driver);
        if ours {
            *registration = None;
            self.registered_with.store(0, Ordering::Release);
        }
        ours
    }

    /// Removes the registration before the descriptor is closed or given away: a duplicate of it
    /// would keep the registration alive.
    pub(super) fn deregister(&self, fd: BorrowedFd<'_>) {
        if self.registered_with() == 0 {
            return;
        }
        if let Some(driver) = lock_registration(&self.registration).take() {
            self.registered_with.store(0, Ordering::Release);
            // A descriptor that was closed behind its owner's back is gone from the poller.
            let _gone = driver.poller().delete(fd);
        }
    }

    /// Makes the slot available to another descriptor. The caller has deregistered, and nobody
    /// waits.
    pub(super) fn free(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.foreign.store(0, Ordering::Relaxed);
        self.readiness.renew();
        lock(&FREE).free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_and_places_agree() {
        let mut expected = 0;
        for chunk in 0..6 * RUN_CHUNKS {
            for offset in 0..chunk_len(chunk) {
                assert_eq!(place_of(expected), (chunk, offset));
                expected += 1;
            }
        }
        assert!(place_of(u32::MAX >> 3).0 < CHUNKS);
    }

    #[test]
    fn a_freed_slot_is_not_named_by_its_old_key() {
        let slot = allocate();
        let key = Key::new(slot.index, slot.generation.load(Ordering::Relaxed));
        assert!(get(key).is_some_and(|found| std::ptr::eq(found, slot)));
        assert!(slot.is_named_by(key));
        slot.free();
        assert!(!slot.is_named_by(key));
    }
}
