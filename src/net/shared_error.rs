//! An error that several get, each as one of his own.

use std::io;

/// What can be told of an `io::Error`, which cannot be cloned.
#[derive(Clone, Debug)]
pub(super) struct SharedError {
    code: Option<i32>,
    kind: io::ErrorKind,
    message: String,
}

impl SharedError {
    pub(super) fn of(error: &io::Error) -> SharedError {
        SharedError { code: error.raw_os_error(), kind: error.kind(), message: error.to_string() }
    }

    pub(super) fn to_error(&self) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.kind, self.message.clone()),
        }
    }
}
