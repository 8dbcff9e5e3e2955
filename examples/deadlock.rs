//! Two coroutines lock two mutexes, each the one first that the other locks last. pirn says so, and
//! who holds what.
//!
//! ```sh
//! cargo run --example deadlock                         # reports, and hangs as told
//! PIRN_DEADLOCK=abort cargo run --example deadlock     # reports, and ends
//! ```
//!
//! In a release build, who holds a lock is known with `--features holders` alone.

use pirn::sync::{Arc, Barrier, Mutex};
use pirn::thread;

struct Account {
    balance: Mutex<u64>,
}

/// Moves money. Both accounts are locked meanwhile, in the order in which they are named: that is the
/// mistake.
fn transfer(from: &Account, to: &Account, amount: u64, both: &Barrier) {
    let mut from = from.balance.lock().unwrap();
    // So that it happens each time and not once a year.
    both.wait();
    let mut to = to.balance.lock().unwrap();
    *from -= amount;
    *to += amount;
}

pub(crate) fn main() {
    let new = || Arc::new(Account { balance: Mutex::new(100) });
    let (checking, savings, both) = (new(), new(), Arc::new(Barrier::new(2)));
    let orders = [("saving", &checking, &savings), ("spending", &savings, &checking)];
    let transfers = orders.map(|(name, from, to)| {
        let (from, to, both) = (from.clone(), to.clone(), both.clone());
        let run = move || transfer(&from, &to, 10, &both);
        thread::Builder::new().name(name.into()).spawn(run).unwrap()
    });
    transfers.into_iter().for_each(|transfer| transfer.join().unwrap());
}
