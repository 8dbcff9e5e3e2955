//! Known data gives known screens, and keys do what the help says.

#[expect(dead_code, reason = "other tests wait for a text")]
#[path = "../tests/terminal/pty.rs"]
mod pty;

use crate::app::{App, Next, View};
use crate::client::plain;
use crate::ui;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};
use std::io::Read;
use std::process::Command;
use std::time::Duration;
use std::{env, io, thread};

fn app() -> App {
    App::new(Duration::from_secs(1))
}

fn press(app: &mut App, code: KeyCode) -> Next {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn screen(app: &mut App) -> String {
    let mut terminal = Terminal::new(TestBackend::new(110, 12)).unwrap();
    terminal.draw(|frame| ui::draw(app, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(110).map(|line| {
        line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn metrics(uptime: f64, busy: f64, schedules: u64) -> Value {
    json!({ "runtimes": [{ "name": "web", "uptime": uptime, "live": 42, "workers": [{
        "number": 0, "state": "running", "residents": 42, "runnable": 2, "starts": 1,
        "busy": busy, "schedules": schedules,
    }] }] })
}

#[test]
fn rates_are_differences_over_time() {
    let mut app = app();
    app.take(&plain("metrics"), Ok(metrics(10.0, 1.0, 100)));
    app.take(&plain("metrics"), Ok(metrics(12.0, 2.0, 500)));
    let text = screen(&mut app);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[1], "42 coroutines on 1 workers; blocking 0 of 0, 0 queued; up 12.0s");
    assert!(lines[2].starts_with("worker         state      busy    runs/s"), "{text}");
    let row: Vec<_> = lines[3].split_whitespace().collect();
    assert_eq!(row[..8], ["web", "0", "running", "50.0%", "200", "0", "0", "42"], "{text}");
    // The queue, and a bar of half height.
    assert_eq!((row[8], row[11]), ("3", "▄"), "{text}");
    // A program that was started anew has smaller numbers, and no rates yet.
    app.take(&plain("metrics"), Ok(metrics(1.0, 0.1, 5)));
    assert!(screen(&mut app).contains(" 0.0%"));
}

fn list(total: usize, ids: std::ops::Range<u64>) -> Value {
    let one = |id: u64| {
        json!({ "id": id, "worker": 1, "state": "parked", "waits_for": "sleep", "since": 61.5,
            "spawned_at": "src/main.rs:7:9", "children": u64::from(id == 1) })
    };
    json!({ "total": total, "coroutines": ids.map(one).collect::<Vec<_>>() })
}

#[test]
fn a_list_is_scrolled_and_only_what_is_seen_is_asked_for() {
    let mut app = app();
    screen(&mut app);
    assert_eq!(app.wanted().len(), 1);
    assert_eq!(press(&mut app, KeyCode::Char('3')), Next::Ask);
    let wanted = app.wanted();
    assert_eq!((&wanted[1]["offset"], &wanted[1]["limit"]), (&json!(0), &json!(8)));
    app.take(&wanted[1], Ok(list(100_000, 1..9)));
    let text = screen(&mut app);
    assert!(text.contains("1          1         1m1s      sleep"), "{text}");
    for _ in 0..7 {
        assert_eq!(press(&mut app, KeyCode::Down), Next::Draw);
    }
    assert_eq!((press(&mut app, KeyCode::Down), app.offset, app.cursor), (Next::Ask, 1, 7));
    // The answer to what was asked before is not what is shown.
    app.take(&wanted[1], Ok(list(3, 1..4)));
    assert_eq!(app.list.total, 100_000);
    press(&mut app, KeyCode::End);
    assert_eq!(app.offset + app.cursor, 99_999);
    press(&mut app, KeyCode::Home);
    assert_eq!((app.offset, app.cursor), (0, 0));
}

#[test]
fn search_sort_details_tree_and_help() {
    let mut app = app();
    screen(&mut app);
    for code in ['/', 'a', 'q', 'b'] {
        press(&mut app, KeyCode::Char(code));
    }
    press(&mut app, KeyCode::Backspace);
    assert!(screen(&mut app).contains("/aq_"));
    press(&mut app, KeyCode::Enter);
    assert_eq!((app.view, &app.wanted()[1]["text"]), (View::List, &json!("aq")));
    press(&mut app, KeyCode::Char('s'));
    press(&mut app, KeyCode::Char('r'));
    let wanted = app.wanted();
    assert_eq!((&wanted[1]["sort"], &wanted[1]["reverse"]), (&json!("age"), &json!(true)));
    app.take(&wanted[1], Ok(list(2, 1..3)));
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    assert_eq!((app.view, &app.wanted()[1]["coroutine"]), (View::Detail(2), &json!(2)));
    let stack = json!([{ "function": "app::serve", "file": "src/serve.rs", "line": 3 }]);
    let one = json!({ "id": 2, "state": "parked", "waits_for": "sleep", "stack": stack });
    let wanted = app.wanted();
    app.take(&wanted[1], Ok(one));
    assert!(screen(&mut app).contains("    app::serve  src/serve.rs:3"));
    app.take(&wanted[1], Err("it has ended".into()));
    assert!(screen(&mut app).contains("coroutine 2: it has ended"));
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.view, View::List);

    press(&mut app, KeyCode::Char('4'));
    let wanted = app.wanted();
    assert_eq!(wanted[1]["parent"], Value::Null);
    app.take(&wanted[1], Ok(list(2, 1..3)));
    assert_eq!((press(&mut app, KeyCode::Right), app.path.clone()), (Next::Ask, vec![1]));
    assert_eq!((press(&mut app, KeyCode::Left), app.path.len()), (Next::Ask, 0));

    press(&mut app, KeyCode::Char('?'));
    assert!(screen(&mut app).contains("spawn tree"));
    press(&mut app, KeyCode::Char('x'));
    assert!(!app.help);
    press(&mut app, KeyCode::Char('+'));
    assert_eq!(app.interval(), Duration::from_secs(2));
    press(&mut app, KeyCode::Char('p'));
    assert!(app.paused && screen(&mut app).contains("[paused]"));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.key(interrupt), Next::Quit);
    assert_eq!(press(&mut app, KeyCode::Char('q')), Next::Quit);
}

#[test]
fn groups_name_the_stuck() {
    let mut app = app();
    press(&mut app, KeyCode::Char('2'));
    let summary = json!({ "runtimes": [{ "name": "web", "live": 7, "states": { "parked": 6 },
        "workers": [{ "number": 1, "answered": false, "runs": { "id": 5, "name": "hog" } }],
        "reasons": [{ "reason": "mutex", "count": 6, "longest": 2.0 }],
        "places": [{ "spawned_at": "src/a.rs:1:1", "count": 6, "longest": 2.0 }] }] });
    app.take(&plain("summary"), Ok(summary));
    let text = screen(&mut app);
    for part in [
        "web: 7 coroutines",
        "6 parked",
        "worker 1 is stuck: runs coroutine 5 \"hog\"",
        "6  mutex, longest 2.0s",
        "6  src/a.rs:1:1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    app.error = Some("gone".into());
    assert!(screen(&mut app).contains("no answer: gone; trying again"));
}

/// In a process of its own, with a terminal of its own.
#[test]
fn the_terminal_is_restored_when_something_panics() {
    /// Tells a child which thread is to panic.
    const CHILD: &str = "PIRN_TEST_TOP_PANIC";

    let key = || assert_eq!(io::stdin().read(&mut [0]).unwrap(), 1);
    match env::var(CHILD).as_deref() {
        Ok("main") => {
            let _never: io::Result<()> = crate::with_terminal(|_| {
                key();
                panic!("meant")
            });
            return;
        }
        Ok(_) => {
            let shows = crate::with_terminal(|_| {
                let other = thread::spawn(move || {
                    key();
                    panic!("meant")
                });
                other.join().map_err(|_| io::Error::other("it has panicked"))
            });
            assert!(shows.is_err());
            // Without a word, which would be another panic's.
            std::process::exit(1);
        }
        Err(_) => {}
    }
    for thread in ["main", "other"] {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "tests::the_terminal_is_restored_when_something_panics"]);
        let command = command.arg("--nocapture").env(CHILD, thread).env("RUST_BACKTRACE", "0");
        let (pty, child) = pty::Pty::start(command);
        pty.until(|screen| screen.alternate_screen());
        assert!(pty.is_raw());
        pty.press("x");
        assert!(!pty.ends_restored(child).success());
        pty.until(|screen| screen.contents().contains("\nmeant\n"));
    }
}
