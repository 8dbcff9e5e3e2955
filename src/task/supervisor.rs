//! Running something again when it has failed.

use crate::coroutine::is_cancellation;
use crate::thread::{self, JoinHandle};
use crate::time::{Duration, Instant, sleep};
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs something again when it has failed, later each time, and gives up when it fails too often:
/// a supervisor as Erlang's, of one child.
///
/// To fail is to return an error or to panic. Cancelling the supervisor's coroutine cancels what it
/// runs, and is no failure.
///
/// # Examples
///
/// ```
/// use pirn::task::Supervisor;
/// use std::time::Duration;
///
/// let mut attempts = 0;
/// let answer = Supervisor::new().back_off(Duration::from_millis(1)..Duration::from_secs(1)).run(|| {
///     attempts += 1;
///     if attempts < 3 { Err("not yet") } else { Ok(42) }
/// });
/// assert_eq!(answer.unwrap(), 42);
///
/// let gave_up = Supervisor::new().restarts(2, Duration::from_secs(60)).run(|| Err::<(), _>("never"));
/// assert_eq!(gave_up.unwrap_err().to_string(), "gave up after 2 restarts: never");
/// ```
pub struct Supervisor<E> {
    restarts: usize,
    within: Duration,
    shortest: Duration,
    longest: Duration,
    on_restart: Option<OnRestart<E>>,
}

type OnRestart<E> = Box<dyn FnMut(&Fault<E>, Duration) + Send>;

/// Why something is run again, or not any more.
pub enum Fault<E> {
    /// It returned this.
    Error(E),
    /// It panicked with this.
    Panicked(Box<dyn Any + Send>),
}

impl<E: fmt::Debug> fmt::Debug for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Error(error) => f.debug_tuple("Error").field(error).finish(),
            Fault::Panicked(payload) => f.debug_tuple("Panicked").field(&message(payload)).finish(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Error(error) => error.fmt(f),
            Fault::Panicked(payload) => write!(f, "panicked: {}", message(payload)),
        }
    }
}

/// What a panic had to say.
fn message(payload: &Box<dyn Any + Send>) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "with no text",
    }
}

/// What a [`Supervisor`] returns that gives up.
#[derive(Debug)]
pub struct GaveUp<E> {
    /// How often it was run again.
    pub restarts: usize,
    /// How it has failed the last time.
    pub fault: Fault<E>,
}

impl<E: fmt::Display> fmt::Display for GaveUp<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gave up after {} restarts: {}", self.restarts, self.fault)
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for GaveUp<E> {}

impl<E> Default for Supervisor<E> {
    fn default() -> Self {
        Supervisor::new()
    }
}

impl<E> Supervisor<E> {
    /// One that gives up at the sixth failure within a minute, and waits 10 ms before it runs again,
    /// then 20 ms, and so on, up to 5 s.
    #[must_use]
    pub fn new() -> Supervisor<E> {
        Supervisor {
            restarts: 5,
            within: Duration::from_secs(60),
            shortest: Duration::from_millis(10),
            longest: Duration::from_secs(5),
            on_restart: None,
        }
    }

    /// Gives up when there would be more than so many restarts within so much time.
    #[must_use]
    pub fn restarts(mut self, restarts: usize, within: Duration) -> Supervisor<E> {
        (self.restarts, self.within) = (restarts, within);
        self
    }

    /// The pause before the first restart, which doubles with each one in a row, and its upper limit.
    /// After a run that was longer than the limit it begins anew.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    #[must_use]
    #[track_caller]
    pub fn back_off(mut self, pause: std::ops::Range<Duration>) -> Supervisor<E> {
        assert!(!pause.is_empty(), "a pause between {:?} and {:?}", pause.start, pause.end);
        (self.shortest, self.longest) = (pause.start, pause.end);
        self
    }

    /// Calls `f` before each restart, with what has happened and how long the pause is going to be.
    #[must_use]
    pub fn on_restart(mut self, f: impl FnMut(&Fault<E>, Duration) + Send + 'static) -> Self {
        self.on_restart = Some(Box::new(f));
        self
    }

    /// Runs `f` here until it succeeds.
    ///
    /// # Errors
    ///
    /// [`GaveUp`].
    pub fn run<F, T>(mut self, mut f: F) -> Result<T, GaveUp<E>>
    where
        F: FnMut() -> Result<T, E>,
    {
        let mut recent = VecDeque::new();
        let (mut restarts, mut pause) = (0, self.shortest);
        loop {
            let start = Instant::now();
            let fault = match catch_unwind(AssertUnwindSafe(&mut f)) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => Fault::Error(error),
                Err(payload) if is_cancellation(&*payload) => resume_unwind(payload),
                Err(payload) => Fault::Panicked(payload),
            };
            let now = Instant::now();
            while recent.front().is_some_and(|&then| now.duration_since(then) > self.within) {
                recent.pop_front();
            }
            if recent.len() >= self.restarts {
                return Err(GaveUp { restarts, fault });
            }
            if now.duration_since(start) > self.longest {
                pause = self.shortest;
            }
            if let Some(told) = &mut self.on_restart {
                told(&fault, pause);
            }
            // What it owns goes before the pause.
            drop(fault);
            sleep(pause);
            pause = pause.saturating_mul(2).min(self.longest);
            recent.push_back(now);
            restarts += 1;
        }
    }

    /// [`run`](Supervisor::run) in a coroutine of its own.
    ///
    /// # Errors
    ///
    /// If there is no stack to be had.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<Result<T, GaveUp<E>>>>
    where
        F: FnMut() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        thread::Builder::new().name("supervisor".into()).spawn(move || self.run(f))
    }
}

impl<E> fmt::Debug for Supervisor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("restarts", &self.restarts)
            .field("within", &self.within)
            .field("back_off", &(self.shortest..self.longest))
            .finish_non_exhaustive()
    }
}
