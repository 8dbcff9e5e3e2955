//! Shared resources, got and given back.

use crate::context::Context;
use crate::program::{Body, Hold, Pass, Patience, Pause, Take};
use crate::world::{Token, World, unpoisoned};
use pirn::channel::{Select, after, select};
use pirn::sync::{RwLockWriteGuard, SemaphorePermit};
use pirn::time::timeout;
use std::sync::TryLockError;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

impl Context {
    pub(crate) fn hold(&self, hold: Hold, body: &Body) {
        match hold {
            Hold::Token(take, pass) => {
                let token = self.take(take);
                self.body(body);
                self.pass(token, pass);
            }
            Hold::Permits(permits, patience) => self.permits(permits, patience, body),
            Hold::Coin(limit) => {
                let coins = unpoisoned(self.world.coins.0.lock());
                let changed = &self.world.coins.1;
                let mut coins = match limit {
                    None => unpoisoned(changed.wait_while(coins, |coins| *coins == 0)),
                    Some(limit) => {
                        let none = |coins: &mut usize| *coins == 0;
                        let waited = changed.wait_timeout_while(coins, limit, none);
                        let (coins, waited) = unpoisoned(waited);
                        if waited.timed_out() {
                            return;
                        }
                        coins
                    }
                };
                *coins -= 1;
                drop(coins);
                let _coin = Coin(&self.world);
                self.body(body);
            }
            Hold::Read => {
                let pair = unpoisoned(self.world.pair.0.read());
                let before = *pair;
                self.world.check(before.0 == before.1, "a reader sees a write");
                self.body(body);
                self.world.check(*pair == before, "somebody wrote while one read");
            }
            Hold::Write { downgrade } => {
                let mut pair = unpoisoned(self.world.pair.0.write());
                let before = *pair;
                self.world.check(before.0 == before.1, "a writer sees a write");
                let writing = Writing(&mut pair);
                writing.0.0 += 1;
                self.body(body);
                self.world.check(writing.0.1 == before.1, "two write at once");
                writing.0.1 += 1;
                self.world.pair.1.fetch_add(1, SeqCst);
                drop(writing);
                if downgrade {
                    let pair = RwLockWriteGuard::downgrade(pair);
                    let before = *pair;
                    self.pause(Pause::Yield);
                    self.world.check(*pair == before, "somebody wrote while one read");
                }
            }
            Hold::Lock { attempt } => {
                let lock = &self.world.counter.0;
                let mut counter = if attempt {
                    match lock.try_lock() {
                        Ok(counter) => counter,
                        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                        Err(TryLockError::WouldBlock) => return,
                    }
                } else {
                    unpoisoned(lock.lock())
                };
                let before = *counter;
                self.body(body);
                *counter = before + 1;
                self.world.counter.1.fetch_add(1, SeqCst);
            }
        }
    }

    fn permits(&self, permits: u32, patience: Patience, body: &Body) {
        let semaphore = &self.world.semaphore;
        let permit: Result<SemaphorePermit<'_>, _> = match patience {
            Patience::Endless => semaphore.acquire_many(permits).map_err(drop),
            Patience::Until(limit) => semaphore.acquire_many_timeout(permits, limit).map_err(drop),
            Patience::None => semaphore.try_acquire_many(permits).map_err(drop),
            Patience::Owned => {
                let Ok(permit) = semaphore.clone().acquire_many_owned(permits) else { return };
                return with(permit, &self.world, permits, || self.body(body));
            }
        };
        if let Ok(permit) = permit {
            with(permit, &self.world, permits, || self.body(body));
        }
    }

    fn take(&self, take: Take) -> Token {
        let home = &self.world.home.1;
        match take {
            Take::Recv => home.recv().unwrap(),
            Take::Timeout(limit) => loop {
                if let Ok(token) = home.recv_timeout(limit) {
                    return token;
                }
            },
            Take::After(limit) => loop {
                select! {
                    recv(home) -> token => return token.unwrap(),
                    recv(after(limit)) -> _ => {}
                }
            },
            Take::Ready => loop {
                let mut choice = Select::new();
                choice.recv(home);
                choice.ready();
                if let Ok(token) = home.try_recv() {
                    return token;
                }
            },
            Take::Async => pirn::block_on(home.recv_async()).unwrap(),
            Take::Slow(pause) => {
                let mut choice = Select::new();
                choice.recv(home);
                let chosen = choice.select();
                self.pause(pause);
                chosen.recv(home).unwrap()
            }
        }
    }

    /// A token that does not arrive, since nobody is there, goes home by its destructor.
    fn pass(&self, token: Token, pass: Pass) {
        let world = &self.world;
        let route = |number: u8| &world.routes[usize::from(number)];
        match pass {
            Pass::Home => drop(world.home.0.send(token)),
            Pass::Route(number) => drop(route(number).send(token)),
            Pass::Timeout(number, limit) => drop(route(number).send_timeout(token, limit)),
            Pass::Async(number) => drop(pirn::block_on(route(number).send_async(token))),
            Pass::Either(limit) => {
                let mut token = Some(token);
                drop(timeout(limit, || {
                    select! {
                        send(world.routes[0], token.take().unwrap()) -> sent => drop(sent),
                        send(world.routes[1], token.take().unwrap()) -> sent => drop(sent),
                    }
                }));
            }
            Pass::Slow(pause) => {
                let mut choice = Select::new();
                for route in &world.routes {
                    choice.send(route);
                }
                let chosen = choice.select();
                let number = chosen.index();
                self.pause(pause);
                drop(chosen.send(&world.routes[number], token));
            }
        }
    }
}

/// Runs `f` with a permit, counted as out before it is back.
fn with<Permit>(permit: Permit, world: &World, permits: u32, f: impl FnOnce()) {
    // Locals are dropped in reverse.
    let _permit = permit;
    let _out = Out::new(world, permits);
    f();
}

/// Permits that are out.
struct Out<'a>(&'a AtomicUsize, usize);

impl<'a> Out<'a> {
    fn new(world: &'a World, permits: u32) -> Out<'a> {
        let permits = permits as usize;
        let out = world.out.fetch_add(permits, SeqCst) + permits;
        world.check(out <= crate::world::PERMITS, "more permits are out than there are");
        Out(&world.out, permits)
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, SeqCst);
    }
}

struct Coin<'a>(&'a World);

impl Drop for Coin<'_> {
    fn drop(&mut self) {
        // Nothing may end the wait for the lock, or the coin would be lost.
        pirn::shield(|| *unpoisoned(self.0.coins.0.lock()) += 1);
        self.0.coins.1.notify_one();
    }
}

/// Puts the pair right when it is cut short.
struct Writing<'a>(&'a mut (usize, usize));

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.0 = self.0.1;
    }
}
