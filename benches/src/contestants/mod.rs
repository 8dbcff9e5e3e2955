//! Those who take part in a [`race`](crate::race), and in the echo.

mod elsewhere;
mod floor;
#[cfg(feature = "peers")]
mod on_may;
mod on_pirn;
mod on_threads;
#[cfg(feature = "peers")]
mod on_tokio;

use crate::race::this_program;
use crate::{epoll, files, http};
pub(crate) use on_pirn::{Homed, echo as echo_by_pirn};
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
    /// Echo with so many workers: prints the address, and serves until the process is killed.
    pub(crate) serve: Option<Serve>,
    /// Plain text by HTTP, likewise.
    pub(crate) http: Option<Serve>,
}

/// Of each connection of an echo, in all of them: with more, idle connections would mostly be it.
const ECHO_BUFFER: usize = 512;

type Serve = fn(usize) -> io::Result<()>;

const BUILT_IN: &[Contestant] = &[
    Contestant {
        name: "floor",
        work: floor::work,
        serve: Some(epoll::serve),
        http: Some(epoll::http),
    },
    Contestant {
        name: "floor, parsed",
        work: |_, _, _| None,
        serve: None,
        http: Some(epoll::parsed_http),
    },
    Contestant { name: "nginx", work: |_, _, _| None, serve: None, http: Some(http::nginx) },
    Contestant { name: "threads", work: on_threads::work, serve: None, http: None },
    #[cfg(feature = "peers")]
    Contestant {
        name: "may",
        work: on_may::work,
        serve: Some(on_may::serve),
        http: Some(on_may::http),
    },
    #[cfg(feature = "peers")]
    Contestant {
        name: "may, plain",
        work: |_, _, _| None,
        serve: None,
        http: Some(on_may::plain_http),
    },
    #[cfg(feature = "peers")]
    Contestant {
        name: "tokio",
        work: on_tokio::work,
        serve: Some(on_tokio::serve),
        http: Some(on_tokio::http),
    },
    Contestant {
        name: "pirn",
        work: on_pirn::work::<on_pirn::Homed>,
        serve: Some(on_pirn::serve::<on_pirn::Homed>),
        http: Some(on_pirn::http::<on_pirn::Homed>),
    },
    #[cfg(feature = "migrating")]
    Contestant {
        name: MIGRATING,
        work: on_pirn::work::<on_pirn::Migrating>,
        serve: Some(on_pirn::serve::<on_pirn::Migrating>),
        http: Some(on_pirn::http::<on_pirn::Migrating>),
    },
    Contestant {
        name: NO_FILES,
        work: |_, _, _| None,
        serve: Some(files::serve_beside_nothing),
        http: None,
    },
    Contestant {
        name: OUR_FILES,
        work: |_, _, _| None,
        serve: Some(files::serve_beside_ours),
        http: None,
    },
    Contestant {
        name: STD_FILES,
        work: |_, _, _| None,
        serve: Some(files::serve_beside_std),
        http: None,
    },
];

/// A build of its own.
const MIGRATING: &str = "pirn, migrating";

pub(crate) fn built_in(name: &str) -> Option<&'static Contestant> {
    BUILT_IN.iter().find(|contestant| contestant.name == name)
}

/// Whether it takes part: those that are built elsewhere are peers.
pub(crate) fn is_built(name: &str) -> bool {
    built_in(name).is_some()
        || cfg!(feature = "peers") && matches!(name, "go" | "gevent" | MIGRATING)
}

/// What to run for a contestant, but for the numbers; the mode is `work`, `serve` or `http`.
pub(crate) fn program(name: &str, mode: &str) -> io::Result<Command> {
    match name {
        "go" => elsewhere::go(mode),
        "gevent" => elsewhere::gevent(mode),
        MIGRATING if !cfg!(feature = "migrating") => elsewhere::migrating(mode),
        _ => this_program(name, mode),
    }
}
