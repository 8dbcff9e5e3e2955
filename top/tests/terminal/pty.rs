//! A terminal for a program, and what the program shows there.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ROWS: u16 = 30;
const COLUMNS: u16 = 120;
/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Pty {
    own: File,
    /// The program's end, to look at its modes after the program has ended.
    theirs: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Pty {
    /// A program with this for its terminal.
    pub(crate) fn start(command: &mut Command) -> (Pty, Child) {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&own).unwrap();
        unlockpt(&own).unwrap();
        let name = ptsname(&own, Vec::new()).unwrap().into_string().unwrap();
        let theirs = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&own, size).unwrap();
        let end = || theirs.try_clone().unwrap();
        let command = command.env("TERM", "xterm-256color").stdin(end()).stdout(end());
        let child = command.stderr(end()).spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let own = File::from(own);
        let (mut from, shown) = (own.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..count]);
            }
        });
        (Pty { own, theirs, screen }, child)
    }

    pub(crate) fn press(&self, keys: &str) {
        (&self.own).write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is like that, and returns its text.
    #[track_caller]
    pub(crate) fn until(&self, is_right: impl Fn(&vt100::Screen) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let parser = self.screen.lock().unwrap();
                if is_right(parser.screen()) {
                    return parser.screen().contents();
                }
                let text = parser.screen().contents();
                assert!(Instant::now() < deadline, "never seen: {text}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub(crate) fn until_shown(&self, part: &str) -> String {
        self.until(|screen| screen.contents().contains(part))
    }

    /// Whether keys are read as they are pressed, and nothing shows them.
    pub(crate) fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the program's end; the terminal is as it was.
    #[track_caller]
    pub(crate) fn ends_restored(&self, mut child: Child) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        self.until(|screen| !screen.alternate_screen() && !screen.hide_cursor());
        assert!(!self.is_raw());
        status
    }
}
