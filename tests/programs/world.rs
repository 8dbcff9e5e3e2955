//! What the coroutines of a program share, and what must be true of it in the end.

use crate::account::Account;
use pirn::channel::{self, Receiver, Sender, select};
use pirn::sync::{Condvar, Mutex, RwLock, Semaphore};
use pirn::thread::JoinHandle;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

/// How many kinds of resources there are; see `program::Hold`.
pub(crate) const RANKS: usize = 5;
pub(crate) const PERMITS: usize = 3;
const TOKENS: usize = 2;
const COINS: usize = 1;
/// The capacities of the channels by which tokens go home.
pub(crate) const ROUTES: [usize; 2] = [0, 1];

pub(crate) struct World {
    /// Outlives the program.
    pub(crate) other: &'static pirn::Runtime,
    pub(crate) home: (Sender<Token>, Receiver<Token>),
    pub(crate) routes: Vec<Sender<Token>>,
    pub(crate) semaphore: Arc<Semaphore>,
    /// Permits that are out.
    pub(crate) out: AtomicUsize,
    pub(crate) coins: (Mutex<usize>, Condvar),
    /// A pair whose halves differ while somebody writes, and how many writes were completed.
    pub(crate) pair: (RwLock<(usize, usize)>, AtomicUsize),
    /// A counter, and what it is to be.
    pub(crate) counter: (Mutex<usize>, AtomicUsize),
    pub(crate) accounts: std::sync::Mutex<Vec<Arc<Account>>>,
    there: (std::sync::Mutex<There>, std::sync::Condvar),
    failures: Arc<Failures>,
}

/// Who and what is still there.
#[derive(Default)]
struct There {
    live: usize,
    /// The sum of the marks of values: no drop of one makes up for another's.
    values: usize,
}

/// What was found to be wrong.
#[derive(Default)]
pub(crate) struct Failures(std::sync::Mutex<Vec<String>>);

impl Failures {
    pub(crate) fn add(&self, failure: String) {
        self.0.lock().unwrap().push(failure);
    }

    pub(crate) fn get(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl World {
    pub(crate) fn new(
        other: &'static pirn::Runtime,
        routes: Vec<Sender<Token>>,
        failures: Arc<Failures>,
    ) -> World {
        let home = channel::unbounded();
        for number in 0..TOKENS {
            assert!(home.0.send(Token { number, home: Some(home.0.clone()) }).is_ok());
        }
        World {
            other,
            home,
            routes,
            semaphore: Arc::new(Semaphore::new(PERMITS)),
            out: AtomicUsize::new(0),
            coins: (Mutex::new(COINS), Condvar::new()),
            pair: Default::default(),
            counter: Default::default(),
            accounts: Default::default(),
            there: Default::default(),
            failures,
        }
    }

    pub(crate) fn fail(&self, failure: impl Into<String>) {
        self.failures.add(failure.into());
    }

    pub(crate) fn check(&self, holds: bool, failure: &str) {
        if !holds {
            self.fail(failure);
        }
    }

    fn there(&self, change: impl FnOnce(&mut There)) {
        let mut there = self.there.0.lock().unwrap();
        change(&mut there);
        if there.live == 0 {
            self.there.1.notify_all();
        }
    }

    /// Waits until everybody has come to an end, those too whose handles were dropped.
    pub(crate) fn wait(&self) {
        let there = self.there.0.lock().unwrap();
        let there = self.there.1.wait_while(there, |there| there.live > 0).unwrap();
        // Results that nobody asks for are dropped just after their coroutines' ends.
        let patience = Duration::from_secs(20);
        let waited = self.there.1.wait_timeout_while(there, patience, |there| there.values != 0);
        if waited.unwrap().1.timed_out() {
            self.fail("values were leaked, or dropped twice");
        }
    }

    /// What must be true when everybody has come to an end.
    pub(crate) fn settle(&self) {
        let mut tokens = Vec::new();
        for mut token in self.home.1.try_iter() {
            token.home = None;
            tokens.push(token.number);
        }
        tokens.sort_unstable();
        if tokens != Vec::from_iter(0..TOKENS) {
            self.fail(format!("of {TOKENS} tokens, there are {tokens:?}"));
        }
        self.check(self.semaphore.available_permits() == PERMITS, "permits are lost, or too many");
        self.check(self.out.load(SeqCst) == 0, "permits are out");
        match free(self.coins.0.try_lock()) {
            Some(coins) => self.check(*coins == COINS, "coins are lost, or too many"),
            None => self.fail("the lock of the coins is held"),
        }
        match free(self.pair.0.try_write()) {
            Some(pair) => {
                let writes = self.pair.1.load(SeqCst);
                self.check(*pair == (writes, writes), "writes were lost");
            }
            None => self.fail("the pair is locked"),
        }
        match free(self.counter.0.try_lock()) {
            Some(count) => self.check(*count == self.counter.1.load(SeqCst), "counts were lost"),
            None => self.fail("the counter is locked"),
        }
        for account in self.accounts.lock().unwrap().iter() {
            account.settle(self);
        }
    }
}

fn free<Guard>(attempt: Result<Guard, TryLockError<Guard>>) -> Option<Guard> {
    match attempt {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A lock that others have panicked with is as good as any: what it guards is put right by destructors.
pub(crate) fn unpoisoned<Guard>(result: Result<Guard, PoisonError<Guard>>) -> Guard {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// Somebody who has not come to an end, or has not begun.
pub(crate) struct Live(Arc<World>);

impl Live {
    pub(crate) fn new(world: &Arc<World>) -> Live {
        world.there(|there| there.live += 1);
        Live(world.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.there(|there| there.live -= 1);
    }
}

/// A value that is made once and dropped once.
pub(crate) struct Value(Arc<World>, usize);

impl Value {
    pub(crate) fn new(world: &Arc<World>) -> Value {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mark = NEXT.fetch_add(1, SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        world.there(|there| there.values = there.values.wrapping_add(mark));
        Value(world.clone(), mark)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.there(|there| there.values = there.values.wrapping_sub(self.1));
    }
}

/// One of a few. Wherever it is dropped, it goes home: with a send that was cut short, with a channel.
pub(crate) struct Token {
    number: usize,
    home: Option<Sender<Token>>,
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let token = Token { number: self.number, home: Some(home.clone()) };
            if let Err(error) = home.send(token) {
                error.into_inner().home = None;
            }
        }
    }
}

/// Coroutines that carry tokens home, until they are cancelled or their runtime is dropped.
pub(crate) fn ferries(
    world: &World,
    routes: Vec<Receiver<Token>>,
    runtime: &pirn::Runtime,
) -> Vec<JoinHandle<()>> {
    let ferry = |(number, route): (usize, Receiver<Token>)| {
        let home = world.home.0.clone();
        let carry = move || {
            let nothing = channel::never::<()>();
            while let Ok(token) =
                select! { recv(route) -> token => token, recv(nothing) -> _ => unreachable!() }
            {
                assert!(home.send(token).is_ok());
            }
        };
        match number {
            0 => runtime.spawn(carry),
            _ => world.other.spawn(carry),
        }
    };
    routes.into_iter().enumerate().map(ferry).collect()
}
