//! What stacks cost in memory, and what comes back. For figures:
//! `PIRN_STACK_TEST_CHILD= cargo test --release --lib one_page -- --nocapture`.

use crate::stack::class::{GUARD, WARM};
use crate::stack::registry;
use crate::stack::sys::page_size;
use crate::stack::test_util::{
    child_variant, descend, drain, fill, passes_in_child, resident_bytes, run, stacks, start,
    status_kib, strategies,
};
use crate::stack::{Cache, Class, GuardStrategy, Stacks, Trim};

/// Trims until there is nothing to do, as a background thread would in time.
fn trim(stacks: &Stacks) -> usize {
    let mut steps = 0;
    while stacks.trim() != Trim::Settled {
        steps += 1;
        assert!(steps < 100_000, "it comes to an end");
    }
    steps
}

/// Memory of the process, and what of it is page tables, in KiB.
fn footprint() -> (usize, usize) {
    (status_kib("VmRSS"), status_kib("VmPTE"))
}

#[test]
fn a_parked_coroutine_touches_one_page() {
    const COUNT: usize = 100_000;
    if child_variant().is_some() {
        let stacks = stacks(strategies()[0]);
        let mut cache = Cache::new(stacks.clone());
        let mut parked = Vec::with_capacity(COUNT);
        let (memory, tables) = footprint();
        for _ in 0..COUNT {
            cache.credit(Class::K64).unwrap();
            let stack = cache.take(Class::K64, std::ptr::null());
            parked.push(start(stack, |yielder| yielder.suspend(())).0);
        }
        let handles = parked.capacity() * size_of_val(&parked[0]) / 1024;
        let (memory, tables) =
            (status_kib("VmRSS") - memory - handles, status_kib("VmPTE") - tables);
        let each = (memory + tables) as f64 / COUNT as f64;
        eprintln!(
            "{each:.3} KiB each, {:.0} B of them page tables",
            tables as f64 * 1024.0 / COUNT as f64
        );
        let page = page_size() as f64 / 1024.0;
        assert!(each <= page + 0.4, "{each} KiB");
        for mut coroutine in parked {
            coroutine.resume(());
            cache.give(coroutine.into_stack().0);
            cache.uncredit(Class::K64);
        }
        cache.settle();
        trim(&stacks);
        let (memory, tables) = (status_kib("VmRSS"), status_kib("VmPTE"));
        eprintln!("afterwards {memory} KiB, and {tables} KiB of page tables");
        return;
    }
    if strategies()[0] != GuardStrategy::Mprotect {
        passes_in_child("memory::a_parked_coroutine_touches_one_page", "");
    }
}

#[test]
fn a_burst_comes_back_to_the_system_with_its_page_tables() {
    const COUNT: usize = 20_000;
    if let Some(variant) = child_variant() {
        let stacks = stacks(GuardStrategy::named(&variant).unwrap());
        let mut cache = Cache::new(stacks.clone());
        let warm_up = fill(&mut cache, Class::K64, 1);
        drain(&mut cache, warm_up);
        let mut held = Vec::with_capacity(COUNT);
        let (memory, tables) = footprint();
        held.extend(fill(&mut cache, Class::K64, COUNT));
        assert!(status_kib("VmRSS") > memory + 4 * COUNT);
        drain(&mut cache, held);
        cache.settle();
        let settled = trim(&stacks);
        assert!(settled > 2);
        let after = stacks.stats().class(Class::K64);
        assert!(after.carved <= 1024 && after.warm <= 256, "{after:?}");
        assert!(status_kib("VmRSS") < memory + 4 * 1024, "{} KiB", status_kib("VmRSS"));
        assert!(status_kib("VmPTE") < tables + 1024, "{} KiB", status_kib("VmPTE"));
        assert_eq!(trim(&stacks), 0, "nothing to do is noticed");
        // It all works again.
        let again = fill(&mut cache, Class::K64, COUNT);
        drain(&mut cache, again);
        return;
    }
    for strategy in strategies() {
        let name = "memory::a_burst_comes_back_to_the_system_with_its_page_tables";
        passes_in_child(name, &strategy.to_string());
    }
}

#[test]
fn guards_in_page_tables_take_no_map_entries() {
    if let Some(variant) = child_variant() {
        let entries = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let stacks = stacks(GuardStrategy::named(&variant).unwrap());
        let mut cache = Cache::new(stacks.clone());
        let before = entries();
        let held = fill(&mut cache, Class::K64, 20_000);
        let slabs = stacks.stats().class(Class::K64).slabs;
        assert!(slabs < 20);
        // One for what is carved, one for what is not; and the allocator may have added some.
        assert!(entries() <= before + 2 * slabs + 8, "{} entries", entries() - before);
        drain(&mut cache, held);
        let _ = stacks.trim();
        assert!(entries() <= before + 2 * slabs + 8, "{} entries", entries() - before);
        return;
    }
    for strategy in strategies() {
        if strategy != GuardStrategy::Mprotect {
            let name = "memory::guards_in_page_tables_take_no_map_entries";
            passes_in_child(name, &strategy.to_string());
        }
    }
}

#[test]
fn what_is_needed_between_looks_is_kept() {
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks.clone());
    for _ in 0..20 {
        let held = fill(&mut cache, Class::K64, 3_000);
        drain(&mut cache, held);
        while stacks.trim() == Trim::Now {}
    }
    let stats = stacks.stats().class(Class::K64);
    assert!(stats.carved >= 3_000 && stats.warm + 256 >= 3_000, "{stats:?}");
}

#[test]
fn stacks_that_come_and_go_are_left_alone() {
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks.clone());
    for _ in 0..20 {
        let held = fill(&mut cache, Class::K256, 3_000);
        drain(&mut cache, held);
        // At once there is nothing that has rested for long enough to be worth a system call.
        assert_ne!(stacks.trim(), Trim::Now);
    }
}

#[test]
fn stragglers_keep_their_slab_and_no_more() {
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks.clone());
    let mut held = fill(&mut cache, Class::K64, 10_000);
    let straggler = held.swap_remove(9_000);
    drain(&mut cache, held);
    cache.settle();
    trim(&stacks);
    let stats = stacks.stats().class(Class::K64);
    assert!(stats.warm <= 256, "{stats:?}");
    assert_eq!((stats.out, stats.credited), (1, 1), "{stats:?}");
    drain(&mut cache, vec![straggler]);
    cache.settle();
    trim(&stacks);
    let stats = stacks.stats().class(Class::K64);
    assert!(stats.slabs == 1 && stats.mapped <= 1 << 30, "at most the remainder's: {stats:?}");
}

#[test]
fn guards_survive_the_release_of_memory_around_them() {
    // In a process of its own: another test's stacks might come to lie where these were unmapped.
    if let Some(variant) = child_variant() {
        let stacks = stacks(GuardStrategy::named(&variant).unwrap());
        let mut cache = Cache::new(stacks.clone());
        let mut held = fill(&mut cache, Class::K64, 1_000);
        let stay: Vec<_> = (0..10).map(|index| held.swap_remove(index * 97)).collect();
        let limits: Vec<_> = held.iter().map(|stack| stack.limit().get()).collect();
        drain(&mut cache, held);
        cache.settle();
        let _ = trim(&stacks);
        let mapped = limits.iter().filter(|&&limit| registry::find(limit).is_some());
        let guards: Vec<_> = mapped.map(|&limit| refuses_access(limit)).collect();
        assert!(guards.len() > 500 && guards.into_iter().all(|refuses| refuses));
        drain(&mut cache, stay);
        return;
    }
    for strategy in strategies() {
        let name = "memory::guards_survive_the_release_of_memory_around_them";
        passes_in_child(name, &strategy.to_string());
    }
}

#[expect(unsafe_code, reason = "asks the kernel to write into a guard")]
fn refuses_access(address: usize) -> bool {
    // SAFETY: a guard, or else this test fails.
    unsafe { crate::stack::sys::refuses_access(address) }
}

#[test]
fn deep_memory_does_not_stay() {
    if child_variant().is_none() {
        return passes_in_child("memory::deep_memory_does_not_stay", "");
    }
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks.clone());
    let class = Class::K256;
    let deep = |start: usize| resident_bytes(start + GUARD, class.size() - GUARD - WARM);
    let held = fill(&mut cache, class, 1_000);
    let starts: Vec<_> = held.iter().map(|stack| stack.limit().get()).collect();
    let used: Vec<_> =
        held.into_iter().map(|stack| run(stack, move || descend(150 * 1024))).collect();
    assert!(starts.iter().all(|&start| deep(start) > 100 * 1024));
    drain(&mut cache, used);
    // What left the cache was looked at, but for the first few, among which some were still unused.
    let kept = starts.iter().filter(|&&start| deep(start) > 0).count();
    assert!(kept <= 4 * class.batch(), "{kept}");
    cache.settle();
    trim(&stacks);
    let mapped = starts.iter().filter(|&&start| registry::find(start).is_some());
    assert_eq!(mapped.filter(|&&start| deep(start) > 0).count(), 0);
}

#[test]
fn a_hot_stack_that_once_went_deep_becomes_small_again() {
    let stacks = stacks(strategies()[0]);
    let mut cache = Cache::new(stacks);
    let class = Class::M1;
    let stack = fill(&mut cache, class, 1).pop().unwrap();
    let start = stack.limit().get();
    let mut stack = run(stack, || descend(900 * 1024));
    assert!(resident_bytes(start, class.size()) > 800 * 1024);
    // Each of the hot ones has its turn.
    for _ in 0..20_000 {
        cache.give(stack);
        stack = cache.take(class, std::ptr::null());
    }
    assert!(resident_bytes(start, class.size()) <= WARM);
    drain(&mut cache, vec![stack]);
}
