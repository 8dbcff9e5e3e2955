//! What the attributes refuse, with the message and the place: each program is given to `rustc`.
//!
//! The macros expand before a name is resolved, so that the programs need no `pirn`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io::Write};

/// The compiled macros, which lie beside this test.
fn library() -> PathBuf {
    let directory = env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let is_library = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let extension = path.extension().unwrap_or_default();
        name.contains("pirn_macros-") && (extension == "so" || extension == "dylib")
    };
    let entries = fs::read_dir(directory).unwrap();
    let libraries = entries.map(|entry| entry.unwrap().path()).filter(|path| is_library(path));
    // Builds with other flags leave theirs there too.
    libraries.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}

/// What `rustc` says of a program.
fn compile(program: &str) -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compiler = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "-o/dev/null", "--extern"])
        .arg(format!("pirn_macros={}", library().display()))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    compiler.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    assert!(!output.status.success(), "this compiled:\n{program}");
    String::from_utf8(output.stderr).unwrap()
}

/// `place` is `line:column`, both from 1.
#[track_caller]
fn refuses(program: &str, place: &str, message: &str) {
    let said = compile(program);
    let first = said.lines().next().unwrap_or_default();
    assert_eq!(first, format!("error: {message}"), "in\n{said}");
    let second = said.lines().nth(1).unwrap_or_default();
    assert!(second.ends_with(&format!("<anon>:{place}")), "not at {place}:\n{said}");
}

/// The same, and nothing else is said.
#[track_caller]
fn only_refuses(program: &str, place: &str, message: &str) {
    refuses(program, place, message);
    let said = compile(program);
    let errors = said.lines().filter(|line| line.starts_with("error")).count();
    assert_eq!(errors, 2, "more than the error and the total:\n{said}");
}

#[test]
fn unknown_option() {
    only_refuses(
        "#[pirn_macros::main(wokers = 4)]\nfn main() {}",
        "1:21",
        "unknown option `wokers`; there are `workers` and `stack_size`",
    );
}

#[test]
fn option_given_twice() {
    only_refuses(
        "#[pirn_macros::main(workers = 4, workers = 5)]\nfn main() {}",
        "1:34",
        "option `workers` is given twice",
    );
}

#[test]
fn option_without_value() {
    for program in [
        "#[pirn_macros::main(workers)]\nfn main() {}",
        "#[pirn_macros::main(workers =)]\nfn main() {}",
        "#[pirn_macros::main(workers = , stack_size = 1)]\nfn main() {}",
    ] {
        only_refuses(program, "1:21", "expected `workers = value`");
    }
}

#[test]
fn option_without_equals_sign() {
    only_refuses(
        "#[pirn_macros::main(workers(4))]\nfn main() {}",
        "1:28",
        "expected `workers = value`",
    );
}

#[test]
fn option_that_is_no_name() {
    only_refuses(
        "#[pirn_macros::main(4)]\nfn main() {}",
        "1:21",
        "expected an option: `workers` and `stack_size`",
    );
}

#[test]
fn asynchronous_function() {
    refuses(
        "#[pirn_macros::main]\nasync fn main() {}",
        "2:1",
        "`#[pirn::main]` is for ordinary functions: \
         remove `async`, and call what blocks without `.await`",
    );
    refuses(
        "#[pirn_macros::test]\npub async fn name() {}\nfn main() {}",
        "2:5",
        "`#[pirn::test]` is for ordinary functions: \
         remove `async`, and call what blocks without `.await`",
    );
}

#[test]
fn other_qualifiers() {
    for qualifier in ["const", "unsafe", "extern \"C\""] {
        let word = qualifier.split(' ').next().unwrap();
        refuses(
            &format!("#[pirn_macros::test]\n{qualifier} fn name() {{}}\nfn main() {{}}"),
            "2:1",
            &format!("`#[pirn::test]` is for ordinary functions: remove `{word}`"),
        );
    }
}

#[test]
fn method() {
    for (receiver, place) in
        [("self", "3:9"), ("&self", "3:9"), ("&'a mut self", "3:9"), ("self: &Self", "3:9")]
    {
        refuses(
            &format!(
                "struct Type;\nimpl<'a> Type {{ #[pirn_macros::main]\nfn name({receiver}) {{}} }}\nfn main() {{}}"
            ),
            place,
            "`#[pirn::main]` is for free functions: this one is a method, it takes `self`",
        );
    }
}

#[test]
fn arguments() {
    refuses(
        "#[pirn_macros::main]\nfn main(itself: u32) {}",
        "2:9",
        "the function of `#[pirn::main]` cannot take arguments",
    );
}

#[test]
fn generic_function() {
    let message = "the function of `#[pirn::test]` cannot be generic";
    refuses("#[pirn_macros::test]\nfn name<T>() {}\nfn main() {}", "2:8", message);
    refuses("#[pirn_macros::test]\nfn name() where u8: Copy {}\nfn main() {}", "2:11", message);
}

#[test]
fn no_function() {
    let message = "`#[pirn::main]` is for functions";
    for (item, place) in [
        ("struct Type { field: u8 }", "2:1"),
        ("struct Type;", "2:12"),
        ("mod name {}", "2:1"),
        ("const X: u8 = { 1 };", "2:20"),
        ("unsafe impl Send for X {}", "2:1"),
        ("macro_rules! name { () => {} }", "2:1"),
    ] {
        refuses(&format!("#[pirn_macros::main]\n{item}\nfn main() {{}}"), place, message);
    }
}

#[test]
fn two_test_attributes() {
    let message = "`#[pirn::test]` makes the test: remove `#[test]`";
    let program = "#[pirn_macros::test]\n#[test]\nfn name() {}\nfn main() {}";
    only_refuses(program, "2:2", message);
}
