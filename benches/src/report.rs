//! Results: where they are kept, and what is made of them.

use crate::chart;
use crate::table::Table;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Those of the row that is being measured.
static TABLES: Mutex<Vec<Table>> = Mutex::new(Vec::new());

/// What a file has.
#[derive(Default, Serialize, Deserialize)]
struct Results {
    /// The processor, how many there are, the system.
    machine: String,
    /// Of the contestants and the compiler.
    versions: String,
    tables: Vec<Table>,
}

/// Keeps a table for [`save`].
pub(crate) fn keep(table: Table) {
    TABLES.lock().unwrap_or_else(PoisonError::into_inner).push(table);
}

/// Puts what was kept in the place of what the file has of the row.
pub(crate) fn save(row: &str, file: Option<&Path>) -> io::Result<()> {
    let mut kept = std::mem::take(&mut *TABLES.lock().unwrap_or_else(PoisonError::into_inner));
    let Some(file) = file else { return Ok(()) };
    for table in &mut kept {
        row.clone_into(&mut table.row);
        table.load = load();
    }
    let mut results = match load_from(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Results::default(),
        loaded => loaded?,
    };
    (results.machine, results.versions) = (machine(), versions());
    results.tables.retain(|table| table.row != row);
    results.tables.extend(kept);
    let place = |table: &Table| crate::ROWS.iter().position(|(name, _)| *name == table.row);
    results.tables.sort_by_key(place);
    let mut text = serde_json::to_string_pretty(&results)?;
    text.push('\n');
    fs::write(file, text)
}

fn load_from(file: &Path) -> io::Result<Results> {
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

/// Prints the tables of a file, and makes their charts.
pub(crate) fn report(file: &Path) -> io::Result<()> {
    let results = load_from(file)?;
    println!("{}\n\n{}", results.machine, results.versions);
    for table in &results.tables {
        println!("{}", table.markdown());
        println!("(load average {:.1})", table.load);
    }
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/charts"));
    fs::create_dir_all(folder)?;
    for rows in results.tables.chunk_by(|a, b| a.row == b.row) {
        let name = format!("{}.svg", rows[0].row);
        let text = chart::svg(rows, &[&results.machine, &results.versions])?;
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// That of the last minute.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("a processor", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let system = said(&["uname", "-sr"]);
    format!("{cores} cores of {model}, {system}")
}

fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    let mut versions = vec![said(&["rustc", "--version"])];
    let blocks = lock.split("[[package]]");
    for name in [
        "may",
        "may_minihttp",
        "tokio",
        "hyper",
        "async-channel",
        "crossbeam-channel",
        "corosensei",
    ] {
        let field = |block: &str, key: &str| {
            block
                .lines()
                .find_map(|line| Some(line.strip_prefix(key)?.trim_matches('"').to_owned()))
        };
        let found = blocks.clone().find(|block| field(block, "name = ").as_deref() == Some(name));
        if let Some(version) = found.and_then(|block| field(block, "version = ")) {
            versions.push(format!("{name} {version}"));
        }
    }
    let script = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("version="));
        line.unwrap_or_default().to_owned()
    };
    versions.push(format!("Go {}", script(include_str!("../go.sh"))));
    versions.push(format!("gevent {}", script(include_str!("../gevent.sh"))));
    // To standard error, as one line.
    if let Ok(output) = Command::new("nginx").arg("-v").output() {
        let text = String::from_utf8_lossy(&output.stderr);
        versions.extend(text.trim().strip_prefix("nginx version: ").map(str::to_owned));
    }
    versions.join(", ")
}

fn said(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_missing| format!("{} is not here", command[0]))
}
