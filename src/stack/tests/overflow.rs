//! What a process says and how it dies when a stack is full, and when something else is wrong.

#![expect(unsafe_code, reason = "faults on purpose")]

use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::ptr;
use std::thread;

use crate::stack::sys::SignalStack;
use crate::stack::test_util::{child_variant, fill, in_child, run, stacks, start, strategies};
use crate::stack::{AltStack, Cache, Class, GuardStrategy, set_describe};

#[expect(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: &mut u64) {
    let mut next = std::hint::black_box(*depth + 1);
    recurse(&mut next);
    *depth = std::hint::black_box(next);
}

fn describe(owner: *const (), out: &mut dyn Write) {
    let _ = write!(out, "coroutine {} \"conn\", spawned at src/main.rs:10:5,", owner.addr());
}

fn overflow(name: &str, class: Class, owner: usize) {
    let stacks = stacks(GuardStrategy::named(name).unwrap());
    let mut cache = Cache::new(stacks);
    // Neighbours, so that there is something to name wrongly.
    let _held = std::mem::ManuallyDrop::new(fill(&mut cache, class, 3));
    cache.credit(class).unwrap();
    let stack = cache.take(class, ptr::without_provenance(owner));
    let _alt_stack = AltStack::install().unwrap();
    let _ = run(stack, || recurse(&mut 0));
}

#[test]
fn an_overflow_names_the_coroutine() {
    if let Some(name) = child_variant() {
        set_describe(describe);
        return overflow(&name, Class::K256, 7);
    }
    for strategy in strategies() {
        let ended = in_child("overflow::an_overflow_names_the_coroutine", &strategy.to_string());
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
        let report = "\npirn: coroutine 7 \"conn\", spawned at src/main.rs:10:5, has overflowed its \
                      stack (256 KiB)\n  raise it with thread::Builder::stack_size or \
                      PIRN_STACK_SIZE\nfatal runtime error: stack overflow\n";
        assert!(ended.stderr.contains(report), "{strategy}: {}", ended.stderr);
    }
}

#[test]
fn an_overflow_is_reported_for_every_size() {
    if let Some(size) = child_variant() {
        let class = Class::for_size(size.parse().unwrap()).unwrap();
        return overflow(&strategies()[0].to_string(), class, 0);
    }
    for class in Class::ALL {
        let size = class.size().to_string();
        let ended = in_child("overflow::an_overflow_is_reported_for_every_size", &size);
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
        let report = format!("\npirn: a coroutine has overflowed its stack ({class})\n");
        assert!(ended.stderr.contains(&report), "{class}: {}", ended.stderr);
    }
}

#[test]
fn an_overflow_after_trimming_is_reported_too() {
    if let Some(name) = child_variant() {
        let stacks = stacks(GuardStrategy::named(&name).unwrap());
        let mut cache = Cache::new(stacks.clone());
        let held = fill(&mut cache, Class::K64, 1000);
        let ballast = fill(&mut cache, Class::K64, 1);
        crate::stack::test_util::drain(&mut cache, held);
        cache.settle();
        while stacks.trim() != crate::stack::Trim::Settled {}
        let again = fill(&mut cache, Class::K64, 1000);
        let _ballast = std::mem::ManuallyDrop::new(ballast);
        for (index, stack) in again.into_iter().enumerate() {
            if index == 999 {
                let _ = run(stack, || recurse(&mut 0));
            } else {
                std::mem::forget(stack);
            }
        }
    }
    for strategy in strategies() {
        let name = "overflow::an_overflow_after_trimming_is_reported_too";
        let ended = in_child(name, &strategy.to_string());
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
        assert!(ended.stderr.contains("has overflowed its stack (64 KiB)"), "{}", ended.stderr);
    }
}

#[test]
fn an_overflow_on_a_thread_without_a_signal_stack_is_reported() {
    extern "C" fn on_thread(_: *mut libc::c_void) -> *mut libc::c_void {
        overflow(&strategies()[0].to_string(), Class::K64, 0);
        ptr::null_mut()
    }
    if child_variant().is_some() {
        on_bare_thread(on_thread);
        return;
    }
    let name = "overflow::an_overflow_on_a_thread_without_a_signal_stack_is_reported";
    let ended = in_child(name, "");
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
    assert!(ended.stderr.contains("a coroutine has overflowed its stack"), "{}", ended.stderr);
}

#[test]
fn a_stray_pointer_is_no_overflow() {
    if let Some(variant) = child_variant() {
        let stacks = stacks(strategies()[0]);
        let mut cache = Cache::new(stacks);
        let mut held = std::mem::ManuallyDrop::new(fill(&mut cache, Class::K64, 2));
        let address = if variant == "null" { 8 } else { held[0].limit().get() + 8 };
        let stack = held.pop().unwrap();
        let _ = run(stack, move || {
            // SAFETY: none; the process dies here.
            unsafe { ptr::with_exposed_provenance_mut::<u64>(address).write_volatile(1) };
        });
    }
    for variant in ["null", "guard of another"] {
        let ended = in_child("overflow::a_stray_pointer_is_no_overflow", variant);
        assert_eq!(ended.status.signal(), Some(libc::SIGSEGV), "{variant}: {}", ended.stderr);
        assert!(!ended.stderr.contains("overflow"), "{variant}: {}", ended.stderr);
    }
}

#[test]
fn a_signal_stack_goes_with_its_owner() {
    extern "C" fn on_thread(_: *mut libc::c_void) -> *mut libc::c_void {
        let len = || SignalStack::current().unwrap().len();
        if len() > 0 {
            // AddressSanitizer was here first.
            return ptr::null_mut();
        }
        let own = AltStack::install().unwrap();
        let installed = len();
        assert!(installed >= 64 * 1024);
        drop(AltStack::install().unwrap());
        assert_eq!(len(), installed, "the second one had nothing to do, and took nothing away");
        drop(own);
        assert_eq!(len(), 0);
        ptr::null_mut()
    }
    on_bare_thread(on_thread);
    // A thread of std's has one that is large enough, and keeps it.
    let before = SignalStack::current().unwrap();
    let _own = AltStack::install().unwrap();
    assert_eq!(SignalStack::current().unwrap().start(), before.start());
}

/// Runs `body` on a thread that std knows nothing of.
fn on_bare_thread(body: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void) {
    // SAFETY: all zeroes is a value of a type that is an integer or a pointer.
    let mut thread: libc::pthread_t = unsafe { std::mem::zeroed() };
    // SAFETY: the function has the type it should, and the thread is waited for.
    unsafe {
        assert_eq!(libc::pthread_create(&raw mut thread, ptr::null(), body, ptr::null_mut()), 0);
        libc::pthread_join(thread, ptr::null_mut());
    }
}

#[test]
fn stds_own_report_still_comes() {
    if child_variant().is_some() {
        let _stacks = stacks(strategies()[0]);
        let thread = thread::Builder::new().name("deep".to_owned());
        let _ = thread.spawn(|| recurse(&mut 0)).unwrap().join();
    }
    let ended = in_child("overflow::stds_own_report_still_comes", "");
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
    assert!(ended.stderr.contains("thread 'deep'"), "{}", ended.stderr);
    assert!(ended.stderr.contains("has overflowed its stack"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("pirn:"), "{}", ended.stderr);
}

#[test]
fn a_handler_that_was_there_before_is_called_as_it_wants() {
    extern "C" fn modern(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel's argument; `_exit` is allowed in a handler.
        unsafe { libc::_exit(if (*info).si_addr().addr() == 8 { 41 } else { 1 }) }
    }
    extern "C" fn old(signal: libc::c_int) {
        // SAFETY: allowed in a handler.
        unsafe { libc::_exit(if signal == libc::SIGSEGV { 42 } else { 1 }) }
    }
    let handlers = [
        ("modern", modern as *const () as usize, libc::SA_SIGINFO, 41),
        ("old", old as *const () as usize, 0, 42),
    ];
    if let Some(variant) = child_variant() {
        let &(_, handler, flags, _) = handlers.iter().find(|each| each.0 == variant).unwrap();
        // SAFETY: a valid disposition, with a handler of the type that its flags say.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = flags;
            libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut());
        }
        let _stacks = stacks(strategies()[0]);
        // SAFETY: none; the process dies here.
        unsafe { ptr::with_exposed_provenance_mut::<u64>(8).write_volatile(1) };
    }
    for (variant, _, _, code) in handlers {
        let name = "overflow::a_handler_that_was_there_before_is_called_as_it_wants";
        let ended = in_child(name, variant);
        assert_eq!(ended.status.code(), Some(code), "{variant}: {}", ended.stderr);
    }
}

#[test]
fn a_signal_that_was_sent_does_what_it_did() {
    if let Some(variant) = child_variant() {
        let before = if variant == "default" { libc::SIG_DFL } else { libc::SIG_IGN };
        // SAFETY: special values; then a signal to this very thread.
        unsafe {
            libc::signal(libc::SIGSEGV, before);
            let _stacks = stacks(strategies()[0]);
            libc::raise(libc::SIGSEGV);
            libc::_exit(43);
        }
    }
    let name = "overflow::a_signal_that_was_sent_does_what_it_did";
    let ended = in_child(name, "default");
    assert_eq!(ended.status.signal(), Some(libc::SIGSEGV), "{}", ended.stderr);
    let ended = in_child(name, "ignored");
    assert_eq!(ended.status.code(), Some(43), "{}", ended.stderr);
}

#[test]
fn a_suspended_neighbour_is_not_blamed() {
    if child_variant().is_some() {
        set_describe(describe);
        let stacks = stacks(strategies()[0]);
        let mut cache = Cache::new(stacks);
        let mut parked = Vec::new();
        for owner in 1..=8 {
            cache.credit(Class::K64).unwrap();
            let stack = cache.take(Class::K64, ptr::without_provenance(owner));
            parked.push(start(stack, move |yielder| {
                yielder.suspend(());
                recurse(&mut 0);
            }));
        }
        parked[4].0.resume(());
    }
    let ended = in_child("overflow::a_suspended_neighbour_is_not_blamed", "");
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
    assert!(ended.stderr.contains("coroutine 5 \"conn\""), "{}", ended.stderr);
}
