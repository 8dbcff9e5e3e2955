//! Running out is an error that names the limit; what was promised before is kept.

#![expect(unsafe_code, reason = "sets limits of a child process")]

use std::io::ErrorKind;

use crate::stack::test_util::{child_variant, drain, fill, passes_in_child, stacks, strategies};
use crate::stack::{Cache, Class, GuardStrategy, StackOptions, Stacks};

/// Uses credits up until there are none, and all stacks that they stand for.
fn exhaust(stacks: &std::sync::Arc<Stacks>, class: Class, names: &str) {
    let mut cache = Cache::new(stacks.clone());
    let mut other = Cache::new(stacks.clone());
    let mut credits = 0_usize;
    let error = loop {
        match cache.credit(class) {
            Ok(()) => credits += 1,
            Err(error) => break error,
        }
        assert!(credits < 1 << 20);
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains(names), "{error}");
    assert!(credits > 0, "there was room for some: {error}");
    // A failure leaves nothing behind, and comes again.
    let before = stacks.stats().class(class);
    for _ in 0..100 {
        assert!(cache.credit(class).is_err());
    }
    assert_eq!(stacks.stats().class(class).mapped, before.mapped);
    // Every credit is good, in whatever cache.
    let take = |index| {
        let from = if index % 3 == 0 { &mut other } else { &mut cache };
        from.take(class, std::ptr::null())
    };
    let held: Vec<_> = (0..credits).map(take).collect();
    assert!(cache.credit(class).is_err());
    drain(&mut other, held);
    drop(other);
    // Now that slots are set apart for a cache, those are missing.
    let again = fill(&mut cache, class, credits.saturating_sub(2 * class.batch()));
    drain(&mut cache, again);
}

#[test]
fn of_address_space() {
    if let Some(variant) = child_variant() {
        let class = Class::for_size(variant.parse().unwrap()).unwrap();
        let stacks = Stacks::new(StackOptions::default()).unwrap();
        let limit = libc::rlimit { rlim_cur: 1 << 30, rlim_max: 1 << 30 };
        // SAFETY: reads one `rlimit`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        return exhaust(&stacks, class, "RLIMIT_AS allows 1024 MiB");
    }
    for class in Class::ALL {
        passes_in_child("exhaustion::of_address_space", &class.size().to_string());
    }
}

#[test]
fn of_data() {
    if child_variant().is_some() {
        let stacks = Stacks::new(StackOptions::default()).unwrap();
        let limit = libc::rlimit { rlim_cur: 512 << 20, rlim_max: 512 << 20 };
        // SAFETY: reads one `rlimit`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) }, 0);
        // The allocator has to live on what is left to it here.
        let error = (0..1000).find_map(|_| stacks.credit(Class::M1, 16).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        assert!(error.to_string().contains("RLIMIT_DATA"), "{error}");
        return;
    }
    passes_in_child("exhaustion::of_data", "");
}

#[test]
fn of_map_entries() {
    if child_variant().is_some() {
        let force_guard = Some(GuardStrategy::Mprotect);
        let stacks = Stacks::new(StackOptions { force_guard, map_budget: Some(4000) }).unwrap();
        exhaust(&stacks, Class::K64, "vm.max_map_count");
        assert!(stacks.stats().class(Class::K64).carved <= 2000);
        return;
    }
    passes_in_child("exhaustion::of_map_entries", "");
}

#[test]
fn of_the_map_entries_that_the_system_allows() {
    if child_variant().is_some() {
        let stacks = stacks(GuardStrategy::Mprotect);
        exhaust(&stacks, Class::K32, "vm.max_map_count");
        // Enough is left for everybody else.
        for thread in (0..64).map(|_| std::thread::spawn(|| vec![1_u8; 1 << 20])) {
            assert_eq!(thread.join().unwrap().len(), 1 << 20);
        }
        return;
    }
    passes_in_child("exhaustion::of_the_map_entries_that_the_system_allows", "");
}

/// What others have left idle is not what is missing.
#[test]
fn idle_stacks_of_one_size_make_room_for_those_of_another() {
    if child_variant().is_some() {
        let force_guard = Some(GuardStrategy::Mprotect);
        let stacks = Stacks::new(StackOptions { force_guard, map_budget: Some(4000) }).unwrap();
        let many = |class| {
            let mut cache = Cache::new(stacks.clone());
            let held = fill(&mut cache, class, 1200);
            drain(&mut cache, held);
        };
        for _ in 0..3 {
            Class::ALL.into_iter().filter(|&class| class <= Class::M1).for_each(many);
        }
        // And what is in use stays.
        let mut cache = Cache::new(stacks.clone());
        let held = fill(&mut cache, Class::K64, 1200);
        let mut other = Cache::new(stacks.clone());
        let error = (0..1200).find_map(|_| other.credit(Class::K256).err()).unwrap();
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
        drain(&mut cache, held);
        return;
    }
    passes_in_child("exhaustion::idle_stacks_of_one_size_make_room_for_those_of_another", "");
}

#[test]
fn locked_memory_falls_back_to_inaccessible_pages() {
    if child_variant().is_some() {
        let stacks = Stacks::new(StackOptions::default()).unwrap();
        stacks.credit(Class::K64, 1).unwrap();
        // SAFETY: no requirements.
        let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } == 0;
        if !locked {
            // Not permitted, so it cannot happen either.
            return;
        }
        let mut cache = Cache::new(stacks.clone());
        let held = fill(&mut cache, Class::K64, 200);
        assert_eq!(stacks.strategy(), GuardStrategy::Mprotect);
        drain(&mut cache, held);
        // From the start, too.
        let stacks = Stacks::new(StackOptions::default()).unwrap();
        assert_eq!(stacks.strategy(), GuardStrategy::Mprotect);
        return;
    }
    if strategies()[0] != GuardStrategy::Mprotect {
        passes_in_child("exhaustion::locked_memory_falls_back_to_inaccessible_pages", "");
    }
}
