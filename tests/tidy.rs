//! What no compiler checks: the layers, the rooms with unsafe code, and the house rules.
//!
//! The layers are the table in `ARCHITECTURE.md`; the rest of the rules stand here. Each finding
//! names its file and line. The parsers have tests of their own: a rule that finds nothing could.

#[path = "tidy/source.rs"]
mod source;

use source::{
    absolute_paths, blank_out, crate_paths, has_word, is_word, lines_and_models, quoted, table,
    unexplained,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that may contain `unsafe`, in the sources of the published crates.
const UNSAFE_ROOMS: &[&str] = &[
    "netpoll/src/sys/epoll.rs",
    "netpoll/src/sys/eventfd.rs",
    "netpoll/src/sys/files.rs",
    "netpoll/src/sys/kqueue/model.rs",
    "netpoll/src/sys/kqueue/native.rs",
    "netpoll/src/sys/pipe.rs",
    "netpoll/src/sys/poll.rs",
    "src/blocking.rs",
    "src/channel/clock.rs",
    "src/channel/future.rs",
    "src/channel/host.rs",
    "src/channel/select.rs",
    "src/channel/stream.rs",
    "src/coroutine/execution.rs",
    "src/coroutine/frames.rs",
    "src/coroutine/header.rs",
    "src/coroutine/scope.rs",
    "src/coroutine/switch.rs",
    "src/coroutine/unwinding.rs",
    "src/dump/collect.rs",
    "src/dump/sockets.rs",
    "src/dump/stacks/walked.rs",
    "src/fs/fd.rs",
    "src/fs/sys.rs",
    "src/io/fd.rs",
    "src/io/kernel/endpoint.rs",
    "src/io/kernel/source.rs",
    "src/io/lock.rs",
    "src/io/stdio.rs",
    "src/io/sys.rs",
    "src/future/block_on.rs",
    "src/inspect/sys.rs",
    "src/net/fd.rs",
    "src/net/sys/calls.rs",
    "src/net/sys/descriptors.rs",
    "src/net/sys/many.rs",
    "src/net/sys/mod.rs",
    "src/netpoller/driver.rs",
    "src/netpoller/os_wait.rs",
    "src/netpoller/source.rs",
    "src/os/unix/process.rs",
    "src/park/held_check.rs",
    "src/park/mod.rs",
    "src/park/scopes.rs",
    "src/park/waker.rs",
    "src/primitive/asymmetric.rs",
    "src/primitive/prefetch.rs",
    "src/process/sys.rs",
    "src/protocol/channel/exchange.rs",
    "src/protocol/channel/halves.rs",
    "src/protocol/channel/meeting.rs",
    "src/protocol/channel/mod.rs",
    "src/protocol/channel/models.rs",
    "src/protocol/channel/polled.rs",
    "src/protocol/channel/polled_models.rs",
    "src/protocol/channel/select.rs",
    "src/protocol/channel/state.rs",
    "src/protocol/headcount.rs",
    "src/protocol/inbox.rs",
    "src/protocol/observed.rs",
    "src/protocol/lineage.rs",
    "src/protocol/park_word.rs",
    "src/protocol/pins.rs",
    "src/protocol/raw_barrier.rs",
    "src/protocol/raw_condvar.rs",
    "src/protocol/raw_gate.rs",
    "src/protocol/raw_mutex.rs",
    "src/protocol/raw_once.rs",
    "src/protocol/raw_rwlock.rs",
    "src/protocol/raw_semaphore.rs",
    "src/protocol/readiness.rs",
    "src/protocol/readiness/models.rs",
    "src/protocol/short_lock.rs",
    "src/protocol/status/models.rs",
    "src/protocol/token.rs",
    "src/protocol/wait_word.rs",
    "src/protocol/wakeup.rs",
    "src/sched/machine/debugger.rs",
    "src/sched/machine/ending.rs",
    "src/sched/machine/finding.rs",
    "src/sched/machine/mod.rs",
    "src/sched/machine/nesting.rs",
    "src/sched/machine/own_stack.rs",
    "src/sched/machine/sleeping.rs",
    "src/sched/machine/surveying.rs",
    "src/sched/migrants.rs",
    "src/sched/mod.rs",
    "src/sched/processor.rs",
    "src/sched/ready.rs",
    "src/sched/record/event.rs",
    "src/sched/record/ticks.rs",
    "src/sched/thread_state/linux.rs",
    "src/signal/sys.rs",
    "src/stack/altstack.rs",
    "src/stack/guard.rs",
    "src/stack/handle.rs",
    "src/stack/overflow.rs",
    "src/stack/slab.rs",
    "src/stack/sys/memory.rs",
    "src/stack/sys/signal.rs",
    "src/stack/sys/userfault.rs",
    "src/stack/test_util.rs",
    "src/stack/tests/exhaustion.rs",
    "src/stack/tests/memory.rs",
    "src/stack/tests/overflow.rs",
    "src/sync/barrier.rs",
    "src/sync/condvar.rs",
    "src/sync/gate.rs",
    "src/sync/lazy_lock.rs",
    "src/sync/mutex.rs",
    "src/sync/once.rs",
    "src/sync/parker.rs",
    "src/sync/rwlock.rs",
    "src/sync/semaphore.rs",
    "src/sync/wait.rs",
    "src/thread/builder.rs",
    "src/thread/handle.rs",
    "src/thread/join.rs",
    "src/thread/mod.rs",
    "src/thread/wait.rs",
    "src/trace/exit.rs",
    "src/tracing.rs",
    "src/util/thread_end.rs",
    "src/util/wait_list.rs",
];

/// Files that may name the crate of the stack switch.
const COROSENSEI: &[&str] = &["src/coroutine/switch.rs", "src/stack/test_util.rs"];

/// Files that may name the model checker outside of their models.
const LOOM: &[&str] = &[
    "src/primitive.rs",
    "src/primitive/asymmetric.rs",
    "src/protocol/channel/models.rs",
    "src/protocol/channel/polled_models.rs",
    "src/protocol/readiness/models.rs",
    "src/protocol/status/models.rs",
];

/// Files with thread-local state of the runtime's own, and the macro that makes the user's.
const THREAD_LOCALS: &[&str] = &[
    "src/park/os.rs",
    "src/sched/tls.rs",
    "src/thread/handle.rs",
    "src/thread/local.rs",
    "src/util/thread_end.rs",
];

/// Files that may print: the reports of the process's death.
const PRINTS: &[&str] = &["src/coroutine/execution.rs"];

/// Texts at the root.
const TEXTS: &[&str] = &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"];

/// Lines in one file.
const LONG: usize = 620;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the tree.
struct File {
    /// Relative to the root, with `/` between its parts.
    name: String,
    text: String,
}

impl File {
    /// The text without comments and without what is in quotes.
    fn code(&self) -> String {
        blank_out(&self.text)
    }
}

/// All files below `folders` whose names end in one of `endings`.
fn files(folders: &[&str], endings: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), endings, &mut found);
    }
    assert!(!found.is_empty(), "no file below {folders:?}");
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn walk(path: &Path, endings: &[&str], found: &mut Vec<File>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), endings, found);
        }
    } else if path.to_str().is_some_and(|name| endings.iter().any(|end| name.ends_with(end))) {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        found.push(File { name, text: fs::read_to_string(path).unwrap() });
    }
}

/// The sources of the published crates.
fn sources() -> Vec<File> {
    files(&["src", "netpoll/src", "macros/src"], &[".rs"])
}

/// All Rust code.
fn rust() -> Vec<File> {
    files(&["src", "tests", "examples", "interop", "netpoll", "macros", "benches", "top"], &[".rs"])
}

/// Fails with what was found.
#[track_caller]
fn none(rule: &str, findings: Vec<String>) {
    if findings.is_empty() {
        return;
    }
    let mut report = format!("{rule}:\n");
    for finding in findings {
        let _infallible = writeln!(report, "  {finding}");
    }
    panic!("{report}");
}

// Layers.

fn architecture() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// Which modules a module may use.
type Layers = BTreeMap<String, BTreeSet<String>>;

fn layers(architecture: &str) -> Layers {
    let rows = table(architecture, "Layers").into_iter();
    rows.map(|row| (quoted(row[0])[0].clone(), quoted(row[1]).into_iter().collect())).collect()
}

/// Single files that may use one module more, as the table of exceptions says.
fn exceptions(architecture: &str) -> BTreeSet<(String, String)> {
    let rows = table(architecture, "Exceptions").into_iter();
    rows.map(|row| (quoted(row[0])[0].clone(), quoted(row[1])[0].clone())).collect()
}

/// The module at the top of the crate to which a file belongs; `lib` for the root.
fn module_of(name: &str) -> &str {
    let name = name.strip_prefix("src/").unwrap();
    name.split(['/', '.']).next().unwrap()
}

/// What the root of the crate exports: the module that each name comes from.
fn exports(lib: &str) -> BTreeMap<String, String> {
    let paths = crate_paths(lib).into_iter();
    paths
        .filter(|(_, path)| path.len() > 1)
        .map(|(_, path)| (path.last().unwrap().clone(), path[0].clone()))
        .collect()
}

/// Uses that the layers do not allow: of which module, and a line of the report.
fn climbs(
    name: &str,
    code: &str,
    layers: &Layers,
    exports: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let from = module_of(name);
    let Some(allowed) = layers.get(from) else {
        return vec![(from.to_owned(), format!("{name}: the module `{from}` has no layer"))];
    };
    let mut findings = Vec::new();
    for (line, path) in crate_paths(code) {
        let to = exports.get(&path[0]).unwrap_or(&path[0]);
        if to != from && !allowed.contains(to) {
            let finding = format!("{name}:{line}: `{from}` uses `crate::{}`", path.join("::"));
            findings.push((to.clone(), finding));
        }
    }
    findings
}

#[test]
fn modules_use_what_stands_below_them() {
    let architecture = architecture();
    let layers = layers(&architecture);
    let mut exceptions = exceptions(&architecture);
    let allowed = exceptions.clone();
    let sources = files(&["src"], &[".rs"]);
    let lib = sources.iter().find(|file| file.name == "src/lib.rs").unwrap();
    let exports = exports(&lib.code());
    let mut findings = Vec::new();
    // A module's tests may use all of the crate.
    let bound = |file: &&File| file.name != "src/lib.rs" && !file.name.ends_with("/tests.rs");
    for file in sources.iter().filter(bound) {
        for (to, finding) in climbs(&file.name, &file.code(), &layers, &exports) {
            let exception = (file.name.clone(), to);
            exceptions.remove(&exception);
            if !allowed.contains(&exception) {
                findings.push(finding);
            }
        }
    }
    for (file, module) in exceptions {
        findings.push(format!("{file}: does not use `{module}`, for which it has an exception"));
    }
    none("the tables in ARCHITECTURE.md say otherwise", findings);
}

#[test]
fn the_layers_have_no_cycle_but_the_core() {
    let layers = layers(&architecture());
    let core = BTreeSet::from(["coroutine", "park", "sched"].map(str::to_owned));
    let mut placed = BTreeSet::new();
    loop {
        let before = placed.len();
        for (module, uses) in &layers {
            let in_core = core.contains(module);
            let done = |used: &String| placed.contains(used) || (in_core && core.contains(used));
            if uses.iter().all(done) {
                placed.insert(module.clone());
            }
        }
        if placed.len() == before {
            break;
        }
    }
    let stuck = layers.keys().filter(|module| !placed.contains(*module)).cloned().collect();
    none("modules that use each other, or one that has no row", stuck);
}

/// The poller is a crate of its own, and knows nothing of what is built on it.
#[test]
fn netpoll_knows_no_coroutine() {
    let mut findings = Vec::new();
    for file in files(&["netpoll/src"], &[".rs"]) {
        for (index, line) in file.code().lines().enumerate() {
            for word in ["coroutine", "Coroutine", "pirn", "sched", "park"] {
                if has_word(line, word) {
                    findings.push(format!("{}:{}: {word}", file.name, index + 1));
                }
            }
        }
    }
    none("netpoll names what it must not know", findings);
}

// Rooms.

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let mut findings = Vec::new();
    for file in sources() {
        let code = file.code();
        let uses = code.lines().position(|line| has_word(line, "unsafe"));
        let room = UNSAFE_ROOMS.contains(&file.name.as_str());
        if let (Some(line), false) = (uses, room) {
            findings.push(format!("{}:{}: unsafe outside of the rooms", file.name, line + 1));
        }
        if uses.is_some() && !code.contains("[expect(unsafe_code") {
            findings.push(format!("{}: unsafe without `expect(unsafe_code, reason)`", file.name));
        }
        if room && uses.is_none() {
            findings.push(format!("{}: a room without unsafe code", file.name));
        }
    }
    for room in UNSAFE_ROOMS {
        if !root().join(room).exists() {
            findings.push(format!("{room}: a room that is not there"));
        }
    }
    none("unsafe code", findings);
}

#[test]
fn every_unsafe_block_says_why() {
    let mut findings = Vec::new();
    for file in rust() {
        for line in unexplained(&file.text) {
            findings.push(format!("{}:{line}", file.name));
        }
    }
    none("unsafe without `// SAFETY:` above it", findings);
}

/// Lines outside of models that name `word`, in files that may not.
fn strangers(word: &str, allowed: &[&str], models_may: bool) -> Vec<String> {
    let mut findings = Vec::new();
    for file in sources() {
        if allowed.contains(&file.name.as_str()) || file.name.starts_with("src/stack/tests/") {
            continue;
        }
        let code = file.code();
        for (number, line, in_model) in lines_and_models(&code) {
            let opens = |start| line.trim_start().starts_with(start);
            let attribute = opens("#[") || opens("#![") || line.contains("cfg!(");
            if has_word(line, word) && !(models_may && (in_model || attribute)) {
                findings.push(format!("{}:{number}: {}", file.name, line.trim()));
            }
        }
    }
    findings
}

#[test]
fn only_the_switch_names_corosensei() {
    none("corosensei is named", strangers("corosensei", COROSENSEI, false));
}

#[test]
fn only_the_shim_and_the_models_name_loom() {
    none("loom is named", strangers("loom", LOOM, true));
}

#[test]
fn thread_local_state_stays_in_its_rooms() {
    none("thread-local state", strangers("thread_local", THREAD_LOCALS, false));
}

#[test]
fn the_library_does_not_print() {
    let printing = ["print", "println", "eprint", "eprintln", "dbg"];
    let mut findings = Vec::new();
    for file in sources() {
        let tests = file.name.contains("/tests") || file.name.ends_with("test_util.rs");
        if tests || PRINTS.contains(&file.name.as_str()) {
            continue;
        }
        for (index, line) in file.code().lines().enumerate() {
            if printing
                .iter()
                .any(|name| has_word(line, name) && line.contains(&format!("{name}!")))
            {
                findings.push(format!("{}:{}: {}", file.name, index + 1, line.trim()));
            }
        }
    }
    none("library code prints", findings);
}

// House rules.

#[test]
fn every_file_opens_with_what_it_does() {
    let opens = |file: &File| file.text.starts_with("//! ") || file.text.starts_with("#![doc");
    let silent = rust().into_iter().filter(|file| !opens(file)).map(|file| file.name);
    none("no `//!` at the top", silent.collect());
}

#[test]
fn no_file_is_long() {
    let mut findings = Vec::new();
    for file in rust() {
        let lines = file.text.lines().count();
        if lines > LONG {
            findings.push(format!("{}: {lines} lines", file.name));
        }
    }
    none("too long", findings);
}

#[test]
fn nothing_is_left_undone() {
    let marks = ["TO\u{44}O", "FIX\u{4d}E", "XX\u{58}"];
    let calls = ["todo!", "unimplemented!", "#[allow(", "#![allow("];
    let mut findings = Vec::new();
    for file in rust() {
        let code = file.code();
        for (index, (line, text)) in code.lines().zip(file.text.lines()).enumerate() {
            let marked = marks.iter().any(|mark| has_word(text, mark));
            let called = calls.iter().any(|call| line.contains(call));
            // A reason is a string, which the code does not show.
            let ignored = line.contains("#[ignore") && !text.contains("#[ignore = \"");
            if marked || called || ignored {
                findings.push(format!("{}:{}: {}", file.name, index + 1, text.trim()));
            }
        }
    }
    none("left undone, allowed, or ignored without a reason", findings);
}

#[test]
fn no_path_of_some_machine() {
    let folders = [
        "src", "tests", "examples", "interop", "netpoll", "macros", "benches", "top", "docs", "ci",
    ];
    let folders = [&folders[..], TEXTS, &["Cargo.toml"]].concat();
    let mut findings = Vec::new();
    for file in files(&folders, &[".rs", ".md", ".sh", ".toml"]) {
        for (index, line) in file.text.lines().enumerate() {
            if !absolute_paths(line).is_empty() {
                findings.push(format!("{}:{}: {}", file.name, index + 1, line.trim()));
            }
        }
    }
    none("an absolute path", findings);
}

/// Relative links in the documentation lead to files that exist.
#[test]
fn links_lead_somewhere() {
    let mut findings = Vec::new();
    for file in files(&[TEXTS, &["docs"]].concat(), &[".md"]) {
        let folder = Path::new(&file.name).parent().unwrap();
        for (index, line) in file.text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = target.split('#').next().unwrap();
                let outside = target.contains("://") || path.is_empty() || path.contains("::");
                if !outside && !root().join(folder).join(path).exists() {
                    findings.push(format!("{}:{}: {target}", file.name, index + 1));
                }
            }
        }
    }
    none("a link to nothing", findings);
}

/// What a text names in backquotes: `src/a.rs` is a file, `src/a.rs::b` a function in it.
fn missing(token: &str, read: impl Fn(&str) -> Option<String>) -> bool {
    let (path, function) = token.split_once("::").unwrap_or((token, ""));
    let parts = [".rs", ".sh", ".md"].iter().any(|end| path.ends_with(end)) && path.contains('/');
    if !parts || !path.chars().all(|c| is_word(c) || "/.-".contains(c)) {
        return false;
    }
    match read(path) {
        Some(text) => !function.is_empty() && !text.contains(&format!("fn {function}(")),
        None => true,
    }
}

#[test]
fn what_the_texts_name_exists() {
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    let mut findings = Vec::new();
    for file in files(&[TEXTS, &["docs"]].concat(), &[".md"]) {
        for (index, line) in file.text.lines().enumerate() {
            let named = quoted(line).into_iter().filter(|token| missing(token, read));
            findings.extend(named.map(|token| format!("{}:{}: {token}", file.name, index + 1)));
        }
    }
    none("named, but not there", findings);
}

/// The rules can fail.
mod rules {
    use super::*;

    #[test]
    fn a_climb_is_found() {
        let markdown = concat!(
            "# Layers\n\ntext\n\n| module | may use |\n|---|---|\n| `low` | |\n",
            "| `high` | `low` |\n\n| `no` | |"
        );
        let layers = layers(markdown);
        assert_eq!(layers.len(), 2);
        let exports = exports("pub use crate::high::Thing;");
        let climbs = |name, code| -> Vec<String> {
            climbs(name, code, &layers, &exports).into_iter().map(|(_, finding)| finding).collect()
        };
        assert!(climbs("src/high/x.rs", "use crate::low::A; use crate::high::B;").is_empty());
        assert_eq!(
            climbs("src/low.rs", "\nuse crate::high::B;"),
            ["src/low.rs:2: `low` uses `crate::high::B`"]
        );
        assert_eq!(climbs("src/low.rs", "fn f(_: crate::Thing) {}").len(), 1);
        assert_eq!(climbs("src/new/x.rs", ""), ["src/new/x.rs: the module `new` has no layer"]);
    }

    #[test]
    fn an_unexplained_block_is_found() {
        assert_eq!(unexplained("fn f() {\n    unsafe { g() }\n}"), [2]);
        assert!(unexplained("// SAFETY: it is.\nunsafe { g() }").is_empty());
        assert_eq!(unexplained("unsafe impl Send for X {}"), [1]);
        assert!(unexplained("unsafe fn f() {}").is_empty());
        assert!(unexplained("// unsafe {").is_empty());
    }

    #[test]
    fn an_absolute_path_is_found() {
        let path = ["/wo", "rk/main"].concat();
        assert_eq!(absolute_paths(&format!("see {path}")), [4]);
        assert_eq!(absolute_paths(&format!("\"{path}\"")), [1]);
        assert!(absolute_paths("target/root/x ./tmp/y $cache/root/z").is_empty());
    }

    #[test]
    fn a_missing_file_or_function_is_found() {
        let read = |path: &str| (path == "src/a.rs").then(|| "fn b() {}".to_owned());
        assert!(!missing("src/a.rs", read));
        assert!(!missing("src/a.rs::b", read));
        assert!(missing("src/a.rs::c", read));
        assert!(missing("src/c.rs", read));
        assert!(!missing("a::b", read));
    }
}
