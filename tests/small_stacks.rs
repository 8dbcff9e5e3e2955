//! What fits on the smallest stack.

use pirn::process;
use pirn::thread::{self, Builder, Placement};
use std::time::{Duration, Instant};

/// Runs a test with one worker and with several.
fn on_workers(test: impl Fn(&pirn::Runtime)) {
    for workers in [1, 2, 4] {
        test(&pirn::Builder::new().workers(workers).build().unwrap());
    }
}

/// One byte is rounded up to the smallest stack. AddressSanitizer doubles what frames take.
const SMALLEST: usize = if cfg!(feature = "sanitizer") { 64 * 1024 } else { 1 };

/// Runs in a coroutine with the smallest stack.
fn on_the_smallest_stack<T: Send + 'static>(
    runtime: &pirn::Runtime,
    f: impl FnOnce() -> T + Send + 'static,
) -> thread::Result<T> {
    runtime.run(|| Builder::new().stack_size(SMALLEST).spawn(f).unwrap().join())
}

/// All that `pirn::thread` offers fits on the smallest stack, in a debug build too: an overflow
/// ends the process. What does not is a panic with its message, see `docs/stacks.md`.
#[test]
fn the_smallest_stack_is_enough_for_every_operation() {
    on_workers(|runtime| {
        let small = |f: fn()| on_the_smallest_stack(runtime, f).unwrap();
        small(|| {
            thread::yield_now();
            thread::current().unpark();
            thread::park();
            thread::park_timeout(Duration::from_micros(50));
            thread::sleep(Duration::from_micros(50));
            thread::sleep_until(Instant::now() + Duration::from_micros(50));
            let me = thread::current();
            let waker = thread::spawn_local(move || me.unpark());
            thread::park();
            waker.join().unwrap();
            assert!(!thread::panicking());
            assert!(thread::current().name().is_none());
        });
        // Queues grow, and stacks of every size are carved.
        small(|| {
            let many: Vec<_> = (0..2000).map(|n| pirn::spawn(move || n)).collect();
            let sum: usize = many.into_iter().map(|each| each.join().unwrap()).sum();
            assert_eq!(sum, 1999 * 1000);
            pirn::spawn(|| pirn::spawn(thread::yield_now).join()).join().unwrap().unwrap();
            let local: Vec<_> = (0..2000).map(|n| thread::spawn_local(move || n)).collect();
            let sum: usize = local.into_iter().map(|each| each.join().unwrap()).sum();
            assert_eq!(sum, 1999 * 1000);
            for size in [1, 64 << 10, 256 << 10, 1 << 20, 8 << 20] {
                let named = Builder::new().name(format!("{size}")).stack_size(size);
                let spread = named.placement(Placement::Spread);
                spread.spawn(thread::yield_now).unwrap().join().unwrap();
            }
        });
        small(|| {
            let numbers = [1, 2, 3];
            let sum: i32 = thread::scope(|scope| {
                let each = numbers.iter().map(|n| scope.spawn(move || *n));
                each.collect::<Vec<_>>().into_iter().map(|each| each.join().unwrap()).sum()
            });
            assert_eq!(sum, 6);
            assert_eq!(pirn::blocking(|| 7), 7);
            assert_eq!(pirn::block_in_place(|| 8), 8);
        });
        // Unwinding, and parking on the way.
        struct Parks;
        impl Drop for Parks {
            fn drop(&mut self) {
                thread::sleep(Duration::from_micros(50));
                pirn::spawn(|| ()).join().unwrap();
            }
        }
        let silent = on_the_smallest_stack(runtime, || {
            let _parks = Parks;
            std::panic::resume_unwind(Box::new(5_i32));
        });
        let payload = silent.map(|_: ()| ()).unwrap_err();
        assert_eq!(*payload.downcast::<i32>().unwrap(), 5);
        let exited = on_the_smallest_stack(runtime, || {
            let _parks = Parks;
            thread::exit();
        });
        assert!(exited.map(|_: ()| ()).unwrap_err().is::<thread::Exited>());
        // A closure and a result of some size.
        let captured = [3_u8; 256];
        let back = on_the_smallest_stack(runtime, move || {
            thread::yield_now();
            captured
        });
        assert_eq!(back.unwrap(), captured);
    });
    // A cancellation.
    let runtime = pirn::Builder::new().workers(1).stack_size(SMALLEST).build().unwrap();
    let parked = runtime.spawn(thread::park);
    drop(runtime);
    assert!(parked.join().unwrap_err().is::<pirn::Cancelled>());
}

/// The destructors of the thread's locals have their thread's stack, crossbeam's among them.
#[test]
fn the_process_can_be_ended_from_there() {
    const CHILD: &str = "PIRN_TEST_SMALL_EXIT";

    struct Large;
    impl Drop for Large {
        fn drop(&mut self) {
            let room = std::hint::black_box([1_u8; 256 << 10]);
            // Whoever waits here keeps the thread.
            pirn::thread::sleep(Duration::from_millis(1));
            eprintln!("all of {} bytes", room.iter().map(|&byte| usize::from(byte)).sum::<usize>());
        }
    }
    thread_local!(static LARGE: Large = const { Large });

    if std::env::var_os(CHILD).is_some() {
        let runtime = pirn::Builder::new().workers(1).build().unwrap();
        let ends = on_the_smallest_stack(&runtime, || {
            // So that crossbeam has something to destroy.
            let many: Vec<_> = (0..2000).map(|n| pirn::spawn(move || n)).collect();
            let sum: usize = many.into_iter().map(|each| each.join().unwrap()).sum();
            assert_eq!(sum, 1999 * 1000);
            LARGE.with(|_| ());
            process::exit(7)
        });
        return ends.unwrap();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_can_be_ended_from_there", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert!(stderr.contains("all of 262144 bytes"), "{stderr}");
}
