//! The channel's own code over plain threads: all interleavings of a few steps.

#![expect(unsafe_code, reason = "tickets point to what waits")]

use super::*;
use crate::protocol::park_word::{ParkWord, Seq};
use crate::protocol::signal::Signal;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use select::{Entry, Stopped, choose};

/// One who can wait.
pub(super) struct Waiting {
    word: ParkWord,
    pub(super) resumed: Signal,
    /// What its clock does: `true` fires as soon as it waits.
    impatient: bool,
}

/// A thread of a model, as a host of channels.
#[derive(Clone)]
pub(super) struct Thread(pub(super) Arc<Waiting>);

impl Thread {
    pub(super) fn new() -> Thread {
        Thread::with_clock(false)
    }

    /// Its deadline passes at any moment of its first wait.
    pub(super) fn impatient() -> Thread {
        Thread::with_clock(true)
    }

    /// Opens a wait of something that is polled.
    pub(super) fn begin(&self) -> Ticket {
        Ticket(NonNull::from(&*self.0), self.0.word.begin())
    }

    fn with_clock(impatient: bool) -> Thread {
        Thread(Arc::new(Waiting { word: ParkWord::new(), resumed: Signal::new(), impatient }))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Ticket(NonNull<Waiting>, Seq);

// SAFETY: what it points to is kept by an `Arc` of the model for longer than any wait.
unsafe impl Send for Ticket {}

pub(super) struct Claimed(NonNull<Waiting>);

impl Drop for Claimed {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { self.0.as_ref() }.resumed.notify();
    }
}

impl Host for Thread {
    type Ticket = Ticket;
    type Claimed = Claimed;

    unsafe fn claim(Ticket(waiting, seq): Ticket) -> Option<Claimed> {
        // SAFETY: the caller says that it waits.
        unsafe { waiting.as_ref() }.word.claim(seq).then_some(Claimed(waiting))
    }

    unsafe fn place(_: Ticket) -> Place {
        Place::Busy
    }

    fn somebody_idles() -> bool {
        false
    }

    fn park(
        &self,
        _deadline: Option<Instant>,
        patience: Patience,
        publish: impl FnOnce(Ticket) -> bool,
    ) -> Ended {
        let waiting = &*self.0;
        let seq = waiting.word.begin();
        let needless = !publish(Ticket(NonNull::from(waiting), seq)) && waiting.word.retract(seq);
        if needless {
            return Ended::Woken;
        }
        if waiting.impatient && patience == Patience::Cancellable && waiting.word.claim(seq) {
            return Ended::TimedOut;
        }
        waiting.resumed.wait();
        Ended::Woken
    }

    fn random() -> u64 {
        0
    }
}

pub(super) type Pair = (SenderHalf<u32, Thread>, ReceiverHalf<u32, Thread>);

/// Runs a model in all interleavings with that many preemptions at most.
pub(super) fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = runs.clone();
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    // A model that cannot go two ways shows nothing.
    let runs = runs.load(std::sync::atomic::Ordering::Relaxed);
    assert!(runs > 2, "{runs} interleavings");
}

pub(super) fn kinds() -> [fn() -> Pair; 3] {
    [|| new_bounded(0), || new_bounded(1), new_unbounded]
}

#[test]
fn two_messages_arrive_in_order() {
    for new in kinds() {
        check(5, move || {
            let (s, r) = new();
            let sender = loom::thread::spawn(move || {
                let host = Thread::new();
                assert_eq!(s.send(&host, 1, None), Ok(()));
                assert_eq!(s.send(&host, 2, None), Ok(()));
            });
            let host = Thread::new();
            assert_eq!(r.receive(&host, None), Ok(1));
            assert_eq!(r.receive(&host, None), Ok(2));
            assert_eq!(r.receive(&host, None), Err(ReceiveStop::Disconnected));
            sender.join().unwrap();
        });
    }
}

#[test]
fn two_receivers_share_what_is_sent() {
    for new in kinds() {
        check(4, move || {
            let (s, r) = new();
            let q = r.clone();
            let sender = loom::thread::spawn(move || {
                let host = Thread::new();
                assert_eq!(s.send(&host, 1, None), Ok(()));
                assert_eq!(s.send(&host, 2, None), Ok(()));
            });
            let other = loom::thread::spawn(move || q.receive(&Thread::new(), None).unwrap());
            let mine = r.receive(&Thread::new(), None).unwrap();
            assert_eq!(mine + other.join().unwrap(), 3);
            sender.join().unwrap();
        });
    }
}

/// A receiver's clock against a sender: the message is received, or comes back, or stays.
#[test]
fn a_timeout_against_a_wake() {
    for new in kinds() {
        check(5, move || {
            let (s, r) = new();
            let sender = loom::thread::spawn(move || {
                let sent = s.send(&Thread::impatient(), 1, None);
                (sent, s)
            });
            let received = r.receive(&Thread::impatient(), None);
            let (sent, s) = sender.join().unwrap();
            match (sent, received) {
                (Ok(()), Ok(1)) => assert_eq!(s.channel().len(), 0),
                (Ok(()), Err(ReceiveStop::Timeout)) => assert_eq!(s.channel().len(), 1),
                (Err(SendStop::Timeout(1)), Err(ReceiveStop::Timeout)) => {}
                other => panic!("{other:?}"),
            }
        });
    }
}

/// A wake that goes to one who has timed out meanwhile reaches the other one.
#[test]
fn a_timeout_takes_no_wake_along() {
    for new in kinds() {
        check(4, move || {
            let (s, r) = new();
            let q = r.clone();
            let quitter = loom::thread::spawn(move || q.receive(&Thread::impatient(), None));
            let patient = loom::thread::spawn(move || r.receive(&Thread::new(), None));
            assert_eq!(s.send(&Thread::new(), 1, None), Ok(()));
            drop(s);
            let outcomes = (quitter.join().unwrap(), patient.join().unwrap());
            assert!(outcomes.0.is_ok() != outcomes.1.is_ok(), "{outcomes:?}");
            assert_ne!(outcomes.1, Err(ReceiveStop::Timeout));
        });
    }
}

/// Handles go while the other side waits.
#[test]
fn a_drop_against_a_wait() {
    for new in kinds() {
        check(5, move || {
            let (s, r) = new();
            let receiver = loom::thread::spawn(move || r.receive(&Thread::new(), None));
            drop(s.clone());
            drop(s);
            assert_eq!(receiver.join().unwrap(), Err(ReceiveStop::Disconnected));
        });
    }
    check(5, || {
        let (s, r) = new_bounded::<_, Thread>(0);
        let sender = loom::thread::spawn(move || s.send(&Thread::new(), 1, None));
        drop(r);
        assert_eq!(sender.join().unwrap(), Err(SendStop::Disconnected(1)));
    });
}

/// One case of a select.
pub(super) struct One<'a>(pub(super) &'a dyn Case<Thread>);

impl Entry<Thread> for One<'_> {
    fn case(&self) -> &dyn Case<Thread> {
        self.0
    }
}

pub(super) fn select(
    host: &Thread,
    cases: &[One<'_>],
    limit: Limit,
) -> Option<(usize, Token<Thread>)> {
    choose(host, cases, limit).unwrap_or_else(|Stopped| unreachable!("nobody cancels"))
}

/// A select that receives from two channels, of which one gets a message.
#[test]
fn a_select_against_a_sender() {
    for new in kinds() {
        check(4, move || {
            let (s, r) = new();
            let (_quiet, q) = new();
            let sender = loom::thread::spawn(move || s.send(&Thread::new(), 1, None));
            let host = Thread::new();
            let (place, token) = select(&host, &[One(&q), One(&r)], Limit::Never).unwrap();
            assert_eq!((place, r.complete(&host, token)), (1, Ok(1)));
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
    }
}

/// A select that sends, and a receiver that meets it: the message comes after the choice.
#[test]
fn a_select_that_sends_against_a_receiver() {
    for new in kinds() {
        check(4, move || {
            let (s, r) = new();
            let (_quiet, q) = new();
            let receiver = loom::thread::spawn(move || r.receive(&Thread::new(), None));
            let host = Thread::new();
            let (place, token) = select(&host, &[One(&q), One(&s)], Limit::Never).unwrap();
            assert_eq!((place, s.complete(token, 1)), (1, Ok(())));
            assert_eq!(receiver.join().unwrap(), Ok(1));
        });
    }
}

/// A select whose time runs out: it was chosen and completes, or the message is still there.
#[test]
fn a_selects_deadline_against_a_sender() {
    for new in kinds() {
        check(4, move || {
            let (s, r) = new();
            let (_quiet, q) = new();
            let sender = loom::thread::spawn(move || {
                let sent = s.send(&Thread::impatient(), 1, None);
                (sent, s)
            });
            let host = Thread::impatient();
            let limit = Limit::At(Instant::now());
            let received = select(&host, &[One(&r), One(&q)], limit)
                .map(|(_, token)| r.complete(&host, token).unwrap());
            let (sent, s) = sender.join().unwrap();
            match (sent, received) {
                (Ok(()), Some(1)) => assert_eq!(s.channel().len(), 0),
                (Ok(()), None) => assert_eq!(r.try_receive(&host), Ok(1)),
                (Err(SendStop::Timeout(1)), None) => {}
                other => panic!("{other:?}"),
            }
        });
    }
}

/// A message comes to one channel before the one of the other leaves: who looks and does not wait finds
/// one of them.
#[test]
fn a_select_that_does_not_wait_looks_at_one_moment() {
    let [_, buffered @ ..] = kinds();
    for new in buffered {
        check(4, move || {
            let ((s1, r1), (s2, r2)) = (new(), new());
            let host = Thread::new();
            s1.send(&host, 1, None).unwrap();
            let theirs = r1.clone();
            let mover = loom::thread::spawn(move || {
                let host = Thread::new();
                s2.send(&host, 2, None).unwrap();
                drop(theirs.try_receive(&host));
                s2
            });
            let found = select(&host, &[One(&r2), One(&r1)], Limit::Now);
            let received = match found.expect("there is always one") {
                (0, token) => r2.complete(&host, token),
                (_, token) => r1.complete(&host, token),
            };
            assert!(received.is_ok());
            drop(mover.join().unwrap());
        });
    }
}

/// Two selects that face each other over two rendezvous find each other, and no third.
#[test]
fn two_selects_that_face_each_other() {
    check(4, || {
        let (s1, r1) = new_bounded::<u32, Thread>(0);
        let (s2, r2) = new_bounded::<u32, Thread>(0);
        let (t1, q2) = (s1.clone(), r2.clone());
        let sum = Arc::new(AtomicUsize::new(0));
        let theirs = sum.clone();
        // One sends there or receives here, the other one the other way round.
        let exchange = |host: &Thread,
                        s: &SenderHalf<u32, Thread>,
                        r: &ReceiverHalf<u32, Thread>,
                        sum: &AtomicUsize| {
            let (place, token) = select(host, &[One(s), One(r)], Limit::Never).unwrap();
            if place == 0 {
                assert_eq!(s.complete(token, 1), Ok(()));
            } else {
                let received = r.complete(host, token).unwrap();
                sum.fetch_add(received as usize, Ordering::Relaxed);
            }
            place
        };
        let other = loom::thread::spawn(move || exchange(&Thread::new(), &t1, &q2, &theirs));
        let mine = exchange(&Thread::new(), &s2, &r1, &sum);
        assert_ne!(mine, other.join().unwrap(), "one sends and one receives");
        assert_eq!(sum.load(Ordering::Relaxed), 1);
    });
}

/// A select gives up what it was chosen for: whom it met goes on with another.
#[test]
fn what_a_select_gives_up_is_there_for_others() {
    for new in kinds() {
        check(4, move || {
            let (s, r) = new();
            let (_quiet, q) = new();
            let sender = loom::thread::spawn(move || s.send(&Thread::new(), 1, None));
            let host = Thread::new();
            let (place, token) = select(&host, &[One(&r), One(&q)], Limit::Never).unwrap();
            assert_eq!(place, 0);
            r.abandon(token);
            assert_eq!(r.receive(&host, None), Ok(1));
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
    }
}

/// And one who waits already is woken for it.
#[test]
fn what_a_select_gives_up_wakes_who_waits() {
    for new in kinds() {
        check(3, move || {
            let (s, r) = new();
            let (_kept, theirs) = (s.clone(), r.clone());
            let sender = loom::thread::spawn(move || s.send(&Thread::new(), 1, None));
            let receiver = loom::thread::spawn(move || theirs.receive(&Thread::new(), None));
            let limit = Limit::At(Instant::now());
            if let Some((_, token)) = select(&Thread::impatient(), &[One(&r)], limit) {
                r.abandon(token);
            }
            assert_eq!(receiver.join().unwrap(), Ok(1));
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
    }
}

/// Room that was promised and is given up wakes who waits for room.
#[test]
fn room_that_a_select_gives_up_wakes_who_waits() {
    check(4, || {
        let (s, r) = new_bounded::<u32, Thread>(1);
        let theirs = s.clone();
        let sender = loom::thread::spawn(move || theirs.send(&Thread::new(), 2, None));
        if let Some((_, token)) = select(&Thread::new(), &[One(&s)], Limit::Now) {
            s.abandon(token);
        }
        assert_eq!(sender.join().unwrap(), Ok(()));
        assert_eq!(r.try_receive(&Thread::new()), Ok(2));
    });
}

/// What a select was promised, message or room, nobody else gets.
#[test]
fn a_promise_is_kept() {
    check(4, || {
        let (s, r) = new_bounded::<u32, Thread>(1);
        assert_eq!(s.try_send(1), Ok(()));
        let theirs = r.clone();
        let other = loom::thread::spawn(move || theirs.try_receive(&Thread::new()));
        let host = Thread::new();
        let mine = select(&host, &[One(&r)], Limit::Now).map(|(_, token)| r.complete(&host, token));
        let theirs = other.join().unwrap();
        assert_eq!((mine == Some(Ok(1)), theirs == Ok(1)), (mine.is_some(), mine.is_none()));
    });
    check(4, || {
        let (s, r) = new_bounded::<u32, Thread>(1);
        let theirs = s.clone();
        let other = loom::thread::spawn(move || theirs.try_send(2).is_ok());
        let mine = select(&Thread::new(), &[One(&s)], Limit::Now)
            .map(|(_, token)| s.complete(token, 1).is_ok());
        assert_eq!(other.join().unwrap(), mine.is_none());
        assert_eq!(r.channel().len(), 1);
    });
}

/// A message that a select has taken leaves room for who waits for it.
#[test]
fn a_message_that_a_select_takes_leaves_room() {
    check(4, || {
        let (s, r) = new_bounded::<u32, Thread>(1);
        assert_eq!(s.try_send(1), Ok(()));
        let theirs = s.clone();
        let sender = loom::thread::spawn(move || theirs.send(&Thread::new(), 2, None));
        let host = Thread::new();
        let (_, token) = select(&host, &[One(&r)], Limit::Now).unwrap();
        assert_eq!(r.complete(&host, token), Ok(1));
        assert_eq!(sender.join().unwrap(), Ok(()));
        assert_eq!(r.receive(&host, None), Ok(2));
    });
}

/// The same for a select that sends: its receiver waits on.
#[test]
fn a_select_that_gives_up_sending_leaves_its_receiver_waiting() {
    check(4, || {
        let (s, r) = new_bounded::<u32, Thread>(0);
        let receiver = loom::thread::spawn(move || r.receive(&Thread::new(), None));
        let host = Thread::new();
        let (_, token) = select(&host, &[One(&s)], Limit::Never).unwrap();
        s.abandon(token);
        assert_eq!(s.send(&host, 2, None), Ok(()));
        assert_eq!(receiver.join().unwrap(), Ok(2));
    });
}

/// Who watches is told, and takes nothing.
#[test]
fn a_watcher_against_a_sender() {
    for new in kinds() {
        check(4, move || {
            let (s, r) = new();
            // Else its disconnection would tell as well.
            let _kept = s.clone();
            let sender = loom::thread::spawn(move || s.send(&Thread::new(), 1, None));
            let host = Thread::new();
            assert_eq!(select::ready(&host, &[One(&r)], Limit::Never).unwrap(), Some(0));
            assert_eq!(r.try_receive(&host), Ok(1));
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
    }
}
