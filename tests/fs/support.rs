//! Folders of a test's own, runtimes with few threads, and an end to tests that hang.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Long enough for anything that is going to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// A folder that goes when the test ends.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pirn-fs-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A named pipe.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    /// Descriptors of this process that are open below the folder.
    pub(crate) fn descriptors(&self) -> usize {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        targets.filter(|target| target.starts_with(&self.0)).count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Not in the way of what the test has to say.
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// With one thread for blocking work.
pub(crate) fn narrow(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).max_blocking_threads(1).build().unwrap()
}

/// Runs `test` in a coroutine of a runtime, and the same on a thread.
#[track_caller]
pub(crate) fn everywhere(test: impl Fn() + Send + Sync + 'static) {
    let test = std::sync::Arc::new(test);
    for workers in [0, 1, 2] {
        let test = test.clone();
        within_patience(move || match workers {
            0 => test(),
            workers => narrow(workers).run(|| test()),
        });
    }
}

/// Runs `work` elsewhere, and fails if it hangs.
#[track_caller]
pub(crate) fn within_patience<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sent, done) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        let result = work();
        // The test has failed already, if nobody listens.
        let _late = sent.send(());
        result
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = done.recv_timeout(PATIENCE) {
        panic!("it hangs");
    }
    worker.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Yields, on a thread or in a coroutine, until it is so.
#[track_caller]
pub(crate) fn until(condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it does not come to that");
        pirn::thread::yield_now();
        std::thread::yield_now();
    }
}
