//! Stacks are what they claim to be, and come round again.

use std::collections::HashSet;
use std::ptr;
use std::sync::Barrier;

use crate::stack::class::GUARD;
use crate::stack::test_util::{descend, drain, fill, run, stacks, start, strategies};
use crate::stack::{AltStack, Cache, Class, Stack, Stacks};

#[test]
fn who_may_go_where() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Stacks>();
    sync::<Stacks>();
    send::<Cache>();
    send::<Stack>();
    assert_eq!(size_of::<Stack>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Stack>>(), size_of::<usize>());
    // `Cache` is not `Sync`, and `AltStack` not `Send`: see their `PhantomData`.
    let _ = AltStack::install().unwrap();
}

#[test]
fn all_of_every_size_can_be_used() {
    // For the frames around the descent, which AddressSanitizer surrounds with red zones.
    const FRAMES: usize = if cfg!(feature = "sanitizer") { 8192 } else { 4096 };
    for strategy in strategies() {
        let stacks = stacks(strategy);
        let mut cache = Cache::new(stacks.clone());
        for class in Class::ALL {
            let held = fill(&mut cache, class, 3);
            let mut addresses = HashSet::new();
            let mut back = Vec::new();
            for stack in held {
                assert_eq!(stack.class(), class);
                assert!(addresses.insert(stack.base()));
                assert!(stack.base().get().is_multiple_of(64));
                let room = stack.base().get() - stack.limit().get() - GUARD;
                assert!(room >= class.usable() && room < class.size());
                back.push(run(stack, move || descend(class.usable() - FRAMES)));
            }
            drain(&mut cache, back);
        }
    }
}

#[test]
fn the_last_one_given_is_the_next_one_taken() {
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks);
    let mut held = fill(&mut cache, Class::K64, 3);
    let (second, first) = (held.pop().unwrap(), held.pop().unwrap());
    let (second_base, first_base) = (second.base(), first.base());
    cache.give(first);
    cache.give(second);
    held.push(cache.take(Class::K64, ptr::null()));
    assert_eq!(held[1].base(), second_base);
    held.push(cache.take(Class::K64, ptr::null()));
    assert_eq!(held[2].base(), first_base);
    drain(&mut cache, held);
}

#[test]
fn a_credit_is_good_in_any_cache() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 2_000;
    for strategy in strategies() {
        let stacks = stacks(strategy);
        let barrier = Barrier::new(THREADS);
        let (sender, receiver) = std::sync::mpsc::channel::<Stack>();
        let receiver = std::sync::Mutex::new(receiver);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (stacks, barrier, receiver) = (&stacks, &barrier, &receiver);
                let sender = sender.clone();
                scope.spawn(move || {
                    let mut cache = Cache::new(stacks.clone());
                    barrier.wait();
                    for round in 0..ROUNDS {
                        stacks.credit(Class::K64, 1).unwrap();
                        let stack = cache.take(Class::K64, ptr::from_ref(barrier).cast());
                        // Half of them go back where they do not come from.
                        if (round + thread) % 2 == 0 {
                            sender.send(stack).unwrap();
                            let other = receiver.lock().unwrap().recv().unwrap();
                            cache.give(other);
                        } else {
                            cache.give(stack);
                        }
                        stacks.uncredit(Class::K64, 1);
                        if round % 64 == 0 {
                            let _ = stacks.trim();
                        }
                        if round % 200 == 0 {
                            cache.settle();
                        }
                    }
                });
            }
        });
        let stats = stacks.stats().class(Class::K64);
        assert_eq!((stats.credited, stats.reserved, stats.out), (0, 0, 0), "{stats:?}");
    }
}

#[test]
fn credits_are_kept_in_batches() {
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks.clone());
    let batch = Class::K256.batch();
    let credited = || stacks.stats().class(Class::K256).credited;
    cache.credit(Class::K256).unwrap();
    assert_eq!(credited(), batch);
    stacks.credit(Class::K256, 5 * batch).unwrap();
    for _ in 0..5 * batch + 1 {
        cache.uncredit(Class::K256);
        assert!(credited() >= batch);
    }
    assert!(credited() <= 2 * batch, "a reserve of at most two batches: {}", credited());
    drop(cache);
    assert_eq!(credited(), 0);
}

#[test]
fn a_stack_that_is_lost_keeps_its_slab() {
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks.clone());
    let stack = fill(&mut cache, Class::K64, 1).pop().unwrap();
    let (mut coroutine, _) = start(stack, |yielder| {
        let value = std::hint::black_box(7);
        yielder.suspend(());
        assert_eq!(value, 7);
    });
    drop(cache);
    drop(stacks);
    coroutine.resume(());
    std::mem::forget(coroutine.into_stack().0);
}
