//! Coroutines that end together, and those that wait for each other.

use crate::context::Context;
use crate::program::{Body, Kind, Member, Pause, Start, Together, Transient};
use crate::world::{Value, World};
use pirn::sync::Barrier;
use pirn::task::{Failure, Group, try_scope};
use pirn::thread::{self, Thread};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

impl Context {
    pub(crate) fn together(&self, together: &Together) {
        let Together { kind, members, own } = together;
        match kind {
            Kind::Scope => self.scope(members, own),
            Kind::TryScope => self.try_scope(members, own),
            Kind::FailFast => {
                let mut group = Group::fail_fast();
                let failing = members.iter().filter(|member| member.fails).count();
                members.iter().for_each(|member| group.spawn(self.member(member)));
                self.body(own);
                match group.join() {
                    Ok(values) => {
                        let all = failing == 0 && values.len() == members.len();
                        self.world.check(all, "a group has all values and a failure");
                    }
                    Err(Failure::Error(_)) => self.world.check(failing > 0, "a group has failed"),
                    Err(Failure::Cancelled) => {
                        self.world.check(self.doomed, "a group's member was cancelled");
                    }
                }
            }
            Kind::FirstOk => {
                let mut group = Group::first_ok();
                let failing = members.iter().filter(|member| member.fails).count();
                members.iter().for_each(|member| group.spawn(self.member(member)));
                self.body(own);
                match group.join() {
                    Ok(_) => self.world.check(failing < members.len(), "of a group, all failed"),
                    Err(failures) => {
                        let all = failing == members.len() && failures.len() == failing;
                        self.world.check(all || self.doomed, "a group has lost a value");
                    }
                }
            }
            Kind::Dropped => {
                let mut group = Group::<Value, Value>::collect();
                members.iter().for_each(|member| group.spawn(self.member(member)));
                self.body(own);
            }
        }
    }

    fn member(&self, member: &Member) -> impl FnOnce() -> Result<Value, Value> + Send + use<> {
        let task = self.task(Start::Spawn, self.doomed, self.run_body(&member.body));
        let fails = member.fails;
        move || {
            let value = task.run();
            if fails { Err(value) } else { Ok(value) }
        }
    }

    fn scope(&self, members: &[Member], own: &Body) {
        let borrowed = Borrowed(AtomicUsize::new(0), &self.world);
        thread::scope(|scope| {
            let spawn = |member: &Member| {
                let task = self.task(Start::Spawn, self.doomed, self.run_body(&member.body));
                let watched = task.watched(member.fails);
                let borrow = borrowed.borrow();
                let handle = scope.spawn(move || {
                    let _borrow = borrow;
                    task.run()
                });
                if member.fails {
                    self.pause(Pause::Yield);
                    let _outcome = handle.cancel();
                }
                (handle, watched)
            };
            let handles: Vec<_> = members.iter().map(spawn).collect();
            self.body(own);
            handles.into_iter().for_each(|(handle, watched)| watched.joined(handle.join()));
        });
    }

    fn try_scope(&self, members: &[Member], own: &Body) {
        let borrowed = Borrowed(AtomicUsize::new(0), &self.world);
        let failed = AtomicBool::new(false);
        let fates = Mutex::new(Vec::new());
        let result = try_scope(|scope| {
            for member in members {
                let task = self.task(Start::Spawn, self.doomed, self.run_body(&member.body));
                fates.lock().unwrap().push(task.fate.clone());
                let (borrow, failed, fails) = (borrowed.borrow(), &failed, member.fails);
                scope.spawn(move || {
                    let _borrow = borrow;
                    let value = task.run();
                    failed.fetch_or(fails, SeqCst);
                    if fails { Err(value) } else { Ok(()) }
                });
            }
            self.body(own);
            Ok(())
        });
        let failed = failed.load(SeqCst);
        match result {
            Err(_) => self.world.check(failed, "a scope has failed"),
            Ok(()) => {
                let all = fates.lock().unwrap().iter().all(|fate| fate.has_returned());
                self.world.check(self.doomed || all && !failed, "a scope has hidden a failure");
            }
        }
    }

    pub(crate) fn barrier(&self, parties: usize, rounds: u8) {
        let barrier = Barrier::new(parties);
        let leaders = AtomicUsize::new(0);
        let meet = |context: &Context| {
            for round in 0..rounds {
                let led = barrier.wait().is_leader();
                let before = leaders.fetch_add(led.into(), SeqCst);
                if led && before != round.into() {
                    context.world.fail(format!("round {round} is led after {before}"));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..parties {
                let task = self.task(Start::Spawn, self.doomed, meet);
                drop(scope.spawn(move || drop(task.run())));
            }
            meet(self);
        });
    }

    pub(crate) fn ping_pong(&self, start: Start, rounds: usize) {
        let table = Arc::new(Mutex::new(Table { turn: 0, over: false, players: [None, None] }));
        let (ours, theirs) = (Player(table.clone(), 0), Player(table, 1));
        let other = self.launch(start, self.doomed, move |_| theirs.play(rounds));
        ours.play(rounds);
        drop(ours);
        other.join();
    }

    pub(crate) fn transient(&self, transient: &Transient) {
        let builder = pirn::Builder::new().name("transient").workers(transient.workers);
        let runtime = builder.build().unwrap();
        for body in &transient.spawned {
            let task = self.task(Start::Spawn, true, self.run_body(body));
            drop(runtime.spawn(move || task.run()));
        }
        if let Some(body) = &transient.run {
            let task = self.task(Start::Spawn, true, self.run_body(body));
            drop(runtime.run(move || task.run()));
        }
        self.pause(transient.pause);
        match transient.shutdown {
            true => runtime.shutdown(Duration::from_secs(600)).unwrap(),
            false => drop(runtime),
        }
    }
}

/// Borrows that are all over when the scope is, whatever has ended it.
struct Borrowed<'a>(AtomicUsize, &'a World);

impl<'a> Borrowed<'a> {
    fn borrow(&self) -> Borrow<'_> {
        self.0.fetch_add(1, SeqCst);
        Borrow(&self.0)
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.1.check(self.0.load(SeqCst) == 0, "a scope has ended before its coroutines");
    }
}

struct Borrow<'a>(&'a AtomicUsize);

impl Drop for Borrow<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

struct Table {
    turn: usize,
    /// One of them has left.
    over: bool,
    players: [Option<Thread>; 2],
}

/// One of two who take turns, and park while it is the other one's.
struct Player(Arc<Mutex<Table>>, usize);

impl Player {
    fn play(&self, rounds: usize) {
        let Player(table, number) = self;
        table.lock().unwrap().players[*number] = Some(thread::current());
        for _ in 0..rounds {
            loop {
                let mut table = table.lock().unwrap();
                if table.over {
                    return;
                }
                if table.turn % 2 == *number {
                    table.turn += 1;
                    break self.wake(&table);
                }
                drop(table);
                thread::park();
            }
        }
    }

    fn wake(&self, table: &Table) {
        if let Some(other) = &table.players[1 - self.1] {
            other.unpark();
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let mut table = self.0.lock().unwrap();
        table.over = true;
        self.wake(&table);
    }
}
