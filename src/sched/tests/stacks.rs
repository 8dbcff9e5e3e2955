//! Stacks that machines keep.

use super::*;
use crate::stack::GuardStrategy;

/// What a machine keeps at hand nobody else can get at. In a process of its own, all of whose stacks share
/// one budget.
#[test]
fn what_machines_keep_at_hand_is_not_missing() {
    const CHILD: &str = "PIRN_TEST_STACKS_AT_HAND";
    const NAME: &str = "sched::tests::stacks::what_machines_keep_at_hand_is_not_missing";
    if std::env::var_os(CHILD).is_none() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1").output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{said}");
    }
    // Three batches.
    const ROOM: usize = 192;
    let scheduler = || {
        let force_guard = Some(GuardStrategy::Mprotect);
        Scheduler::with(0, StackOptions { force_guard, map_budget: Some(2 * ROOM) })
    };

    // By an idle machine, when a thread spawns.
    let one = scheduler();
    let parked = Arc::new(AtomicUsize::new(0));
    for count in 1..=ROOM {
        let theirs = parked.clone();
        one.spawn(move || {
            theirs.fetch_add(1, Ordering::Relaxed);
            park();
        });
        let parked = || parked.load(Ordering::Relaxed) == count;
        drop(one.world.wait_until(|state| state.asleep && parked()));
    }
    drop(one);

    // By one's own machine.
    let (told, spawned) = mpsc::channel();
    let other = scheduler();
    other.spawn(move || {
        let spawns = || {
            yield_now();
            Builder::new().spawn(park).map(drop).is_ok()
        };
        told.send((1..=ROOM).take_while(|_| spawns()).count()).unwrap();
    });
    assert_eq!(spawned.recv().unwrap(), ROOM - 1);
}
