//! The socket itself: who may use it, and when it is there.

use crate::client::{Client, Folder};
use pirn::Builder;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

/// Held around a fork, and where a listener is closed that is to be dead then: between its fork and its
/// exec, a child has all that is open.
static FORKING: Mutex<()> = Mutex::new(());

const HELLO: &str = r#"{"request":"hello"}"#;

/// Tells a child which path to open, and what to do with it.
const CHILD: &str = "PIRN_TEST_INSPECT";

#[test]
fn only_its_user_may_connect() {
    let folder = Folder::new();
    let runtime = Builder::new().workers(1).inspect(folder.socket()).build().unwrap();
    let meta = fs::symlink_metadata(folder.socket()).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    Client::connect(&folder.socket()).good(HELLO);
    drop(runtime);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "all is removed");
}

#[test]
fn a_runtime_that_refuses_to_be_dropped_can_be_inspected() {
    let folder = Folder::new();
    let runtime = Builder::new().workers(1).inspect(folder.socket()).build().unwrap();
    let (give, given) = pirn::channel::bounded::<pirn::Runtime>(1);
    let own = runtime.spawn(move || drop(given.recv().unwrap()));
    give.send(runtime).unwrap();
    assert!(own.join().is_err());
    Client::connect(&folder.socket()).good(HELLO);
}

#[test]
fn a_folder_is_given_a_name_for_each_process() {
    let folder = Folder::new();
    let runtime = Builder::new().workers(1).inspect(&folder.0).build().unwrap();
    let path = folder.0.join(format!("pirn-{}.sock", std::process::id()));
    Client::connect(&path).good(HELLO);
    drop(runtime);
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new();
    let _no_forks = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
    drop(UnixListener::bind(folder.socket()).unwrap());
    let runtime = Builder::new().workers(1).inspect(folder.socket()).build().unwrap();
    Client::connect(&folder.socket()).good(HELLO);
    drop(runtime);

    let other = UnixListener::bind(folder.socket()).unwrap();
    let refused = Builder::new().workers(1).inspect(folder.socket()).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    drop(other);
    fs::remove_file(folder.socket()).unwrap();

    fs::write(folder.socket(), "precious").unwrap();
    let refused = Builder::new().workers(1).inspect(folder.socket()).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");
}

#[test]
fn runtimes_of_one_process_share_a_path() {
    let folder = Folder::new();
    let build = || Builder::new().workers(1).inspect(folder.socket()).build().unwrap();
    let (first, second) = (build(), build());
    let file = fs::metadata(folder.socket()).unwrap().ino();
    drop(first);
    assert_eq!(fs::metadata(folder.socket()).unwrap().ino(), file);
    Client::connect(&folder.socket()).good(HELLO);
    drop(second);
    assert!(!folder.socket().exists());
}

#[test]
fn it_is_removed_when_the_process_exits() {
    if let Ok(path) = env::var(CHILD) {
        // The default runtime, which is never dropped.
        let answer = pirn::spawn(move || Client::connect(path.as_ref()).good(HELLO));
        print!("child: {}", answer.join().unwrap());
        return;
    }
    let folder = Folder::new();
    let forking = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "socket::it_is_removed_when_the_process_exits", "--nocapture"])
        .env(CHILD, folder.socket())
        .env("PIRN_INSPECT", folder.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(forking);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("\"ok\":{\"pirn\""), "{text}");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}
