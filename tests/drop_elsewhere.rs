//! A runtime that is dropped by a coroutine of another one.

use std::time::Duration;

fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// What ends may wait for one that lives where the drop is waited for.
#[test]
fn who_drops_a_runtime_lets_others_run_at_its_home() {
    for shuts_down in [false, true] {
        let outer = runtime(1);
        let heard = outer.run(move || {
            let (question, asked) = pirn::channel::bounded(0);
            let (answer, answered) = pirn::channel::bounded(0);
            let (begun, begins) = pirn::channel::bounded(0);
            let neighbour = pirn::spawn(move || {
                asked.recv().unwrap();
                answer.send(()).unwrap();
            });
            let inner = runtime(1);
            let asks = inner.spawn(move || {
                pirn::shield(|| {
                    begun.send(()).unwrap();
                    let patience = Duration::from_secs(20);
                    question.send_timeout((), patience).map_err(drop)?;
                    answered.recv_timeout(patience).map_err(drop)
                })
            });
            begins.recv().unwrap();
            if shuts_down {
                inner.shutdown(Duration::from_secs(60)).unwrap();
            } else {
                drop(inner);
            }
            neighbour.join().unwrap();
            asks.join().unwrap()
        });
        assert_eq!(heard, Ok(()), "its home is blocked");
    }
}
