//! A process that was started.

use crate::process::exit::Process;
use crate::process::pipes::{ChildStderr, ChildStdin, ChildStdout, read_both};
use std::fmt;
use std::io::{self, Read};
use std::process::{ExitStatus, Output};

/// A running or ended child process: [`std::process::Child`] whose waits park.
///
/// As with std, dropping it neither waits for the child nor ends it, and a child that has ended and
/// was not waited for stays in the system's table. [`Command::kill_on_drop`] makes it otherwise.
///
/// [`Command::kill_on_drop`]: crate::process::Command::kill_on_drop
///
/// # Examples
///
/// ```
/// use pirn::process::{Command, Stdio};
/// use std::io::{Read, Write};
///
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// child.stdin.take().unwrap().write_all(b"meow")?;
/// let mut text = String::new();
/// child.stdout.take().unwrap().read_to_string(&mut text)?;
/// assert_eq!(text, "meow");
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Child {
    process: Process,
    /// Our end of its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Our end of its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Our end of its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
}

impl Child {
    /// Takes over what std has just spawned.
    pub(super) fn new(mut child: std::process::Child, kill_on_drop: bool) -> io::Result<Child> {
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut process = Process::new(child);
        // Nobody gets to know of the child if this fails.
        process.set_kill_on_drop(true);
        let stdin = stdin.map(ChildStdin::ours).transpose()?;
        let stdout = stdout.map(ChildStdout::ours).transpose()?;
        let stderr = stderr.map(ChildStderr::ours).transpose()?;
        process.set_kill_on_drop(kill_on_drop);
        Ok(Child { process, stdin, stdout, stderr })
    }

    /// Takes a child of std's over. Its pipes' flags stay as they are.
    #[must_use]
    pub fn from_std(mut child: std::process::Child) -> Child {
        Child {
            stdin: child.stdin.take().map(ChildStdin::from_std),
            stdout: child.stdout.take().map(ChildStdout::from_std),
            stderr: child.stderr.take().map(ChildStderr::from_std),
            process: Process::new(child),
        }
    }

    /// Kills the child, by `SIGKILL`. Does nothing if it has been waited for already.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Its number in the system. Once the child has been waited for, another may get it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the child has ended, after closing its standard input. Waiting again gives the
    /// same status.
    ///
    /// # Errors
    ///
    /// What the system says: somebody else may have waited for it.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.process.wait()
    }

    /// Gives the status if the child has ended, without waiting, and without closing its standard
    /// input.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Closes the standard input, reads everything from those of the other two that are pipes, and
    /// waits until the child has ended.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait), and those of reading, for which std panics.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        match (self.stdout.take(), self.stderr.take()) {
            (None, None) => {}
            (Some(mut out), None) => drop(out.read_to_end(&mut stdout)?),
            (None, Some(mut err)) => drop(err.read_to_end(&mut stderr)?),
            (Some(out), Some(err)) => read_both((&out, &mut stdout), (&err, &mut stderr))?,
        }
        let status = self.wait()?;
        Ok(Output { status, stdout, stderr })
    }

    /// Sends a signal, unless the child has been waited for already.
    pub(crate) fn send_signal(&self, signal: i32) -> io::Result<()> {
        self.process.send_signal(signal)
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}
