//! The screens.

use crate::app::{App, View};
use crate::data::{Coroutine, Count, span};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Row, Sparkline, Table};

const HELP: &str = "\
 1 2 3 4, Tab   workers, groups, coroutines, spawn tree
 /              search; Esc ends it
 s  r           sort by age or number; backwards
 arrows, j k    move; PgUp PgDn Home End
 Enter  Esc     details; back
 right  left    tree: those it has spawned; up again
 p  + -         pause; slower, faster
 q              quit";

pub(crate) fn draw(app: &mut App, frame: &mut Frame<'_>) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)])
            .areas(frame.area());
    // The heading of a table takes one.
    app.rows = usize::from(body.height.saturating_sub(1)).max(1);
    draw_head(app, frame, head);
    match app.view {
        View::Workers => draw_workers(app, frame, body),
        View::Groups => draw_groups(app, frame, body),
        View::List | View::Tree => draw_list(app, frame, body),
        View::Detail(id) => frame.render_widget(Paragraph::new(detail(app, id)), body),
    }
    draw_foot(app, frame, foot);
    if app.help {
        let area = body.centered(Constraint::Length(58), Constraint::Length(10));
        frame.render_widget(Clear, area);
        frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title("keys")), area);
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn draw_head(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let live: u64 = app.metrics.iter().map(|one| one.live).sum();
    let workers: usize = app.metrics.iter().map(|one| one.workers.len()).sum();
    let sum = |f: fn(&crate::data::Metrics) -> u64| app.metrics.iter().map(f).sum::<u64>();
    let (busy, threads) = (sum(|one| one.blocking_busy), sum(|one| one.blocking_threads));
    let queued = sum(|one| one.blocking_queued);
    let up = app.metrics.iter().map(|one| one.uptime).fold(0.0, f64::max);
    let text = format!(
        "{live} coroutines on {workers} workers; blocking {busy} of {threads}, {queued} queued; up {}",
        span(up)
    );
    let lines = [Line::styled(app.title.clone(), bold()), Line::raw(text)];
    frame.render_widget(Paragraph::new(lines.to_vec()), area);
}

fn draw_foot(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let state = match (&app.error, app.paused) {
        (Some(error), _) => format!("no answer: {error}; trying again"),
        (None, true) => "paused".to_owned(),
        (None, false) => format!("each {}", span(app.interval().as_secs_f64())),
    };
    let text = match app.typing {
        true => format!("/{}_", app.search),
        false => {
            format!("1 workers  2 groups  3 list  4 tree  / search  ? help  q quit   [{state}]")
        }
    };
    let style = if app.error.is_some() { Style::new().fg(Color::Red) } else { Style::new() };
    frame.render_widget(Paragraph::new(text).style(style.reversed()), area);
}

fn draw_workers(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let columns = [14, 10, 7, 10, 9, 9, 10, 8, 8, 8];
    let heads = [
        "worker",
        "state",
        "busy",
        "runs/s",
        "steals/s",
        "polls/s",
        "residents",
        "queued",
        "ready",
        "timers",
    ];
    let mut rows = Vec::new();
    let mut keys = Vec::new();
    for runtime in &app.metrics {
        for worker in &runtime.workers {
            let key = (runtime.name.clone(), worker.number);
            let rates = app.rates.get(&key).copied().unwrap_or_default();
            let mark = if worker.surplus { "+" } else { "" };
            let state = if worker.stuck { "stuck" } else { worker.state.as_str() };
            let row = Row::new([
                format!("{} {}{mark}", runtime.name, worker.number),
                state.to_owned(),
                format!("{:.1}%", rates.busy),
                format!("{:.0}", rates.schedules),
                format!("{:.0}", rates.steals),
                format!("{:.0}", rates.polls),
                worker.residents.to_string(),
                (worker.runnable + worker.starts).to_string(),
                worker.ready.to_string(),
                worker.timers.to_string(),
            ]);
            rows.push(if worker.stuck { row.style(Style::new().fg(Color::Red)) } else { row });
            keys.push(key);
        }
    }
    let table =
        Table::new(rows, columns.map(Constraint::Length)).header(Row::new(heads).style(bold()));
    frame.render_widget(table, area);
    let used: u16 = columns.iter().sum::<u16>() + columns.len() as u16;
    for (at, key) in (1..area.height).zip(&keys) {
        let Some(history) = app.history.get(key).filter(|_| used < area.width) else { continue };
        let place = Rect::new(area.x + used, area.y + at, area.width - used, 1);
        let last = history.len().saturating_sub(usize::from(place.width));
        let data: Vec<u64> = history.iter().skip(last).copied().collect();
        frame.render_widget(Sparkline::default().data(&data).max(100), place);
    }
}

fn draw_groups(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let mut lines = Vec::new();
    for runtime in &app.summary {
        lines.push(Line::styled(format!("{}: {} coroutines", runtime.name, runtime.live), bold()));
        let states = runtime.states.iter().filter(|(_, count)| **count > 0);
        let states: Vec<_> = states.map(|(state, count)| format!("{count} {state}")).collect();
        lines.push(Line::raw(format!("  {}", states.join(", "))));
        for worker in runtime.workers.iter().filter(|worker| !worker.answered) {
            lines.push(Line::styled(busy(worker.number, worker.runs.as_ref()), Color::Red));
        }
        lines.extend(group("  waiting for", &runtime.reasons));
        lines.extend(group("  spawned at", &runtime.places));
        if runtime.more_places > 0 {
            lines.push(Line::raw(format!("  and at {} more places", runtime.more_places)));
        }
    }
    frame.render_widget(Paragraph::new(lines), area);
}

pub(crate) fn busy(worker: u64, runs: Option<&Coroutine>) -> String {
    let who = runs.map_or_else(
        || "does not answer".to_owned(),
        |one| format!("runs coroutine {} {}", one.id, place(one)),
    );
    format!("  worker {worker} is stuck: {who}")
}

fn group<'a>(head: &'a str, counts: &[Count]) -> Vec<Line<'a>> {
    let row = |one: &Count| {
        Line::raw(format!("  {:>9}  {}, longest {}", one.count, one.what, span(one.longest)))
    };
    std::iter::once(Line::styled(head, bold())).chain(counts.iter().map(row)).collect()
}

/// A name, if there is one, and where it was spawned.
pub(crate) fn place(one: &Coroutine) -> String {
    match &one.name {
        Some(name) => format!("\"{name}\" {}", one.spawned_at),
        None => one.spawned_at.clone(),
    }
}

fn draw_list(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let tree = app.view == View::Tree;
    let first = if tree { "children" } else { "worker" };
    let heads = Row::new(["id", first, "since", "does", "spawned at"]).style(bold());
    let rows = app.list.coroutines.iter().enumerate().map(|(at, one)| {
        let count = if tree { Some(one.children) } else { one.worker };
        let row = Row::new([
            one.id.to_string(),
            count.map_or_else(String::new, |count| count.to_string()),
            one.since.map_or_else(String::new, span),
            one.does().to_owned(),
            place(one),
        ]);
        if at == app.cursor { row.style(Style::new().reversed()) } else { row }
    });
    let columns = [
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Fill(1),
        Constraint::Fill(1),
    ];
    frame.render_widget(Table::new(rows, columns).header(heads), area);
}

fn detail(app: &App, id: u64) -> String {
    let one = match &app.detail {
        Ok(one) => one,
        Err(message) => return format!("coroutine {id}: {message}"),
    };
    let mut text = format!("coroutine {} {}\n", one.id, place(one));
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("{key:>12}  {value}\n"));
        }
    };
    add("runtime", Some(one.runtime.clone()));
    add("worker", one.worker.map(|worker| worker.to_string()));
    add("parent", one.parent.map(|parent| parent.to_string()));
    add("does", Some(one.does().to_owned()));
    add("since", one.since.map(span));
    add("times out in", one.times_out_in.map(span));
    for held in &one.held_by {
        add("held by", Some(format!("{} since {}", held.by, held.locked_at)));
    }
    for frame in one.stack.iter().flatten() {
        let place = frame.file.as_ref().zip(frame.line);
        let place = place.map_or_else(String::new, |(file, line)| format!("  {file}:{line}"));
        text.push_str(&format!("    {}{place}\n", frame.function));
    }
    text
}
