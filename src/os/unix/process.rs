//! Child processes on Unix: `std::os::unix::process` for [`crate::process`].

#![expect(unsafe_code, reason = "closures that run between fork and exec are unsafe to give")]

use crate::process::{Child, Command};
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;

pub use std::os::unix::process::{ExitStatusExt, parent_id};

mod sealed {
    /// The extension traits are for the types here alone.
    pub trait Sealed {}

    impl Sealed for crate::process::Child {}
    impl Sealed for crate::process::Command {}
}

/// What else a [`Command`] can be told on Unix: [`std::os::unix::process::CommandExt`].
pub trait CommandExt: sealed::Sealed {
    /// Sets the child's user.
    fn uid(&mut self, id: u32) -> &mut Command;

    /// Sets the child's group.
    fn gid(&mut self, id: u32) -> &mut Command;

    /// Has the child run `f` after the fork, right before it becomes another program. An error of
    /// `f` comes out of the spawn.
    ///
    /// Such a child is made by a `fork`, which copies the tables of all of this process' memory,
    /// instead of by the faster `posix_spawn`.
    ///
    /// # Safety
    ///
    /// `f` runs in a copy of this process that has one thread, which may be that of a worker. It
    /// must restrict itself to what is safe in a signal handler: no allocation, no locks, and
    /// nothing of this crate.
    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static;

    /// [`pre_exec`](CommandExt::pre_exec), by its old name.
    ///
    /// # Safety
    ///
    /// As there.
    #[deprecated(note = "use `pre_exec`")]
    unsafe fn before_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller's promise.
        unsafe { self.pre_exec(f) }
    }

    /// Makes this process the program, and returns only if that fails. No destructors are run.
    #[must_use]
    fn exec(&mut self) -> io::Error;

    /// Sets what the program sees as its own name.
    fn arg0<S>(&mut self, arg: S) -> &mut Command
    where
        S: AsRef<OsStr>;

    /// Puts the child into this process group, or with 0 into one of its own.
    fn process_group(&mut self, pgroup: i32) -> &mut Command;
}

impl CommandExt for Command {
    fn uid(&mut self, id: u32) -> &mut Command {
        self.as_std_mut().uid(id);
        self
    }

    fn gid(&mut self, id: u32) -> &mut Command {
        self.as_std_mut().gid(id);
        self
    }

    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller's promise.
        unsafe { self.as_std_mut().pre_exec(f) };
        self
    }

    fn exec(&mut self) -> io::Error {
        self.as_std_mut().exec()
    }

    fn arg0<S>(&mut self, arg: S) -> &mut Command
    where
        S: AsRef<OsStr>,
    {
        self.as_std_mut().arg0(arg);
        self
    }

    fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.as_std_mut().process_group(pgroup);
        self
    }
}

/// What else a [`Child`] can do on Unix.
pub trait ChildExt: sealed::Sealed {
    /// Sends a signal to the child. Does nothing if the child has been waited for already.
    ///
    /// # Errors
    ///
    /// What the system says, such as `InvalidInput` for what is no signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::os::unix::process::{ChildExt, ExitStatusExt};
    ///
    /// let mut child = pirn::process::Command::new("sleep").arg("1000").spawn()?;
    /// child.send_signal(15)?;
    /// assert_eq!(child.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn send_signal(&self, signal: i32) -> io::Result<()>;
}

impl ChildExt for Child {
    fn send_signal(&self, signal: i32) -> io::Result<()> {
        Child::send_signal(self, signal)
    }
}
