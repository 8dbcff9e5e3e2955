//! Files and folders: `std::fs`, with waits that park the coroutine.
//!
//! Everything has std's names, signatures and errors, and is std's on a plain OS thread. In a
//! coroutine no operation stops the worker: what may take its time is done by threads of the
//! blocking pool, with data of their own.
//!
//! ```
//! use pirn::fs;
//!
//! # fn main() -> std::io::Result<()> {
//! let folder = std::env::temp_dir().join(format!("pirn-fs-{}", std::process::id()));
//! fs::create_dir_all(&folder)?;
//! fs::write(folder.join("notes"), "weft and warp")?;
//! let text = pirn::spawn({
//!     let path = folder.join("notes");
//!     move || fs::read_to_string(path)
//! });
//! assert_eq!(text.join().unwrap()?, "weft and warp");
//! fs::remove_dir_all(folder)?;
//! # Ok(())
//! # }
//! ```
//!
#![doc = include_str!("../../docs/fs.md")]

mod dir;
mod fd;
mod file;
mod file_lock;
mod handle;
mod options;
pub(crate) mod paths;
mod sys;
mod unread;

#[cfg(target_os = "linux")]
pub(crate) use sys::end_is_sure;

pub use dir::{DirEntry, ReadDir};
pub use file::File;
pub use options::{DirBuilder, OpenOptions};
#[expect(deprecated, reason = "std has it")]
pub use paths::soft_link;
pub use paths::{
    canonicalize, copy, create_dir, create_dir_all, exists, hard_link, metadata, read, read_dir,
    read_link, read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions,
    symlink_metadata, write,
};
pub use std::fs::{FileTimes, FileType, Metadata, Permissions, TryLockError};
