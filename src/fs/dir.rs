//! What is in a folder.

use crate::fs::handle::away;
use crate::sched;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Entries that one visit to the pool brings: at first, and at most.
const FIRST: usize = 32;
const MOST: usize = 1024;

/// The entries of a folder: [`std::fs::ReadDir`].
///
/// In a coroutine, entries are fetched by the blocking pool, many at a time. If a wait for them is
/// cancelled, there are no more.
///
/// # Examples
///
/// ```
/// let names: Vec<_> =
///     pirn::fs::read_dir(".")?.map(|entry| entry.unwrap().file_name()).collect();
/// assert!(names.iter().any(|name| name == "Cargo.toml"));
/// # std::io::Result::Ok(())
/// ```
pub struct ReadDir {
    root: PathBuf,
    fetched: VecDeque<io::Result<DirEntry>>,
    /// Until the end.
    rest: Option<std::fs::ReadDir>,
    batch: usize,
}

// As std's: what was fetched is handed out as it is, and nothing else depends on it.
impl UnwindSafe for ReadDir {}
impl RefUnwindSafe for ReadDir {}

impl ReadDir {
    pub(super) fn open(path: &Path) -> io::Result<ReadDir> {
        let root = path.to_owned();
        let fresh = |root| {
            let rest = std::fs::read_dir(&root)?;
            Ok(ReadDir { root, fetched: VecDeque::new(), rest: Some(rest), batch: FIRST })
        };
        if !sched::in_coroutine() {
            return fresh(root);
        }
        away(move || {
            let mut entries: ReadDir = fresh(root)?;
            entries.fetch();
            Ok(entries)
        })
    }

    fn fetch(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        for _ in 0..self.batch {
            match rest.next() {
                Some(entry) => self.fetched.push_back(entry.map(DirEntry::fetched)),
                None => {
                    self.rest = None;
                    return;
                }
            }
        }
        self.batch = (self.batch * 2).min(MOST);
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if let Some(entry) = self.fetched.pop_front() {
            return Some(entry);
        }
        if !sched::in_coroutine() {
            return self.rest.as_mut()?.next().map(|entry| entry.map(DirEntry::plain));
        }
        let rest = self.rest.take()?;
        let root = std::mem::take(&mut self.root);
        let mut entries =
            ReadDir { root, fetched: VecDeque::new(), rest: Some(rest), batch: self.batch };
        let fetched = away(move || {
            entries.fetch();
            Ok(entries)
        });
        *self = fetched.ok()?;
        self.fetched.pop_front()
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadDir").field(&self.root).finish()
    }
}

/// One entry of a folder: [`std::fs::DirEntry`].
pub struct DirEntry {
    entry: Arc<std::fs::DirEntry>,
    /// If it was known without asking, or was asked for on the pool.
    file_type: Option<FileType>,
}

impl DirEntry {
    fn plain(entry: std::fs::DirEntry) -> DirEntry {
        DirEntry { entry: Arc::new(entry), file_type: None }
    }

    /// On the pool, so this may ask. Most file systems tell the type with the name.
    fn fetched(entry: std::fs::DirEntry) -> DirEntry {
        let file_type = entry.file_type().ok();
        DirEntry { entry: Arc::new(entry), file_type }
    }

    /// The path that was given to [`read_dir`](crate::fs::read_dir), with the name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// What is known about the entry; symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        let entry = self.entry.clone();
        away(move || entry.metadata())
    }

    /// What the entry is; symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// What the system says, if it has to be asked.
    pub fn file_type(&self) -> io::Result<FileType> {
        if let Some(file_type) = self.file_type {
            return Ok(file_type);
        }
        let entry = self.entry.clone();
        away(move || entry.file_type())
    }

    /// The name, without what leads there.
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.entry.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)
    }
}
