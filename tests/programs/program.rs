//! What programs are made of. A program is data, so that it can be printed.

use std::sync::Arc;
use std::time::Duration;

/// A program: coroutines and threads, each with its body.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) tasks: Vec<(Root, Body)>,
    pub(crate) ending: Ending,
}

/// Where a program's own tasks run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Root {
    Runtime,
    /// On another runtime, which outlives the program.
    Elsewhere,
    Thread,
}

/// How a program ends: all of these wait until each task has come to an end, of whatever kind.
#[derive(Debug)]
pub(crate) enum Ending {
    Wait,
    /// The tasks' coroutines are cancelled after so long.
    Cancel(Duration),
    /// The runtime is dropped after so long.
    DropRuntime(Duration),
}

pub(crate) type Body = Arc<[Op]>;

#[derive(Debug)]
pub(crate) enum Op {
    Pause(Pause),
    /// Waits until it is cancelled, which will be so.
    Endless(Endless),
    Panic,
    /// Gets a shared resource, and has it during the body.
    Hold(Hold, Body),
    /// Runs the body in some surroundings.
    Inside(Inside, Body),
    /// The second one runs in a destructor, after the first or in the midst of it.
    Late(Body, Body),
    Child(Child),
    Together(Together),
    Repeat(u8, Body),
    Traffic(Traffic),
    /// Parties that meet so many times, of which one leads each time.
    Barrier(u8, u8),
    /// Two who unpark each other so many times.
    PingPong(Start, u8),
    Transient(Transient),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pause {
    No,
    Yield,
    Sleep(Duration),
    Park(Duration),
    Spin(u32),
    Blocking,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Endless {
    Sleep,
    Park,
    Recv,
    Acquire,
    Join,
}

/// A shared resource, and how to come by it. The order is theirs: see the top.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// A message that goes from hand to hand.
    Token(Take, Pass),
    Permits(u32, Patience),
    Coin(Option<Duration>),
    Read,
    Write {
        downgrade: bool,
    },
    Lock {
        attempt: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    Endless,
    Owned,
    Until(Duration),
    None,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Take {
    Recv,
    Timeout(Duration),
    After(Duration),
    Ready,
    Async,
    /// With something between the choice and the operation.
    Slow(Pause),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pass {
    Home,
    Route(u8),
    Timeout(u8, Duration),
    Either(Duration),
    Async(u8),
    Slow(Pause),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Inside {
    Timeout(Duration),
    Token(Duration),
    /// Under a token that another coroutine cancels.
    Cancelled(Pause),
    Shield,
    InPlace,
    Caught,
    Blocking,
    /// Run on another runtime.
    Elsewhere,
}

/// How a coroutine or a thread comes to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Spawn,
    /// With a small stack.
    Small,
    /// Any worker resumes it, with the feature `migrating`.
    Migrating,
    Local,
    Elsewhere,
    Thread,
}

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) start: Start,
    pub(crate) body: Body,
    pub(crate) between: Pause,
    pub(crate) end: End,
}

/// What becomes of a child's handle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Join,
    Drop,
    CancelAndJoin,
    CancelAndDrop,
}

/// Children who end together.
#[derive(Debug)]
pub(crate) struct Together {
    pub(crate) kind: Kind,
    pub(crate) members: Vec<Member>,
    pub(crate) own: Body,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Scope,
    TryScope,
    FailFast,
    FirstOk,
    /// A group that is dropped.
    Dropped,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) body: Body,
    /// Returns an error; in a plain scope, it is cancelled.
    pub(crate) fails: bool,
}

/// Messages from producers to consumers.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) capacities: Vec<Option<usize>>,
    pub(crate) producers: Vec<Party<SendWay>>,
    pub(crate) consumers: Vec<Party<RecvWay>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Party<Way> {
    pub(crate) start: Start,
    /// Those that it uses, by number.
    pub(crate) channels: Vec<usize>,
    pub(crate) way: Way,
    /// How many messages it makes, or takes at most.
    pub(crate) messages: usize,
    pub(crate) pause: Pause,
    /// What it does in the midst of it.
    pub(crate) body: Body,
    /// It is cancelled after that.
    pub(crate) cut: Option<Pause>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum SendWay {
    Send,
    Try,
    Timeout(Duration),
    /// In a timeout, which ends the send and takes the message with it.
    Limited(Duration),
    Async,
    Select,
    SelectTimeout(Duration),
    Slow(Pause),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum RecvWay {
    Recv,
    Iter,
    Try,
    Timeout(Duration),
    Limited(Duration),
    Async,
    Select,
    SelectTimeout(Duration),
    Ready,
    Slow(Pause),
}

/// A runtime that comes and goes.
#[derive(Debug)]
pub(crate) struct Transient {
    pub(crate) workers: usize,
    pub(crate) spawned: Vec<Body>,
    pub(crate) run: Option<Body>,
    pub(crate) pause: Pause,
    pub(crate) shutdown: bool,
}
