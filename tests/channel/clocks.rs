//! `after`, `at`, `tick` and `never`.

use crate::support::{everywhere, ms};
use pirn::channel::{
    Receiver, RecvTimeoutError, Select, TryRecvError, after, at, never, select, tick, unbounded,
};
use std::time::{Duration, Instant};

#[test]
fn after_delivers_its_instant_once() {
    everywhere(|_| {
        // What there is before the time is looked at where that does not come.
        let r = after(ms(3_600_000));
        assert_eq!((r.len(), r.is_empty(), r.is_full(), r.capacity()), (0, true, false, Some(1)));
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        let start = Instant::now();
        let r = after(ms(5));
        let when = r.recv().unwrap();
        assert!(when >= start + ms(5) && Instant::now() >= when);
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(r.recv_timeout(ms(1)), Err(RecvTimeoutError::Timeout));
        assert!(r.is_empty() && !r.is_full());
    });
}

#[test]
fn one_of_many_receives_it() {
    everywhere(|place| {
        let r = at(Instant::now() + ms(3));
        let receivers: Vec<_> = (0..8)
            .map(|_| {
                let r = r.clone();
                place.go(move || r.recv_timeout(ms(30)).is_ok())
            })
            .collect();
        let received = receivers.into_iter().filter_map(|one| one.join().then_some(())).count();
        assert_eq!(received, 1);
    });
}

#[test]
fn a_past_instant_is_there_at_once() {
    let when = Instant::now();
    let r = at(when);
    assert_eq!((r.len(), r.is_full()), (1, true));
    assert_eq!(r.try_recv(), Ok(when));
}

#[test]
fn tick_keeps_one_and_counts_from_when_it_is_received() {
    everywhere(|_| {
        let start = Instant::now();
        let r = tick(ms(4));
        // Unless this thread had to stand back for that long.
        let early = r.try_recv();
        assert!(early.is_err() || start.elapsed() >= ms(4));
        let first = early.or_else(|_| r.recv()).unwrap();
        let received = Instant::now();
        assert!(first >= start + ms(4));
        pirn::thread::sleep(ms(20));
        assert_eq!(r.len(), 1);
        let asked = Instant::now();
        let second = r.recv().unwrap();
        assert!(second <= received + ms(4), "the second had been there for long");
        let third = r.recv().unwrap();
        assert!(third >= asked + ms(4), "the third is counted from the second's receipt");
    });
}

#[test]
fn who_waits_for_ticks_keeps_the_beat() {
    let r = tick(ms(10));
    let mut due = r.recv().unwrap();
    let mut on_the_beat = 0;
    for _ in 0..20 {
        let next = r.recv().unwrap();
        assert!(next >= due + ms(10) && Instant::now() >= next);
        // Unless this thread had to stand back for a whole period.
        on_the_beat += usize::from(next == due + ms(10));
        due = next;
    }
    assert!(on_the_beat > 0, "each was counted from the receipt of the one before");
    // Two who wait get a tick each.
    let both = [r.clone(), r].map(|r| std::thread::spawn(move || r.recv().unwrap()));
    let [one, other] = both.map(|thread| thread.join().unwrap());
    assert_ne!(one, other);
}

#[test]
fn a_tick_comes_within_its_deadline_or_not_at_all() {
    let start = Instant::now();
    let r = tick(ms(50));
    let early = r.recv_timeout(ms(1));
    // Unless this thread had to stand back for that long.
    assert!(early == Err(RecvTimeoutError::Timeout) || start.elapsed() >= ms(50));
    assert!(r.recv_deadline(start + ms(3_600_000)).is_ok());
}

/// As crossbeam-channel has it: by the tick and the deadline, whatever the time is.
#[test]
fn a_tick_after_the_deadline_is_no_tick_for_whoever_comes_late() {
    everywhere(|_| {
        let start = Instant::now();
        let r = tick(ms(2));
        while r.is_empty() {
            pirn::thread::yield_now();
        }
        assert_eq!(r.recv_deadline(start), Err(RecvTimeoutError::Timeout));
        assert!(r.recv_deadline(Instant::now()).unwrap() >= start + ms(2));
    });
}

#[test]
fn the_longest_durations_are_never() {
    for r in [after(Duration::MAX), tick(Duration::MAX), never()] {
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(r.recv_timeout(ms(1)), Err(RecvTimeoutError::Timeout));
        assert_eq!((r.len(), r.capacity()), (0, Some(0)));
        assert!(r.is_empty() && r.is_full());
    }
    static NEVER: Receiver<String> = never();
    assert!(NEVER.same_channel(&never()));
}

#[test]
fn a_select_waits_no_longer_than_for_its_clocks() {
    everywhere(|_| {
        let (_s, r) = unbounded::<u32>();
        let start = Instant::now();
        let (short, long) = (after(ms(4)), after(ms(3_600_000)));
        select! {
            recv(r) -> _ => unreachable!(),
            recv(long) -> _ => unreachable!(),
            recv(short) -> when => assert!(when.unwrap() >= start + ms(4)),
        }
        let ticker = tick(ms(2));
        let mut select = Select::new();
        select.recv(&r);
        let ticks = select.recv(&ticker);
        for _ in 0..3 {
            let chosen = select.select();
            assert_eq!(chosen.index(), ticks);
            chosen.recv(&ticker).unwrap();
        }
        assert_eq!(select.ready_timeout(ms(3_600_000)), Ok(ticks));
        assert!(start.elapsed() < ms(1_800_000));
    });
}

#[test]
fn clones_are_the_same_channel() {
    let (a, t) = (after(ms(1)), tick(ms(1)));
    assert!(a.same_channel(&a.clone()) && t.same_channel(&t.clone()));
    assert!(!a.same_channel(&t) && !a.same_channel(&after(ms(1))));
}
