//! What scopes that may end cost those that do not, and what a cancellation costs.

use crate::table::{contest, nanos_each};
use pirn::time::{Duration, timeout};
use pirn::{CancelToken, thread};

const TIMES: u64 = 300_000;
const LONG: Duration = Duration::from_secs(600);

/// Two coroutines wake each other in turn; one of them does so in what `scoped` opens.
fn ping_pong(scoped: impl Fn(&mut dyn FnMut())) -> f64 {
    let first = thread::current();
    let other = pirn::spawn(move || {
        for _ in 0..TIMES {
            thread::park();
            first.unpark();
        }
    });
    let mut rounds = || {
        for _ in 0..TIMES {
            other.thread().unpark();
            thread::park();
        }
    };
    let nanos = nanos_each(TIMES, || scoped(&mut rounds));
    other.join().expect("it does not panic");
    nanos
}

pub(crate) fn cancel() {
    let runtime = pirn::Builder::new().workers(1).build().expect("a runtime");
    runtime.run(|| {
        let token = CancelToken::new();
        contest(
            "two coroutines wake each other, one of them in scopes",
            "ns a round",
            9,
            &mut [
                ("in none", &mut || ping_pong(|run| run())),
                ("in a timeout", &mut || {
                    ping_pong(|run| timeout(LONG, run).expect("there is time"))
                }),
                ("in a token", &mut || ping_pong(|run| token.run(run).expect("nobody cancels it"))),
                ("in three timeouts and a token", &mut || {
                    ping_pong(|run| {
                        let inner = || token.run(|| timeout(LONG, &mut *run));
                        let all = timeout(LONG, || timeout(LONG, inner));
                        let ended = all.map(|all| all.map(|all| all.map(|all| all.is_ok())));
                        assert!(matches!(ended, Ok(Ok(Ok(true)))));
                    })
                }),
            ],
        );
        let each = |f: &dyn Fn()| nanos_each(20_000, || (0..20_000).for_each(|_| f()));
        contest(
            "scopes by themselves, and cancellations",
            "ns",
            9,
            &mut [
                ("a timeout around nothing", &mut || {
                    each(&|| timeout(LONG, || ()).expect("there is time"))
                }),
                ("a token around nothing", &mut || {
                    each(&|| token.run(|| ()).expect("nobody cancels it"))
                }),
                ("spawn, park, unpark, join", &mut || {
                    each(&|| {
                        let parked = pirn::spawn(thread::park);
                        thread::yield_now();
                        parked.thread().unpark();
                        parked.join().expect("it ends well");
                    })
                }),
                ("spawn, park, cancel, join", &mut || {
                    each(&|| {
                        let parked = pirn::spawn(thread::park);
                        thread::yield_now();
                        parked.cancel();
                        assert!(parked.join().is_err());
                    })
                }),
            ],
        );
    });
}
