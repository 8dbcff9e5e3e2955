//! `Barrier`.

use crate::support::{Count, both, runtime, start, until};
use pirn::sync::{Arc, Barrier};

#[test]
fn all_come_before_one_goes_on_and_one_leads() {
    both(|| {
        for thread in [false, true] {
            const ROUNDS: usize = 20;
            const SIZE: usize = 8;
            let shared = Arc::new((Barrier::new(SIZE), Count::default(), Count::default()));
            let members: Vec<_> = (0..SIZE)
                .map(|_| {
                    let shared = shared.clone();
                    start(thread, move || {
                        for round in 1..=ROUNDS {
                            shared.1.add();
                            if shared.0.wait().is_leader() {
                                shared.2.add();
                            }
                            assert!(shared.1.get() >= round * SIZE);
                        }
                    })
                })
                .collect();
            members.into_iter().for_each(|join| join());
            assert_eq!((shared.1.get(), shared.2.get()), (ROUNDS * SIZE, ROUNDS));
        }
    });
}

#[test]
fn a_barrier_for_one_or_none_is_always_open() {
    for size in [0, 1] {
        let barrier = Barrier::new(size);
        assert!(barrier.wait().is_leader() && barrier.wait().is_leader());
    }
}

/// One that is cancelled was not there: it takes another one to open the barrier.
#[test]
fn who_was_cancelled_was_not_there() {
    let shared = Arc::new((Barrier::new(3), Count::default()));
    let doomed = runtime(2);
    for _ in 0..2 {
        let shared = shared.clone();
        doomed.spawn(move || {
            shared.1.add();
            shared.0.wait();
        });
    }
    until(|| shared.1.get() == 2);
    drop(doomed);
    let others: Vec<_> = (0..2)
        .map(|_| {
            let shared = shared.clone();
            pirn::spawn(move || {
                shared.1.add();
                shared.0.wait().is_leader()
            })
        })
        .collect();
    until(|| shared.1.get() == 4);
    assert!(others.iter().all(|other| !other.is_finished()));
    let mut leaders = usize::from(shared.0.wait().is_leader());
    leaders += others.into_iter().map(|one| usize::from(one.join().unwrap())).sum::<usize>();
    assert_eq!(leaders, 1);
}
