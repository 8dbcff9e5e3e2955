//! Tells the program which compiler has built it.

use std::env;
use std::process::Command;

fn main() {
    let rustc = env::var_os("RUSTC").expect("cargo says which compiler it calls");
    let output = Command::new(rustc).arg("--version").output().expect("it says its version");
    let version = String::from_utf8(output.stdout).expect("in words");
    println!("cargo::rustc-env=RUSTC_VERSION={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
