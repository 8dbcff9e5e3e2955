//! Those who take part in a [`race`](crate::race), and in the echo.

mod floor;
mod go;
#[cfg(feature = "peers")]
mod on_may;
mod on_pirn;
mod on_threads;
#[cfg(feature = "peers")]
mod on_tokio;

use crate::files;
use crate::race::this_program;
pub(crate) use on_pirn::echo as echo_by_pirn;
use std::io;
use std::process::Command;

/// Servers that work on files beside their echo, or do not.
pub(crate) const NO_FILES: &str = "no file work";
/// By `pirn::fs`.
pub(crate) const OUR_FILES: &str = "file work by pirn::fs";
/// By `std::fs`.
pub(crate) const STD_FILES: &str = "file work by std::fs";

/// Figures, unless there is no such work for this contestant.
type Figures = Option<Vec<f64>>;

/// One that is built into this program.
pub(crate) struct Contestant {
    name: &'static str,
    /// By a number of workers, the name of the work, and its numbers.
    pub(crate) work: fn(usize, &str, &[u64]) -> Figures,
    /// Echo: prints the address, and serves until the process is killed.
    pub(crate) serve: Option<fn() -> io::Result<()>>,
}

const BUILT_IN: &[Contestant] = &[
    Contestant { name: "floor", work: floor::work, serve: Some(crate::epoll::serve) },
    Contestant { name: "threads", work: on_threads::work, serve: None },
    #[cfg(feature = "peers")]
    Contestant { name: "may", work: on_may::work, serve: Some(on_may::serve) },
    #[cfg(feature = "peers")]
    Contestant { name: "tokio", work: on_tokio::work, serve: Some(on_tokio::serve) },
    Contestant { name: "pirn", work: on_pirn::work, serve: Some(on_pirn::serve) },
    Contestant { name: NO_FILES, work: on_pirn::work, serve: Some(files::serve_beside_nothing) },
    Contestant { name: OUR_FILES, work: on_pirn::work, serve: Some(files::serve_beside_ours) },
    Contestant { name: STD_FILES, work: on_pirn::work, serve: Some(files::serve_beside_std) },
];

pub(crate) fn built_in(name: &str) -> Option<&'static Contestant> {
    BUILT_IN.iter().find(|contestant| contestant.name == name)
}

pub(crate) fn is_built(name: &str) -> bool {
    built_in(name).is_some() || name == "go" && cfg!(feature = "peers")
}

/// What to run for a contestant, but for the numbers; the mode is `work` or `serve`.
pub(crate) fn program(name: &str, mode: &str) -> io::Result<Command> {
    if name == "go" { go::program(mode) } else { this_program(name, mode) }
}
