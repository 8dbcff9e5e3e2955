//! How coroutines and threads begin, what becomes of them, and what their joins say of it.

use crate::context::{Boom, Context, caught};
use crate::program::{Body, Start};
use crate::world::{Live, Value, World};
use pirn::Cancelled;
use pirn::channel::{Receiver, bounded};
use pirn::thread::{self, Builder, JoinHandle, LocalJoinHandle};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

impl Context {
    pub(crate) fn run_body(&self, body: &Body) -> impl FnOnce(&Context) + Send + use<> {
        let body = body.clone();
        move |context| context.body(&body)
    }

    pub(crate) fn task<F>(&self, start: Start, doomed: bool, f: F) -> Task<F> {
        Task::new(&self.world, start, doomed, f)
    }

    /// Starts one that may be left alone.
    pub(crate) fn launch(
        &self,
        start: Start,
        doomed: bool,
        f: impl FnOnce(&Context) + Send + 'static,
    ) -> Started {
        let in_coroutine = || pirn::current_metrics().is_some();
        let doomed = doomed && !matches!(start, Start::Elsewhere | Start::Thread);
        let task = self.task(start, doomed, f);
        let watched = task.watched(false);
        let handle = match start {
            Start::Local if in_coroutine() => {
                Handle::Local(thread::spawn_local(move || task.run()))
            }
            Start::Spawn | Start::Local => Handle::Any(pirn::spawn(move || task.run())),
            // AddressSanitizer doubles what frames take.
            Start::Small => {
                let size = if cfg!(feature = "sanitizer") { 256 } else { 64 } * 1024;
                let small = Builder::new().stack_size(size);
                Handle::Any(small.spawn(move || task.run()).unwrap())
            }
            Start::Migrating => Handle::Any(migrating().spawn(move || task.run()).unwrap()),
            Start::Elsewhere => Handle::Any(self.world.other.spawn(move || task.run())),
            Start::Thread => {
                let (alive, ended) = bounded(0);
                drop(std::thread::spawn(move || {
                    let _alive = alive;
                    caught(|| drop(task.run()));
                }));
                Handle::Thread(ended)
            }
        };
        Started { handle, watched }
    }
}

#[cfg(feature = "migrating")]
#[expect(unsafe_code, reason = "spawns migrating coroutines, which is unsafe")]
fn migrating() -> Builder {
    // SAFETY: those that migrate only pause, panic, spawn, send and receive, and keep nothing across that
    // is bound to a thread.
    unsafe { Builder::new().migrating() }
}

#[cfg(not(feature = "migrating"))]
fn migrating() -> Builder {
    Builder::new()
}

/// How somebody has ended.
#[derive(Default)]
pub(crate) struct Fate(AtomicU8);

const RETURNED: u8 = 1;
const PANICKED: u8 = 2;
const CUT: u8 = 3;

impl Fate {
    pub(crate) fn has_returned(&self) -> bool {
        self.0.load(SeqCst) == RETURNED
    }
}

/// What one runs from its beginning to its end.
pub(crate) struct Task<F> {
    f: F,
    world: Arc<World>,
    start: Start,
    doomed: bool,
    pub(crate) fate: Arc<Fate>,
    /// Last, since it says that the rest has gone.
    live: Live,
}

impl<F> Task<F> {
    pub(crate) fn new(world: &Arc<World>, start: Start, doomed: bool, f: F) -> Task<F> {
        let (world, live) = (world.clone(), Live::new(world));
        Task { f, world, start, doomed, fate: Arc::default(), live }
    }

    /// What a join of it will be compared with.
    pub(crate) fn watched(&self, cut: bool) -> Watched {
        Watched { world: self.world.clone(), fate: self.fate.clone(), cut: cut || self.doomed }
    }
}

impl<F: FnOnce(&Context)> Task<F> {
    pub(crate) fn run(self) -> Value {
        let Task { f, world, start, doomed, fate, live } = self;
        let _live = live;
        let context = Context::new(world, doomed, start);
        context.begin();
        let value = Value::new(&context.world);
        let ended = catch_unwind(AssertUnwindSafe(|| f(&context)));
        context.end();
        let Err(payload) = ended else {
            fate.0.store(RETURNED, SeqCst);
            return value;
        };
        if payload.is::<Boom>() {
            fate.0.store(PANICKED, SeqCst);
        } else if payload.is::<Cancelled>() {
            fate.0.store(CUT, SeqCst);
        } else {
            context.world.fail(format!("a panic: {}", describe(&*payload)));
        }
        resume_unwind(payload)
    }
}

/// What a panic says, or what it is.
pub(crate) fn describe(payload: &dyn Any) -> &str {
    if payload.is::<Cancelled>() {
        return "a cancellation";
    }
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref().copied()).unwrap_or("of another kind")
}

/// Compares what a join says with what has happened.
pub(crate) struct Watched {
    world: Arc<World>,
    fate: Arc<Fate>,
    /// Whether it may have been cancelled.
    cut: bool,
}

impl Watched {
    pub(crate) fn joined<T>(&self, result: thread::Result<T>) {
        let fate = self.fate.0.load(SeqCst);
        let right = match &result {
            Ok(_) => fate == RETURNED,
            Err(payload) if payload.is::<Boom>() => fate == PANICKED,
            Err(payload) if payload.is::<Cancelled>() => matches!(fate, 0 | CUT) && self.cut,
            Err(_) => false,
        };
        if !right {
            let result = result.as_ref().map(drop).map_err(|payload| describe(&**payload));
            let cut = self.cut;
            self.world.fail(format!("{result:?} is joined of fate {fate}, cancelled: {cut}"));
        }
    }
}

enum Handle {
    Any(JoinHandle<Value>),
    Local(LocalJoinHandle<Value>),
    Thread(Receiver<()>),
}

pub(crate) struct Started {
    handle: Handle,
    watched: Watched,
}

impl Started {
    pub(crate) fn cancel(mut self) -> Started {
        self.watched.cut = true;
        match &self.handle {
            Handle::Any(handle) => _ = handle.cancel(),
            Handle::Local(handle) => _ = handle.cancel(),
            Handle::Thread(_) => {}
        }
        self
    }

    pub(crate) fn join(self) {
        match self.handle {
            Handle::Any(handle) => self.watched.joined(handle.join()),
            Handle::Local(handle) => self.watched.joined(handle.join()),
            Handle::Thread(ended) => _ = ended.recv(),
        }
    }
}
