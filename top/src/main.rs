//! What the coroutines of a running program do, in a terminal.
//!
//! ```sh
//! PIRN_INSPECT=/run/user/1000/app.sock app &
//! pirn-top /run/user/1000/app.sock
//! ```
//!
//! The terminal's thread draws and reads keys; another asks the program, so that a program that does
//! not answer stops no key.

mod app;
mod client;
mod data;
#[cfg(test)]
mod tests;
mod ui;

use app::{App, Next};
use clap::Parser;
use client::{Client, Failure, plain};
use data::{Runtimes, Summary, span};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};
use std::{env, panic, thread};

/// How long a signal may wait to be seen.
const TICK: Duration = Duration::from_millis(100);

/// Shows what the coroutines of a program that uses pirn do.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The program's socket, or a folder with one; by default what PIRN_INSPECT says.
    path: Option<PathBuf>,
    /// Milliseconds between two looks.
    #[arg(long, default_value_t = 1000)]
    interval: u64,
    /// Print what there is, and end.
    #[arg(long)]
    once: bool,
    /// With `--once`: as JSON.
    #[arg(long, requires = "once")]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let named = arguments.path.clone().or_else(|| env::var_os("PIRN_INSPECT").map(PathBuf::from));
    let Some(path) = named else {
        eprintln!("pirn-top: which program? Name its socket, or set PIRN_INSPECT");
        return ExitCode::FAILURE;
    };
    let run = |path: PathBuf| match arguments.once {
        true => once(&path, arguments.json),
        false => watch(path, Duration::from_millis(arguments.interval)),
    };
    match client::find(&path).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pirn-top: {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// Prints hello, metrics and summary.
fn once(path: &Path, as_json: bool) -> io::Result<()> {
    let mut client = Client::connect(path)?;
    let mut ask = |request: &str| {
        client.ask(&plain(request)).map_err(|failure| io::Error::other(failure.to_string()))
    };
    let (hello, metrics, summary) = (ask("hello")?, ask("metrics")?, ask("summary")?);
    let mut out = io::stdout().lock();
    if as_json {
        let all = json!({ "hello": hello, "metrics": metrics, "summary": summary });
        return writeln!(out, "{all}");
    }
    writeln!(out, "{}", title(&hello))?;
    for runtime in client::read::<Runtimes<Summary>>(summary).runtimes {
        writeln!(out, "{}: {} coroutines", runtime.name, runtime.live)?;
        for worker in runtime.workers.iter().filter(|worker| !worker.answered) {
            writeln!(out, "{}", ui::busy(worker.number, worker.runs.as_ref()))?;
        }
        for (head, counts) in [("waiting for", runtime.reasons), ("spawned at", runtime.places)] {
            for one in counts {
                let longest = span(one.longest);
                writeln!(out, "  {:>9} {head} {}, longest {longest}", one.count, one.what)?;
            }
        }
    }
    Ok(())
}

fn title(hello: &Value) -> String {
    let (program, process) = (hello["program"].as_str().unwrap_or("?"), &hello["process"]);
    format!("{program} (process {process})")
}

type Answers = Result<Vec<(Value, Result<Value, String>)>, String>;

/// Asks what it is told to, and connects again when the connection is lost.
fn fetch(path: &Path, wanted: &Receiver<Vec<Value>>, answers: &Sender<Answers>) {
    let mut client = None;
    for requests in wanted {
        let mut ask = || -> Answers {
            let hello = client.is_none().then(|| plain("hello"));
            let mut connected = match client.take() {
                Some(client) => client,
                None => Client::connect(path).map_err(|error| error.to_string())?,
            };
            let mut all = Vec::new();
            for request in hello.into_iter().chain(requests.iter().cloned()) {
                let answer = match connected.ask(&request) {
                    Ok(answer) => Ok(answer),
                    Err(Failure::Refused(message)) => Err(message),
                    Err(Failure::Lost(error)) => return Err(error.to_string()),
                };
                all.push((request, answer));
            }
            client = Some(connected);
            Ok(all)
        };
        if answers.send(ask()).is_err() {
            return;
        }
    }
}

fn watch(path: PathBuf, interval: Duration) -> io::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    let (ask, wanted) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    thread::spawn(move || fetch(&path, &wanted, &answer));
    with_terminal(|terminal| show(terminal, App::new(interval), &ended, &ask, &answers))
}

/// Gives `f` the terminal, which is as before when that returns or something panics, on whatever
/// thread.
fn with_terminal<T>(f: impl FnOnce(DefaultTerminal) -> io::Result<T>) -> io::Result<T> {
    /// The panic hook has restored the terminal. Once more would write over what the panic says.
    static PANICKED: AtomicBool = AtomicBool::new(false);

    let says = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::Release);
        says(info);
    }));
    // With a hook around this one, which restores first.
    let terminal = ratatui::try_init()?;
    let result = f(terminal);
    if !PANICKED.load(Ordering::Acquire) {
        ratatui::restore();
    }
    result
}

fn show(
    mut terminal: DefaultTerminal,
    mut app: App,
    ended: &AtomicBool,
    ask: &Sender<Vec<Value>>,
    answers: &Receiver<Answers>,
) -> io::Result<()> {
    let (mut due, mut asked, mut draws) = (Instant::now(), false, true);
    // A key asks while it is paused, too.
    let mut forced = true;
    while !ended.load(Ordering::Relaxed) {
        if draws {
            terminal.draw(|frame| ui::draw(&mut app, frame))?;
        }
        draws = false;
        let now = Instant::now();
        if !asked && (forced || !app.paused && now >= due) {
            asked = ask.send(app.wanted()).is_ok();
            due = now + app.interval();
            forced = false;
        }
        // While an answer is on its way, it is looked for more often.
        let wait = match (asked, app.paused) {
            (true, _) => TICK / 5,
            (false, true) => TICK,
            (false, false) => TICK.min(due.saturating_duration_since(now)),
        };
        if event::poll(wait)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match app.key(key) {
                    Next::Quit => return Ok(()),
                    Next::Ask => forced = true,
                    Next::Draw => {}
                },
                Event::Resize(..) => forced = true,
                _ => {}
            }
            draws = true;
        }
        match answers.try_recv() {
            Ok(all) => {
                asked = false;
                take(&mut app, all);
                draws = true;
            }
            Err(TryRecvError::Empty) => {}
            // It has panicked, and said so: not to draw over that.
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other("the thread that asks has ended"));
            }
        }
    }
    Ok(())
}

fn take(app: &mut App, all: Answers) {
    match all {
        Err(message) => app.error = Some(message),
        Ok(all) => {
            app.error = None;
            for (request, answer) in all {
                match (request["request"].as_str(), answer) {
                    (Some("hello"), Ok(hello)) => app.title = title(&hello),
                    (_, answer) => app.take(&request, answer),
                }
            }
        }
    }
}
