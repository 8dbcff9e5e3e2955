//! `pirn-top` in a terminal: what it shows when the program goes away and comes back, and that the
//! terminal is as before when it ends, whatever ends it.

#[expect(dead_code, reason = "its main is not run")]
#[path = "../../../examples/inspect.rs"]
mod inspect;
mod pty;

use pty::Pty;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

/// A folder of a test's own, with a market to be looked at.
struct Market {
    folder: PathBuf,
    runtime: Option<pirn::Runtime>,
}

impl Market {
    fn open() -> Market {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("pirn-terminal-{}-{number}", std::process::id());
        let folder = env::temp_dir().join(folder);
        fs::create_dir(&folder).unwrap();
        let mut market = Market { folder, runtime: None };
        market.start();
        market
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    fn start(&mut self) {
        self.runtime = Some(inspect::market(self.socket().to_str().unwrap()).unwrap());
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        self.runtime = None;
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn top(socket: &Path) -> (Pty, Child) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pirn-top"));
    Pty::start(command.arg(socket).args(["--interval", "250"]))
}

#[test]
fn the_terminal_is_restored_when_it_quits() {
    let market = Market::open();
    for key in ["q", "\u{3}"] {
        let (pty, child) = top(&market.socket());
        pty.until_shown("market 0");
        assert!(pty.is_raw());
        pty.press("2");
        pty.until_shown("spawned at");
        pty.press(key);
        assert!(pty.ends_restored(child).success());
    }
}

#[test]
fn the_terminal_is_restored_when_a_signal_ends_it() {
    let market = Market::open();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (pty, child) = top(&market.socket());
        pty.until_shown("market 0");
        assert!(pty.is_raw());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = pty.ends_restored(child);
        assert_eq!(status.signal(), None, "it ends by itself");
    }
}

#[test]
fn it_shows_that_the_program_is_gone_and_connects_when_it_is_back() {
    let mut market = Market::open();
    let (pty, child) = top(&market.socket());
    pty.until_shown("market 0");
    market.runtime = None;
    pty.until_shown("no answer");
    // Keys are heard meanwhile.
    pty.press("?");
    pty.until_shown("spawn tree");
    pty.press("?");
    market.start();
    pty.until(|screen| !screen.contents().contains("no answer"));
    pty.press("3");
    pty.until_shown("mutex at 0x");
    pty.press("q");
    assert!(pty.ends_restored(child).success());
}
