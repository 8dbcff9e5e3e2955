//! `select!` and `select_biased!`: the grammar, and what bodies may do.

#![forbid(unsafe_code)]

use crate::support::{everywhere, ms};
use pirn::channel::{
    Receiver, RecvError, SendError, Sender, after, bounded, never, select, select_biased, unbounded,
};
use std::cell::Cell;

#[test]
fn the_whole_grammar() {
    everywhere(|_| {
        let (s, r) = bounded(1);
        let none = never::<String>();
        // A block without a comma, an expression with one, results by pattern.
        select! {
            recv(none) -> _ => { unreachable!() }
            recv(&none) -> (Ok(_) | Err(_)) => unreachable!(),
            send(s, 1) -> (Ok(()) | Err(SendError(_))) => {}
        }
        select!(recv(r) -> message => assert_eq!(message, Ok(1)));
        select!(recv(r,) -> _ => unreachable!(), default => ());
        select!(recv(r) -> _ => unreachable!(), default() => {});
        select!(default => {}, recv(r) -> _ => unreachable!());
        select! { default(ms(1)) => {} recv(none) -> _ => unreachable!(), }
        select! { default(ms(1),) => {} }
        select! { default => {} }
        let value = select! {
            send(&s, 2,) -> sent => sent.map(|()| 10).unwrap(),
            recv(none) -> message => message.map(|text| text.len()).unwrap_or(0),
            default => { 0 },
        };
        assert_eq!(value, 10);
        let value: i32 = select! {
            recv(r) -> message => { message }.unwrap_or(0) + 1,
            recv(none) -> _ => if r.is_empty() { 3 } else { 4 },
        };
        assert_eq!(value, 3);
        let full = pirn::channel::select! {
            send(s, 3) -> _ => "sent",
            recv(none) -> _ => "got",
        };
        assert_eq!(full, "sent");
    });
}

#[test]
fn one_receive_is_taken_straight() {
    let (s, r) = unbounded();
    s.send(1).unwrap();
    select! { recv(r) -> message => assert_eq!(message, Ok(1)) }
    select! { recv(r) -> _ => unreachable!(), default => {} }
    select! { recv(r) -> _ => unreachable!(), default(ms(1)) => {} }
    drop(s);
    select! { recv(r) -> message => assert_eq!(message, Err(RecvError)), default => unreachable!() }
    select! {
        recv(r) -> message => assert_eq!(message, Err(RecvError)),
        default(ms(1)) => unreachable!(),
    }
}

#[test]
fn biased_takes_the_first() {
    let (s, r) = unbounded();
    let (t, q) = unbounded();
    for n in 0..50 {
        s.send(n).unwrap();
        t.send(n).unwrap();
        let got = select_biased! {
            recv(q) -> message => ("q", message),
            recv(r) -> message => ("r", message),
        };
        assert_eq!(got, ("q", Ok(n)));
    }
    assert_eq!((r.len(), q.len()), (50, 0));
}

#[test]
fn bodies_may_change_what_was_selected_from() {
    let (s, mut r) = unbounded();
    let (_t, q) = unbounded::<u32>();
    let mut sender = Some(s);
    let mut count = 0;
    loop {
        select! {
            recv(r) -> message => match message {
                Ok(()) => count += 1,
                Err(RecvError) => r = never(),
            },
            recv(q) -> _ => unreachable!(),
            default => match sender.take() {
                Some(s) => s.send(()).unwrap(),
                None => break,
            }
        }
    }
    assert_eq!(count, 1);
    let (s, r) = bounded::<Box<u32>>(1);
    let message = Box::new(1);
    // Only the chosen case evaluates its message, and bodies may move what others refer to.
    select! {
        send(s, message) -> _ => drop((s, q)),
        recv(r) -> _ => drop(s),
        recv(q) -> _ => drop(r),
    }
}

#[test]
fn handles_are_evaluated_once_and_messages_when_they_are_chosen() {
    let (s, r) = bounded(1);
    let (receivers, senders, messages) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<u32>| cell.set(cell.get() + 1);
    for _ in 0..10 {
        select! {
            recv({ count(&receivers); &r }) -> _ => {}
            send({ count(&senders); &s }, count(&messages)) -> _ => {}
        }
    }
    assert_eq!((receivers.get(), senders.get()), (10, 10));
    assert_eq!(messages.get(), 5, "room and message take turns");
}

#[test]
fn control_flow_leaves_from_bodies() {
    fn first(r: &Receiver<u32>, q: &Receiver<u32>) -> Result<u32, RecvError> {
        loop {
            let got = select! {
                recv(r) -> message => message?,
                recv(q) -> message => return message,
                default => break,
            };
            if got == 0 {
                continue;
            }
            return Ok(got);
        }
        Ok(99)
    }
    let (s, r) = unbounded();
    let (t, q) = unbounded();
    assert_eq!(first(&r, &q), Ok(99));
    s.send(0).unwrap();
    s.send(4).unwrap();
    assert_eq!(first(&r, &q), Ok(4));
    t.send(5).unwrap();
    assert_eq!(first(&r, &q), Ok(5));
    drop(s);
    assert_eq!(first(&r, &q), Err(RecvError));
}

#[test]
fn temporaries_live_as_long_as_the_select() {
    everywhere(|_| {
        let receivers: [Receiver<u32>; 0] = [];
        select! {
            recv(receivers.first().unwrap_or(&never())) -> _ => unreachable!(),
            recv(after(ms(1))) -> when => assert!(when.is_ok()),
        }
    });
}

#[test]
fn thirty_two_operations() {
    fn all(s: &Sender<u32>, r: &Receiver<u32>) -> u32 {
        macro_rules! many {
            ($($n:literal)*) => {
                select! { $(recv(r) -> message => message.unwrap() + $n,)* send(s, 0) -> _ => 1000 }
            };
        }
        many!(0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0)
    }
    let (s, r) = bounded(0);
    let (t, q) = (s.clone(), r.clone());
    let peer = pirn::spawn(move || all(&t, &q));
    let mine = all(&s, &r);
    assert_eq!(mine + peer.join().unwrap(), 1000);
}

#[test]
fn selects_nest() {
    let (s, r) = unbounded();
    let (t, q) = unbounded();
    s.send(1).unwrap();
    t.send(2).unwrap();
    let sum = select_biased! {
        recv(r) -> outer => select! {
            recv(q) -> inner => outer.unwrap() + inner.unwrap(),
            recv(r) -> _ => unreachable!(),
        },
        default => 0,
    };
    assert_eq!(sum, 3);
}
