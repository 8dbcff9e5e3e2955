//! What std warns of when its result is not used.

use pirn::thread;

/// Each expectation that is not met is an error.
#[test]
#[deny(unfulfilled_lint_expectations)]
fn what_std_warns_of_when_it_is_unused() {
    #[expect(unused_must_use)]
    thread::current();
    #[expect(unused_must_use)]
    thread::current().id();
    #[expect(unused_must_use)]
    thread::current().name();
    let joined = thread::spawn(|| ());
    #[expect(unused_must_use)]
    joined.thread();
    joined.join().unwrap();
    thread::scope(|scope| {
        let scoped = scope.spawn(|| ());
        #[expect(unused_must_use)]
        scoped.thread();
    });
    #[expect(unused_must_use)]
    pirn::io::stdin().lock();
    #[expect(unused_must_use)]
    pirn::io::stdout().lock();
    #[expect(unused_must_use)]
    pirn::io::stderr().lock();
}
