//! The connection to the program.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MOST: u64 = 1 << 30;

pub(crate) struct Client(BufReader<UnixStream>);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is lost.
    Lost(io::Error),
    /// The program has said no, or nothing that can be understood.
    Refused(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Lost(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Lost(error) => error.fmt(f),
            Failure::Refused(message) => f.write_str(message),
        }
    }
}

impl Client {
    pub(crate) fn connect(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client(BufReader::new(stream)))
    }

    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value, Failure> {
        let line = format!("{request}\n");
        self.0.get_ref().write_all(line.as_bytes())?;
        let mut answer = Vec::new();
        (&mut self.0).take(MOST).read_until(b'\n', &mut answer)?;
        if !answer.ends_with(b"\n") {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the program has ended").into());
        }
        let refused = |what: &str| Failure::Refused(what.to_owned());
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|error| refused(&error.to_string()))?;
        match (answer.get("ok"), answer.get("error").and_then(Value::as_str)) {
            (Some(ok), _) => Ok(ok.clone()),
            (None, Some(error)) => Err(refused(error)),
            (None, None) => Err(refused("an answer that is none")),
        }
    }
}

/// The type that is asked for, or its default.
pub(crate) fn read<T: DeserializeOwned + Default>(value: Value) -> T {
    serde_json::from_value(value).unwrap_or_default()
}

pub(crate) fn plain(request: &str) -> Value {
    json!({ "v": 1, "request": request })
}

/// The one socket in a folder, or the path itself.
pub(crate) fn find(path: &Path) -> io::Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let named = path.file_name().and_then(|name| name.to_str());
        let ours = named.is_some_and(|name| name.starts_with("pirn-") && name.ends_with(".sock"));
        if ours && UnixStream::connect(&path).is_ok() {
            found.push(path);
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(io::Error::new(ErrorKind::NotFound, "no program can be inspected there")),
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            let message = format!("several programs: {}", names.join(", "));
            Err(io::Error::new(ErrorKind::InvalidInput, message))
        }
    }
}
