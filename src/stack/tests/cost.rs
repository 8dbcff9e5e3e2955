//! What stacks cost in time: measurements, so they are run by hand. They fail when a figure is off
//! by an order of magnitude:
//! `cargo test --release stack::tests::cost -- --ignored --nocapture --test-threads=1`.

use std::hint::black_box;
use std::ptr;

use crate::stack::test_util::{descend, drain, fill, run, stacks, strategies, thread_time};
use crate::stack::{Cache, Class, GuardStrategy, Trim};

/// Nanoseconds that one of `count` takes, without those in which other threads had the processor.
fn each(count: usize, what: impl FnOnce()) -> f64 {
    let start = thread_time();
    what();
    (thread_time() - start).as_nanos() as f64 / count as f64
}

/// The same, of the best of twenty rounds: other load on the machine spoils a few, not all.
fn best(count: usize, mut what: impl FnMut()) -> f64 {
    (0..20).map(|_| each(count, &mut what)).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "a measurement: what else the machine does would decide it"]
fn a_hot_stack() {
    const COUNT: usize = if cfg!(debug_assertions) { 32_000 } else { 320_000 };
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks);
    let held = fill(&mut cache, Class::K256, 100);
    drain(&mut cache, held);
    let stack = best(COUNT, || {
        for _ in 0..COUNT {
            let stack = cache.take(black_box(Class::K256), ptr::null());
            cache.give(black_box(stack));
        }
    });
    let mut some = Vec::with_capacity(64);
    let by_64 = best(COUNT, || {
        for _ in 0..COUNT / 64 {
            some.extend((0..64).map(|_| cache.take(black_box(Class::K256), ptr::null())));
            some.drain(..).for_each(|stack| cache.give(stack));
        }
    });
    let credit = best(COUNT, || {
        for _ in 0..COUNT {
            cache.credit(black_box(Class::K256)).unwrap();
            cache.uncredit(black_box(Class::K256));
        }
    });
    println!("take and give {stack:.2} ns, by 64 {by_64:.2}; credit and uncredit {credit:.2} ns");
    assert!(stack + credit < 500.0);
}

#[test]
#[ignore = "a measurement: what else the machine does would decide it"]
fn many_stacks() {
    const COUNT: usize = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    for strategy in strategies() {
        let count = if strategy == GuardStrategy::Mprotect { 10_000 } else { COUNT };
        let stacks = stacks(strategy);
        let mut cache = Cache::new(stacks.clone());
        let credits = each(count, || stacks.credit(Class::K64, count).unwrap());
        let mut held = Vec::with_capacity(count);
        let take = |cache: &mut Cache| cache.take(Class::K64, ptr::null());
        let cold = each(count, || held.extend((0..count).map(|_| take(&mut cache))));
        let give = each(count, || held.drain(..).for_each(|stack| cache.give(stack)));
        let warm = each(count, || held.extend((0..count).map(|_| take(&mut cache))));
        let deep: Vec<_> = held.drain(..).map(|stack| run(stack, || descend(30 * 1024))).collect();
        let give_deep = each(count, || deep.into_iter().for_each(|stack| cache.give(stack)));
        stacks.uncredit(Class::K64, count);
        cache.settle();
        let mut longest = 0.0_f64;
        let trim = each(count, || {
            loop {
                let mut outcome = Trim::Settled;
                longest = longest.max(each(1, || outcome = stacks.trim()));
                if outcome == Trim::Settled {
                    break;
                }
            }
        });
        println!(
            "{strategy}: credit and carve {credits:.0} ns, take cold {cold:.0}, give {give:.0}, \
             take warm {warm:.0}, give deep {give_deep:.0}, trim {trim:.0} (longest step {:.1} ms)",
            longest / 1e6
        );
        assert!(warm < 5_000.0);
    }
}
