//! Where coroutines are that do not run.
//!
//! The registers of a suspended coroutine are corosensei's secret. So its home resumes it for a
//! moment: the coroutine calls back *on its machine's own stack* and is suspended again. A walk from
//! there sees the coroutine's frames below the callback's, by the same tables by which a panic goes
//! from one stack to the other. The coroutine's own stack is written to where it was when it was
//! suspended, and a few words below.
//!
//! Addresses are all that is taken. Their names are looked up when somebody asks.

#![expect(unsafe_code, reason = "walks a stack without the lock that other systems need")]

use super::StackFrame;
use crate::sched::Sighting;
use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Frames beyond that are not looked at.
const DEEPEST: usize = 128;

/// Functions of the way into the runtime, which say nothing but that the coroutine waits.
const INNER: Part = Part {
    names: &[
        "core::ops::function::",
        "corosensei::",
        "pirn::channel::host::",
        "pirn::coroutine::",
        "pirn::park::",
        "pirn::protocol::",
        "pirn::sched::",
    ],
    own: &["channel/host.rs", "coroutine/", "park/", "protocol/", "sched/"],
    others: &["/library/core/src/ops/function.rs", "/corosensei-"],
};
/// Functions that ask for a dump and wait for it.
const DUMP: Part =
    Part { names: &["pirn::dump::collect::"], own: &["dump/collect.rs"], others: &[] };
/// Functions between the runtime and what it runs.
const OUTER: Part = Part {
    names: &[
        "__rust_try",
        "core::ops::function::",
        "core::panic::",
        "corosensei::",
        "pirn::coroutine::",
        "pirn::sched::",
        "stack_init_trampoline",
        "std::panic",
    ],
    own: &["coroutine/", "sched/"],
    others: &[
        "/library/core/src/ops/function.rs",
        "/library/core/src/panic/",
        "/library/std/src/panic",
        "/corosensei-",
    ],
};

/// Functions that a stack is shown without. Debug information that has lines alone, as many build
/// for release, gives a function's name without its path: such a function is known by its file.
struct Part {
    /// How the names begin.
    names: &'static [&'static str],
    /// How the paths of this crate's files begin, below its sources.
    own: &'static [&'static str],
    /// What is in the paths of other crates' files.
    others: &'static [&'static str],
}

impl Part {
    fn contains(&self, frame: &StackFrame) -> bool {
        let name = frame.function.trim_start_matches('<');
        self.names.iter().any(|start| name.starts_with(start))
            || frame.place.as_ref().is_some_and(|(file, _)| {
                let below = below_sources(file);
                below.is_some_and(|path| self.own.iter().any(|start| path.starts_with(start)))
                    || self.others.iter().any(|part| file.contains(part))
            })
    }
}

/// The path of one of this crate's files below its sources.
fn below_sources(file: &str) -> Option<&str> {
    // The compiler's path of this very file may be relative; debug information's never is.
    let sources = file!().strip_suffix("dump/stacks/walked.rs")?;
    let (before, below) = file.split_once(sources)?;
    (before.is_empty() || before.ends_with('/')).then_some(below)
}

/// Where a coroutine is: the calls on its stack, the innermost first. Only with the feature
/// `dump-stacks`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StackTrace(Arc<[usize]>);

impl StackTrace {
    /// The calls, without those of the runtime around them. The first call of this in a process reads
    /// the program's debug information, which takes some time.
    #[must_use]
    pub fn frames(&self) -> Vec<StackFrame> {
        let mut frames: Vec<_> = self.0.iter().flat_map(|&address| resolve(address)).collect();
        // Whoever takes the dump is in it, with all that std does in between.
        let takes = frames.iter().rposition(|frame| DUMP.contains(frame));
        frames.drain(..takes.map_or(0, |last| last + 1));
        let inner = frames.iter().take_while(|frame| INNER.contains(frame)).count();
        frames.drain(..inner);
        let outer = frames.iter().rev().take_while(|frame| OUTER.contains(frame)).count();
        frames.truncate(frames.len() - outer);
        frames
    }
}

impl fmt::Display for StackTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for frame in self.frames() {
            writeln!(f, "    {}", frame.function)?;
            if let Some((file, line)) = &frame.place {
                writeln!(f, "        at {file}:{line}")?;
            }
        }
        Ok(())
    }
}

/// The calls at an address, those that were inlined first.
fn resolve(address: usize) -> Vec<StackFrame> {
    /// What was looked up before: many coroutines are at few places.
    static KNOWN: LazyLock<Mutex<HashMap<usize, Vec<StackFrame>>>> = LazyLock::new(Mutex::default);

    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let frames = known.entry(address).or_insert_with(|| {
        let mut frames = Vec::new();
        backtrace::resolve(ptr::without_provenance_mut::<c_void>(address), |symbol| {
            let function =
                symbol.name().map_or_else(|| "(unknown)".into(), |name| format!("{name:#}"));
            let file = symbol.filename().map(|file| file.display().to_string());
            frames.push(StackFrame { function, place: file.zip(symbol.lineno()) });
        });
        if frames.is_empty() {
            frames.push(StackFrame { function: format!("{address:#x}"), place: None });
        }
        frames
    });
    frames.clone()
}

/// The stacks that one machine has walked: each is kept once.
#[derive(Default)]
pub(crate) struct Walked {
    all: HashSet<Arc<[usize]>>,
    /// Room for one walk: where each frame's caller has its own, and the address.
    frames: Vec<(usize, usize)>,
}

impl Walked {
    pub(crate) fn walk(&mut self, sighting: &Sighting<'_>) -> Option<StackTrace> {
        self.frames.clear();
        let frames = &mut self.frames;
        let stack = sighting.call_within(&mut || {
            // SAFETY: the lock that this does without is for systems whose walks have a state of
            // their own; those of Unix have none.
            unsafe {
                backtrace::trace_unsynchronized(|frame| {
                    frames.push((frame.sp().addr(), frame.ip().addr()));
                    frames.len() < DEEPEST
                });
            }
        })?;
        // The callback's own frames, and the machine's, are on another stack.
        let own = |&&(place, _): &&(usize, usize)| stack.contains(&place);
        let addresses: Vec<usize> = self.frames.iter().filter(own).map(|frame| frame.1).collect();
        if let Some(known) = self.all.get(addresses.as_slice()) {
            return Some(StackTrace(known.clone()));
        }
        let addresses: Arc<[usize]> = addresses.into();
        self.all.insert(addresses.clone());
        Some(StackTrace(addresses))
    }
}
