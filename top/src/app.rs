//! What is shown, and what keys do to it: no terminal, no connection, no clock.

use crate::client::{plain, read};
use crate::data::{Coroutine, List, Metrics, Runtimes, Summary};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Values of a sparkline.
const HISTORY: usize = 60;
/// Coroutines in one request, whatever the screen's size.
const MOST_ROWS: usize = 1000;
const INTERVALS: [u64; 6] = [250, 500, 1000, 2000, 5000, 10_000];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Workers,
    Groups,
    List,
    Tree,
    Detail(u64),
}

/// What the loop around has to do after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Draw,
    /// What is shown has to be asked for.
    Ask,
    Quit,
}

/// What a worker has done each second of the last interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) busy: f64,
    pub(crate) schedules: f64,
    pub(crate) steals: f64,
    pub(crate) polls: f64,
}

pub(crate) struct App {
    pub(crate) view: View,
    /// Where Esc leads from the details.
    back: View,
    pub(crate) help: bool,
    pub(crate) paused: bool,
    interval: usize,
    pub(crate) search: String,
    pub(crate) typing: bool,
    pub(crate) by_age: bool,
    pub(crate) reverse: bool,
    pub(crate) offset: usize,
    pub(crate) cursor: usize,
    /// Rows of a list on the screen.
    pub(crate) rows: usize,
    /// The way down the spawn tree.
    pub(crate) path: Vec<u64>,
    pub(crate) metrics: Vec<Metrics>,
    pub(crate) rates: HashMap<(String, u64), Rates>,
    /// Percents of busy time, by runtime and worker.
    pub(crate) history: HashMap<(String, u64), VecDeque<u64>>,
    pub(crate) summary: Vec<Summary>,
    pub(crate) list: List,
    pub(crate) detail: Result<Coroutine, String>,
    /// Why there are no answers.
    pub(crate) error: Option<String>,
    pub(crate) title: String,
}

impl App {
    pub(crate) fn new(interval: Duration) -> App {
        let millis = interval.as_millis() as u64;
        let near = INTERVALS.iter().position(|&one| one >= millis);
        App {
            view: View::Workers,
            back: View::List,
            help: false,
            paused: false,
            interval: near.unwrap_or(INTERVALS.len() - 1),
            search: String::new(),
            typing: false,
            by_age: false,
            reverse: false,
            offset: 0,
            cursor: 0,
            rows: 1,
            path: Vec::new(),
            metrics: Vec::new(),
            rates: HashMap::new(),
            history: HashMap::new(),
            summary: Vec::new(),
            list: List::default(),
            detail: Err("asking".into()),
            error: None,
            title: String::new(),
        }
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(INTERVALS[self.interval])
    }

    /// What the screen needs, and no more.
    pub(crate) fn wanted(&self) -> Vec<Value> {
        let mut wanted = vec![plain("metrics")];
        let limit = self.rows.clamp(1, MOST_ROWS);
        match self.view {
            View::Workers => {}
            View::Groups => wanted.push(plain("summary")),
            View::List => {
                let mut request = json!({
                    "v": 1, "request": "coroutines", "offset": self.offset, "limit": limit,
                    "sort": if self.by_age { "age" } else { "id" }, "reverse": self.reverse,
                });
                if !self.search.is_empty() {
                    request["text"] = json!(self.search);
                }
                wanted.push(request);
            }
            View::Tree => wanted.push(json!({
                "v": 1, "request": "tree", "parent": self.path.last(), "offset": self.offset,
                "limit": limit,
            })),
            View::Detail(id) => {
                wanted.push(json!({ "v": 1, "request": "coroutine", "coroutine": id }));
            }
        }
        wanted
    }

    /// Takes the answer to one of the requests.
    pub(crate) fn take(&mut self, request: &Value, answer: Result<Value, String>) {
        let kind = request["request"].as_str().unwrap_or_default();
        let answer = match (kind, answer) {
            ("coroutine", Err(message)) => {
                self.detail = Err(message);
                return;
            }
            (_, Err(message)) => {
                self.error = Some(message);
                return;
            }
            (_, Ok(answer)) => answer,
        };
        match kind {
            "metrics" => self.take_metrics(read::<Runtimes<Metrics>>(answer).runtimes),
            "summary" => self.summary = read::<Runtimes<Summary>>(answer).runtimes,
            "coroutine" => self.detail = Ok(read(answer)),
            _ => {
                // The answer of a list that is not shown any more.
                if self.wanted().contains(request) {
                    self.list = read(answer);
                    self.cursor = self.cursor.min(self.list.coroutines.len().saturating_sub(1));
                }
            }
        }
    }

    fn take_metrics(&mut self, new: Vec<Metrics>) {
        for runtime in &new {
            let old = self.metrics.iter().find(|old| old.name == runtime.name);
            let Some(old) = old.filter(|old| old.uptime < runtime.uptime) else {
                // The first look, or a program that was started anew.
                self.rates.retain(|key, _| key.0 != runtime.name);
                self.history.retain(|key, _| key.0 != runtime.name);
                continue;
            };
            let span = runtime.uptime - old.uptime;
            for worker in &runtime.workers {
                let Some(old) = old.workers.iter().find(|old| old.number == worker.number) else {
                    continue;
                };
                let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / span;
                let busy = ((worker.busy - old.busy) / span * 100.0).clamp(0.0, 100.0);
                let key = (runtime.name.clone(), worker.number);
                let rates = Rates {
                    busy,
                    schedules: rate(worker.schedules, old.schedules),
                    steals: rate(worker.steals, old.steals),
                    polls: rate(worker.polls, old.polls),
                };
                self.rates.insert(key.clone(), rates);
                let history = self.history.entry(key).or_default();
                history.push_back(busy.round() as u64);
                if history.len() > HISTORY {
                    history.pop_front();
                }
            }
        }
        // Surplus workers come and go.
        let there = |key: &(String, u64)| {
            let runtime = new.iter().find(|runtime| runtime.name == key.0);
            runtime.is_some_and(|one| one.workers.iter().any(|worker| worker.number == key.1))
        };
        self.rates.retain(|key, _| there(key));
        self.history.retain(|key, _| there(key));
        self.metrics = new;
    }

    fn show(&mut self, view: View) -> Next {
        if matches!(view, View::List | View::Tree) && self.view != view {
            self.list = List::default();
        }
        self.view = view;
        self.back_to_start()
    }

    fn back_to_start(&mut self) -> Next {
        (self.offset, self.cursor) = (0, 0);
        Next::Ask
    }

    pub(crate) fn key(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Next::Quit;
        }
        if self.typing {
            return self.type_key(key.code);
        }
        if self.help {
            self.help = false;
            return Next::Draw;
        }
        match key.code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                return Next::Ask;
            }
            KeyCode::Char('+') => self.interval = (self.interval + 1).min(INTERVALS.len() - 1),
            KeyCode::Char('-') => self.interval = self.interval.saturating_sub(1),
            KeyCode::Char('1') => return self.show(View::Workers),
            KeyCode::Char('2') => return self.show(View::Groups),
            KeyCode::Char('3') => return self.show(View::List),
            KeyCode::Char('4') => return self.show(View::Tree),
            KeyCode::Tab => {
                return self.show(match self.view {
                    View::Workers => View::Groups,
                    View::Groups => View::List,
                    View::List => View::Tree,
                    View::Tree | View::Detail(_) => View::Workers,
                });
            }
            KeyCode::Char('/') => {
                self.typing = true;
                return self.show(View::List);
            }
            KeyCode::Char('s') if self.view == View::List => {
                self.by_age = !self.by_age;
                return self.back_to_start();
            }
            KeyCode::Char('r') if self.view == View::List => {
                self.reverse = !self.reverse;
                return self.back_to_start();
            }
            KeyCode::Esc => return self.leave(),
            code if matches!(self.view, View::List | View::Tree) => return self.list_key(code),
            _ => {}
        }
        Next::Draw
    }

    fn type_key(&mut self, code: KeyCode) -> Next {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.search.clear();
            }
            KeyCode::Backspace => {
                self.search.pop();
            }
            KeyCode::Char(c) => self.search.push(c),
            _ => return Next::Draw,
        }
        self.back_to_start()
    }

    fn leave(&mut self) -> Next {
        match self.view {
            View::Detail(_) => {
                self.view = self.back;
                Next::Ask
            }
            View::List if !self.search.is_empty() => {
                self.search.clear();
                self.back_to_start()
            }
            View::Tree => self.up(),
            _ => Next::Draw,
        }
    }

    fn up(&mut self) -> Next {
        match self.path.pop() {
            Some(_) => self.back_to_start(),
            None => Next::Draw,
        }
    }

    fn list_key(&mut self, code: KeyCode) -> Next {
        let selected = self.list.coroutines.get(self.cursor).map(|one| (one.id, one.children));
        let place = self.offset + self.cursor;
        match (code, selected) {
            (KeyCode::Enter, Some((id, _))) => {
                self.back = self.view;
                self.view = View::Detail(id);
                self.detail = Err("asking".into());
                Next::Ask
            }
            (KeyCode::Right | KeyCode::Char('l'), Some((id, children)))
                if self.view == View::Tree && children > 0 =>
            {
                self.path.push(id);
                self.back_to_start()
            }
            (KeyCode::Left | KeyCode::Backspace, _) if self.view == View::Tree => self.up(),
            (KeyCode::Up | KeyCode::Char('k'), _) => self.go(place.saturating_sub(1)),
            (KeyCode::Down | KeyCode::Char('j'), _) => self.go(place + 1),
            (KeyCode::PageUp, _) => self.go(place.saturating_sub(self.rows)),
            (KeyCode::PageDown, _) => self.go(place + self.rows),
            (KeyCode::Home | KeyCode::Char('g'), _) => self.go(0),
            (KeyCode::End | KeyCode::Char('G'), _) => self.go(usize::MAX),
            _ => Next::Draw,
        }
    }

    /// Selects one by its place among all that match.
    fn go(&mut self, place: usize) -> Next {
        let place = place.min(self.list.total.saturating_sub(1));
        let rows = self.rows.max(1);
        let before = self.offset;
        if place < self.offset {
            self.offset = place;
        } else if place >= self.offset + rows {
            self.offset = place + 1 - rows;
        }
        self.cursor = place - self.offset;
        if self.offset == before { Next::Draw } else { Next::Ask }
    }
}
