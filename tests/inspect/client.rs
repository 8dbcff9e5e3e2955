//! Somebody who looks.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Long enough for any machine: a test that gets there has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of a test's own, removed at its end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pirn-inspect-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(crate) struct Client(BufReader<UnixStream>);

impl Client {
    pub(crate) fn connect(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        self.0.get_ref()
    }

    pub(crate) fn send(&self, line: &[u8]) {
        self.stream().write_all(line).unwrap();
    }

    /// The next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        self.try_line().unwrap()
    }

    pub(crate) fn try_line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line)
    }

    pub(crate) fn ask(&mut self, request: &str) -> String {
        self.send(format!("{request}\n").as_bytes());
        self.line()
    }

    /// Asks until the answer is right: on a busy machine a worker may not come to it in time, which is
    /// then left out.
    #[track_caller]
    pub(crate) fn until(&mut self, request: &str, is_right: impl Fn(&str) -> bool) -> String {
        self.until_answered(request, |answer| {
            assert!(answer.contains("\"ok\":"), "{request}: {answer}");
            is_right(answer)
        })
    }

    /// The same, of a request that may also be refused meanwhile.
    #[track_caller]
    pub(crate) fn until_answered(
        &mut self,
        request: &str,
        is_right: impl Fn(&str) -> bool,
    ) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(request);
            if is_right(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{request}: {answer}");
        }
    }

    /// The answer, which is none to a bad request.
    #[track_caller]
    pub(crate) fn good(&mut self, request: &str) -> String {
        let answer = self.ask(request);
        assert!(answer.contains("\"ok\":"), "{request}: {answer}");
        answer
    }
}

/// The numbers that follow `key` in a text.
pub(crate) fn numbers(text: &str, key: &str) -> Vec<u64> {
    let key = format!("\"{key}\":");
    let digits = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    text.split(&key).skip(1).filter_map(digits).collect()
}
