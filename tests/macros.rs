//! `#[pirn::main]` and `#[pirn::test]`: what they run is a coroutine, and the function stays what
//! it was. What they refuse is tested in `macros/tests/errors.rs`.

use std::cell::Cell;
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    /// Set on the thread that calls a function from outside.
    static CALLER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this runs on another thread than the caller: one of a runtime.
fn elsewhere() -> bool {
    !CALLER.get()
}

fn mark_caller() {
    CALLER.set(true);
}

#[pirn::main]
fn plain() -> bool {
    elsewhere()
}

#[pirn::main(workers = 2, stack_size = 64 * 1024)]
fn with_options() -> bool {
    elsewhere()
}

const WORKERS: usize = 1;

#[pirn::main(workers = WORKERS,)]
fn with_a_constant() -> u32 {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    pirn::spawn(|| RUNS.fetch_add(1, Ordering::Relaxed)).join().unwrap();
    RUNS.load(Ordering::Relaxed)
}

#[pirn::main]
fn by_question_mark() -> Result<u32, std::num::ParseIntError> {
    let number: u32 = "x".parse()?;
    Ok(number)
}

#[pirn::main]
fn by_return() -> u32 {
    if elsewhere() {
        return 1;
    }
    2
}

#[pirn::main]
fn opaque() -> impl Termination + Send {
    ExitCode::SUCCESS
}

#[pirn::main]
fn never() -> ! {
    std::panic::panic_any("never returns")
}

#[pirn::main]
fn r#match() -> u32 {
    7
}

mod inner {
    #[pirn::main]
    pub(super) fn visible() -> &'static str {
        "visible"
    }
}

/// Documented, deprecated and all.
#[must_use]
#[pirn::main]
#[inline(never)]
fn attributes() -> u32 {
    9
}

macro_rules! by_macro {
    ($visibility:vis $name:ident -> $type:ty $body:block) => {
        #[pirn::main]
        $visibility fn $name() -> $type $body
    };
}

by_macro!(pub(crate) from_a_macro -> bool { elsewhere() });
by_macro!(from_a_macro_privately -> Option<u32> { Some(3) });

struct Type;

impl Type {
    #[pirn::main]
    fn associated() -> u32 {
        11
    }
}

#[test]
fn main_runs_its_body_in_a_runtime() {
    mark_caller();
    assert!(plain());
    assert!(with_options());
    assert!(from_a_macro());
    assert_eq!(with_a_constant(), 1);
}

#[test]
fn main_returns_what_its_body_does() {
    mark_caller();
    assert_eq!(by_return(), 1);
    assert!(by_question_mark().is_err());
    assert_eq!(opaque().report(), ExitCode::SUCCESS);
    assert_eq!(r#match(), 7);
    assert_eq!(inner::visible(), "visible");
    assert_eq!(attributes(), 9);
    assert_eq!(from_a_macro_privately(), Some(3));
    assert_eq!(Type::associated(), 11);
}

#[test]
fn main_panics_as_its_body_does() {
    let payload = std::panic::catch_unwind(|| never()).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"never returns"));
}

#[pirn::test]
fn test_runs_in_a_runtime() {
    // A test's own thread is named after the test.
    assert_ne!(std::thread::current().name(), Some("test_runs_in_a_runtime"));
    assert_eq!(pirn::spawn(|| 1).join().unwrap(), 1);
}

#[pirn::test(workers = 2)]
#[should_panic(expected = "as it should")]
fn test_may_be_expected_to_panic() {
    panic!("as it should");
}

#[pirn::test]
#[ignore = "would fail"]
fn failing() -> Result<(), String> {
    Err("failed".into())
}

#[pirn::test]
#[ignore = "would fail"]
fn failing_with_what_is_not_send() -> Result<(), Box<dyn std::error::Error>> {
    "x".parse::<u32>()?;
    Ok(())
}

#[pirn::test]
fn succeeding() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(pirn::spawn(|| "1".parse()).join().unwrap(), Ok(1));
    Ok(())
}

#[pirn::test(workers = 1)]
#[should_panic(expected = "and must, to be expected to")]
#[expect(clippy::unused_unit, reason = "it is written")]
fn test_may_say_that_it_returns_nothing() -> () {
    panic!("and must, to be expected to");
}

#[test]
fn test_reports_what_its_body_returns() {
    assert_eq!(failing(), ExitCode::FAILURE);
    assert_eq!(failing_with_what_is_not_send(), ExitCode::FAILURE);
    assert_eq!(succeeding(), ExitCode::SUCCESS);
}

/// The name is what matters.
mod program {
    use super::ExitCode;

    struct Never;

    impl Never {
        #[pirn::main]
        fn main() -> ! {
            std::panic::panic_any("main never returns")
        }
    }

    struct Opaque;

    impl Opaque {
        #[pirn::main]
        fn main() -> impl std::process::Termination {
            std::rc::Rc::new(ExitCode::from(3)).as_ref().to_owned()
        }
    }

    #[pirn::main]
    fn main() -> Result<(), Box<dyn std::error::Error>> {
        let number: u32 = "x".parse()?;
        println!("{number}");
        Ok(())
    }

    #[test]
    fn main_may_return_what_is_not_send() {
        assert_eq!(main(), ExitCode::FAILURE);
        assert_eq!(Opaque::main(), ExitCode::from(3));
        let payload = std::panic::catch_unwind(Never::main).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"main never returns"));
    }
}

#[pirn::test(workers = 1)]
#[ignore = "would fail"]
fn test_may_be_ignored() {
    panic!("was not ignored");
}
