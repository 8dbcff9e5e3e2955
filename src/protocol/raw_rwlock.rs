//! A lock for many readers or one writer: who holds it, who waits, and who comes next.
//!
//! Two words: the *state*, and the queue of those who wait, first come, first served. The queue
//! changes only with its lock held; `QUEUED` in the state says whether it is empty, so that one
//! look at the state is enough for whoever need not wait.
//!
//! | in the state | meaning |
//! |---|---|
//! | `WRITER` | a writer holds it |
//! | readers | so many readers hold it; never with `WRITER` |
//! | `QUEUED` | somebody waits: readers that come now wait too, or writers would starve |
//! | `WOKEN` | a writer was taken off the queue and is on its way to try again |
//! | `RESERVED` | the lock is to be handed to the writer that is first in the queue, as soon as it is free; nobody else may take it |
//! | `POISONED` | a writer panicked; says nothing about who holds it |
//!
//! Readers that wait are *granted* the lock by whoever can, all those at the front of the queue at
//! once: there is no contest between readers, and no writer that comes by can starve them. Writers
//! are woken and try, as in [`raw_mutex`](super::raw_mutex), with the same flags.
//!
//! Whenever the lock is free and somebody is queued, a writer is `WOKEN`, or somebody is about to
//! call [`RawRwLock::settle`]: after a release, a downgrade, a departure from the queue.

use crate::primitive::const_unless_loom;
use crate::primitive::sync::atomic::{AtomicUsize, Ordering};
use crate::protocol::raw_mutex::Entry;
use crate::protocol::wait_word::{End, Node, Queue, WaitWord};
use std::ptr::NonNull;

const WRITER: usize = 1;
const QUEUED: usize = 2;
const WOKEN: usize = 4;
const RESERVED: usize = 8;
const POISONED: usize = 16;
const READER: usize = 32;

/// As many as fit, with room for those who ask at the same time.
const MOST_READERS: usize = usize::MAX / READER / 2;

/// What a waiter wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Read,
    Write,
}

/// One in the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter<W> {
    pub(crate) want: Want,
    pub(crate) waiter: W,
}

/// See the module's description.
pub(crate) struct RawRwLock<W> {
    state: AtomicUsize,
    queue: WaitWord<Waiter<W>>,
}

fn readers(state: usize) -> usize {
    state / READER
}

impl<W: Copy> RawRwLock<W> {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            RawRwLock { state: AtomicUsize::new(0), queue: WaitWord::new(0) }
        }
    }

    #[inline]
    pub(crate) fn try_read(&self) -> bool {
        let mut now = self.state.load(Ordering::Relaxed);
        while now & (WRITER | QUEUED | RESERVED) == 0 {
            if readers(now) >= MOST_READERS {
                too_many_readers();
            }
            match self.exchange(now, now + READER) {
                Ok(_) => return true,
                Err(newer) => now = newer,
            }
        }
        false
    }

    #[inline]
    pub(crate) fn try_write(&self) -> bool {
        match self.state.compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => true,
            Err(now) => self.try_write_from(now, 0),
        }
    }

    /// As [`RawRwLock::try_write`], by the writer that is `WOKEN`; on success it is not any more.
    pub(crate) fn try_write_woken(&self) -> bool {
        self.try_write_from(self.state.load(Ordering::Relaxed), WOKEN)
    }

    fn try_write_from(&self, mut now: usize, clear: usize) -> bool {
        while now & (WRITER | RESERVED) == 0 && readers(now) == 0 {
            match self.exchange(now, now & !clear | WRITER) {
                Ok(_) => return true,
                Err(newer) => now = newer,
            }
        }
        false
    }

    #[inline]
    fn exchange(&self, now: usize, next: usize) -> Result<usize, usize> {
        self.state.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Relaxed)
    }

    /// Whether it makes sense to look again before waiting: a writer holds it, or the caller
    /// wants to be one, and nobody waits.
    pub(crate) fn is_worth_spinning(&self, want: Want) -> bool {
        let now = self.state.load(Ordering::Relaxed);
        now & QUEUED == 0 && (now & WRITER != 0 || want == Want::Write && readers(now) != 0)
    }

    /// Joins the queue. `false`: the lock could be had, and is the caller's now.
    ///
    /// A writer that enters again is not `WOKEN` any more, in both cases.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays alive and in place until it is woken or has called
    /// [`RawRwLock::leave`].
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn enter(
        &self,
        node: NonNull<Node<Waiter<W>>>,
        want: Want,
        entry: Entry,
    ) -> bool {
        let (end, clear, reserve) = match entry {
            Entry::First => (End::Back, 0, 0),
            Entry::Again { reserve } => (End::Front, WOKEN, if reserve { RESERVED } else { 0 }),
        };
        let mut queue = self.queue.lock();
        let mut now = self.state.load(Ordering::Relaxed);
        loop {
            let (free, taken) = match want {
                Want::Read => (now & (WRITER | QUEUED | RESERVED) == 0, now.wrapping_add(READER)),
                Want::Write => {
                    (now & (WRITER | RESERVED) == 0 && readers(now) == 0, now & !clear | WRITER)
                }
            };
            let next = if free { taken } else { now & !clear | QUEUED | reserve };
            match self.exchange(now, next) {
                Ok(_) if free => return false,
                Ok(_) => break,
                Err(newer) => now = newer,
            }
        }
        // SAFETY: the caller's promise.
        unsafe { queue.push(end, node) };
        true
    }

    /// Leaves the queue without having been woken by it. [`RawRwLock::settle`] is to follow: those
    /// behind may be able to go on.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn leave(&self, node: NonNull<Node<Waiter<W>>>) {
        let mut queue = self.queue.lock();
        // SAFETY: the caller's promise.
        unsafe { queue.remove(node) };
        self.note_queue(&queue);
    }

    /// The writer that is `WOKEN` gives up. [`RawRwLock::settle`] is to follow.
    pub(crate) fn abandon(&self) {
        self.state.fetch_and(!WOKEN, Ordering::Relaxed);
    }

    /// A reader releases the lock. `true`: [`RawRwLock::settle`] is to follow.
    #[inline]
    #[must_use = "a waiter may have to be woken"]
    pub(crate) fn unlock_read(&self) -> bool {
        let before = self.state.fetch_sub(READER, Ordering::Release);
        debug_assert!(readers(before) != 0 && before & WRITER == 0);
        // A writer that is on its way settles things when it releases the lock in its turn.
        readers(before) == 1 && before & (QUEUED | RESERVED) != 0 && before & WOKEN == 0
    }

    /// A writer releases the lock. `true`: [`RawRwLock::settle`] is to follow.
    #[inline]
    #[must_use = "a waiter may have to be woken"]
    pub(crate) fn unlock_write(&self) -> bool {
        let before = self.state.fetch_sub(WRITER, Ordering::Release);
        debug_assert!(before & WRITER != 0);
        before & (QUEUED | RESERVED) != 0 && before & WOKEN == 0
    }

    /// A writer becomes a reader. `true`: [`RawRwLock::settle`] is to follow.
    #[must_use = "a waiter may have to be woken"]
    pub(crate) fn downgrade(&self) -> bool {
        let before = self.state.fetch_add(READER - WRITER, Ordering::Release);
        debug_assert!(before & WRITER != 0);
        before & QUEUED != 0
    }

    /// Lets those go on that can. `wake` is called without a lock held.
    pub(crate) fn settle<C>(&self, mut claim: impl FnMut(W) -> Option<C>, mut wake: impl FnMut(C)) {
        let mut claim = |waiter: Waiter<W>| claim(waiter.waiter);
        loop {
            let mut queue = self.queue.lock();
            match queue.first().map(|first| first.want) {
                None => {
                    self.state.fetch_and(!RESERVED, Ordering::Relaxed);
                    return;
                }
                Some(Want::Read) => {
                    if !self.hold_for_readers() {
                        // A writer holds it, and will look at the queue.
                        return;
                    }
                    while queue.first().is_some_and(|first| first.want == Want::Read) {
                        let reader = queue.try_claim_first(true, &mut claim);
                        if let Some(reader) = reader {
                            self.state.fetch_add(READER, Ordering::Relaxed);
                            self.note_queue(&queue);
                            drop(queue);
                            wake(reader);
                            queue = self.queue.lock();
                        }
                    }
                    self.note_queue(&queue);
                    drop(queue);
                    if !self.unlock_read() {
                        return;
                    }
                }
                Some(Want::Write) => {
                    let now = self.state.load(Ordering::Acquire);
                    if now & WRITER != 0 || readers(now) != 0 {
                        return;
                    }
                    if now & RESERVED != 0 {
                        // Nobody else can take it, so these steps cannot be told from one.
                        if let Some(writer) = queue.try_claim_first(true, &mut claim) {
                            self.state.fetch_xor(RESERVED ^ WRITER, Ordering::AcqRel);
                            self.note_queue(&queue);
                            drop(queue);
                            return wake(writer);
                        }
                    } else if now & WOKEN != 0 {
                        return;
                    } else if let Some(writer) = queue.try_claim_first(false, &mut claim) {
                        self.state.fetch_or(WOKEN, Ordering::Relaxed);
                        self.note_queue(&queue);
                        drop(queue);
                        return wake(writer);
                    }
                    self.note_queue(&queue);
                }
            }
        }
    }

    /// Takes the lock as one more reader, if there is no writer, so that no writer comes while
    /// those who wait are granted theirs.
    fn hold_for_readers(&self) -> bool {
        let mut now = self.state.load(Ordering::Relaxed);
        while now & WRITER == 0 {
            // What was reserved for a writer that has left is not for readers to keep.
            match self.exchange(now, (now & !RESERVED) + READER) {
                Ok(_) => return true,
                Err(newer) => now = newer,
            }
        }
        false
    }

    /// Makes `QUEUED` agree with the queue, after somebody has left it.
    fn note_queue(&self, queue: &Queue<'_, Waiter<W>>) {
        if queue.is_empty() {
            self.state.fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }

    pub(crate) fn poison(&self) {
        self.state.fetch_or(POISONED, Ordering::Relaxed);
    }

    pub(crate) fn clear_poison(&self) {
        self.state.fetch_and(!POISONED, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.state.load(Ordering::Relaxed) & POISONED != 0
    }
}

#[cold]
fn too_many_readers() -> ! {
    panic!("too many active read locks on RwLock");
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models queue nodes by hand")]
mod models {
    use super::*;
    use crate::protocol::crowd::{Crowd, Outcome, Ticket};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    struct Shared {
        raw: RawRwLock<Ticket>,
        crowd: Crowd,
        data: UnsafeCell<usize>,
    }

    /// What one of them does, once.
    #[derive(Clone, Copy)]
    enum Does {
        Read,
        Write,
        WriteTwice,
        /// Keeps the lock for itself as soon as it may.
        WriteImpatiently,
        ReadOrGiveUp,
        WriteOrGiveUp,
        WriteThenRead,
    }

    impl Shared {
        fn lock(&self, who: usize, want: Want, gives_up: bool, impatient: bool) -> bool {
            let mut entry = Entry::First;
            loop {
                let free = entry == Entry::First
                    && match want {
                        Want::Read => self.raw.try_read(),
                        Want::Write => self.raw.try_write(),
                    };
                if free {
                    return true;
                }
                let mut node = None;
                let mut acquired = false;
                let outcome = self.crowd.park(who, gives_up, |waiter| {
                    let node = NonNull::from(node.insert(Node::new(Waiter { want, waiter })));
                    // SAFETY: the node leaves the queue below before it goes.
                    let joined = unsafe { self.raw.enter(node, want, entry) };
                    acquired = !joined;
                    joined
                });
                let node = node.as_ref().expect("published");
                if acquired {
                    return true;
                }
                if outcome == Outcome::GaveUp {
                    // SAFETY: the node is alive, and in this queue if in any.
                    unsafe { self.raw.leave(NonNull::from(node)) };
                    self.settle(true);
                    return false;
                }
                if node.is_granted() || self.raw.try_write_woken() {
                    return true;
                }
                assert_eq!(want, Want::Write, "readers are granted");
                if gives_up {
                    self.raw.abandon();
                    self.settle(true);
                    return false;
                }
                entry = Entry::Again { reserve: impatient };
            }
        }

        fn settle(&self, needed: bool) {
            if needed {
                self.raw.settle(|ticket| self.crowd.claim(ticket), |who| self.crowd.resume(who));
            }
        }

        fn read(&self) -> usize {
            // SAFETY: the model checks that no write overlaps.
            self.data.with(|data| unsafe { *data })
        }

        fn write(&self) {
            // SAFETY: the model checks that no other access overlaps.
            self.data.with_mut(|data| unsafe { *data += 1 });
        }

        /// How often it has written.
        fn run(&self, who: usize, does: Does) -> usize {
            let (want, gives_up, impatient) = match does {
                Does::Read => (Want::Read, false, false),
                Does::ReadOrGiveUp => (Want::Read, true, false),
                Does::WriteTwice => {
                    return self.run(who, Does::Write) + self.run(who, Does::Write);
                }
                Does::Write | Does::WriteThenRead => (Want::Write, false, false),
                Does::WriteImpatiently => (Want::Write, false, true),
                Does::WriteOrGiveUp => (Want::Write, true, false),
            };
            if !self.lock(who, want, gives_up, impatient) {
                return 0;
            }
            if want == Want::Read {
                self.read();
                self.settle(self.raw.unlock_read());
                return 0;
            }
            self.write();
            if let Does::WriteThenRead = does {
                let written = self.read();
                self.settle(self.raw.downgrade());
                assert_eq!(self.read(), written, "nobody wrote in between");
                self.settle(self.raw.unlock_read());
            } else {
                self.settle(self.raw.unlock_write());
            }
            1
        }
    }

    fn check(each: &'static [Does], preemptions: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let shared = Arc::new(Shared {
                raw: RawRwLock::new(),
                crowd: Crowd::new(each.len()),
                data: UnsafeCell::new(0),
            });
            let others: Vec<_> = (1..each.len())
                .map(|who| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || shared.run(who, each[who]))
                })
                .collect();
            let mut written = shared.run(0, each[0]);
            written += others.into_iter().map(|other| other.join().unwrap()).sum::<usize>();
            assert_eq!(shared.read(), written);
            assert_eq!(shared.raw.state.load(Ordering::Relaxed), 0, "nothing is left behind");
            assert!(!shared.raw.queue.has_waiters());
        });
    }

    use Does::*;

    #[test]
    fn writers_exclude_all_and_none_is_forgotten() {
        check(&[Write, Write, Read], 2);
        check(&[Read, Write, Read], 3);
    }

    #[test]
    fn a_writer_that_has_waited_long_is_handed_the_lock() {
        check(&[WriteImpatiently, Write, Write], 2);
        check(&[WriteImpatiently, Write, WriteImpatiently], 2);
        check(&[WriteImpatiently, Write, Read], 2);
    }

    #[test]
    fn who_gives_up_lets_those_behind_go_on() {
        check(&[Read, WriteOrGiveUp, Read], 3);
        check(&[WriteTwice, WriteOrGiveUp, Write], 2);
        check(&[WriteTwice, WriteOrGiveUp, Read], 2);
        check(&[Write, ReadOrGiveUp, Read], 3);
    }

    /// A writer that was woken finds the lock taken and gives up, while the lock is released by one
    /// who relies on it, and somebody else comes to wait.
    #[test]
    fn the_wake_of_who_gives_up_is_not_lost() {
        for comes in [Write, Read] {
            let mut model = loom::model::Builder::new();
            model.preemption_bound = Some(3);
            model.check(move || {
                let shared = Arc::new(Shared {
                    raw: RawRwLock::new(),
                    crowd: Crowd::new(1),
                    data: UnsafeCell::new(0),
                });
                assert!(shared.raw.try_write());
                shared.raw.state.fetch_or(WOKEN, Ordering::Relaxed);
                let woken = {
                    let shared = shared.clone();
                    loom::thread::spawn(move || {
                        if shared.raw.try_write_woken() {
                            shared.settle(shared.raw.unlock_write());
                        } else {
                            shared.raw.abandon();
                            shared.settle(true);
                        }
                    })
                };
                let other = {
                    let shared = shared.clone();
                    loom::thread::spawn(move || shared.run(0, comes))
                };
                shared.settle(shared.raw.unlock_write());
                woken.join().unwrap();
                other.join().unwrap();
                assert_eq!(shared.raw.state.load(Ordering::Relaxed), 0);
            });
        }
    }

    #[test]
    fn a_downgrade_lets_readers_in_but_no_writer() {
        check(&[WriteThenRead, Write, Read], 2);
    }
}
