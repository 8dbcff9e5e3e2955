//! How files are opened, and folders made.

use crate::fs::handle::away;
use crate::fs::{File, file};
use std::fmt;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// How a file is to be opened: [`std::fs::OpenOptions`], which opens a [`File`] of pirn's.
///
/// # Examples
///
/// ```
/// use pirn::fs::OpenOptions;
///
/// let file = OpenOptions::new().read(true).open("Cargo.toml")?;
/// assert!(file.metadata()?.is_file());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct OpenOptions(std::fs::OpenOptions);

impl OpenOptions {
    /// With everything off.
    #[expect(clippy::new_without_default, reason = "std's has no default either")]
    #[must_use]
    pub fn new() -> OpenOptions {
        OpenOptions(std::fs::OpenOptions::new())
    }

    /// For reading.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.0.read(read);
        self
    }

    /// For writing, over what is there.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.0.write(write);
        self
    }

    /// For writing, always at the end.
    ///
    /// One call writes no more than 2 MiB; so two writers do not get into each other's records as
    /// long as these are shorter.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.0.append(append);
        self
    }

    /// Empties a file that exists.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.0.truncate(truncate);
        self
    }

    /// Makes the file if it does not exist.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.0.create(create);
        self
    }

    /// Makes the file, and fails if it exists.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.0.create_new(create_new);
        self
    }

    /// Opens the file.
    ///
    /// A named pipe is opened when somebody opens its other end; until then a thread of the
    /// blocking pool waits. With `O_NONBLOCK` as a
    /// [custom flag](crate::os::unix::fs::OpenOptionsExt::custom_flags) it does not.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for options that make no sense together.
    /// - What the system says, such as `NotFound` or `PermissionDenied`.
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        file::open(self.0.clone(), path.as_ref())
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.0.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.0.custom_flags(flags);
        self
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a folder is to be made: [`std::fs::DirBuilder`].
///
/// # Examples
///
/// ```
/// let folder = std::env::temp_dir().join(format!("pirn-folder-{}", std::process::id()));
/// pirn::fs::DirBuilder::new().recursive(true).create(folder.join("a/b"))?;
/// pirn::fs::remove_dir_all(folder)?;
/// # std::io::Result::Ok(())
/// ```
pub struct DirBuilder {
    mode: Option<u32>,
    recursive: bool,
}

impl DirBuilder {
    /// As [`create_dir`](crate::fs::create_dir) makes them.
    #[expect(clippy::new_without_default, reason = "std's has no default either")]
    #[must_use]
    pub fn new() -> DirBuilder {
        DirBuilder { mode: None, recursive: false }
    }

    /// Whether the folders that lead there are made too, and a folder that exists is no error.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// Makes the folder.
    ///
    /// # Errors
    ///
    /// What the system says, such as `AlreadyExists` or `NotFound`.
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let (builder, path) = (self.as_std(), path.as_ref().to_owned());
        away(move || builder.create(path))
    }

    /// Std's cannot be cloned, and the pool needs one of its own.
    fn as_std(&self) -> std::fs::DirBuilder {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(self.recursive);
        if let Some(mode) = self.mode {
            builder.mode(mode);
        }
        builder
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = Some(mode);
        self
    }
}

impl fmt::Debug for DirBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_std().fmt(f)
    }
}
