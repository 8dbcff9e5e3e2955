//! What is to be run, and how.

use crate::process::child::Child;
use crate::sched;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{CommandArgs, CommandEnvs, ExitStatus, Output, Stdio};

/// A builder of processes: [`std::process::Command`] whose children are waited for by parking.
///
/// # Examples
///
/// ```
/// use pirn::process::Command;
///
/// let output = pirn::spawn(|| Command::new("echo").arg("hello").output());
/// assert_eq!(output.join().unwrap()?.stdout, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Command {
    inner: std::process::Command,
    /// Which of its streams the user has said something about: stdin, stdout, stderr.
    given: [bool; 3],
    kill_on_drop: bool,
}

impl Command {
    /// A command for this program, without arguments, with everything else inherited.
    ///
    /// A name without a slash is looked up in `PATH`.
    #[must_use]
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        let inner = std::process::Command::new(program);
        Command { inner, given: [false; 3], kill_on_drop: false }
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.env(key, val);
        self
    }

    /// Sets environment variables.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Takes an environment variable away, set here or inherited.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.inner.env_remove(key);
        self
    }

    /// Takes all environment variables away, set here or inherited.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Sets the directory in which the process starts.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.inner.current_dir(dir);
        self
    }

    /// Sets the standard input: inherited unless this says otherwise, and empty for
    /// [`output`](Command::output).
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdin(cfg);
        self.given[0] = true;
        self
    }

    /// Sets the standard output: inherited unless this says otherwise, and captured by
    /// [`output`](Command::output).
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdout(cfg);
        self.given[1] = true;
        self
    }

    /// Sets the standard error: inherited unless this says otherwise, and captured by
    /// [`output`](Command::output).
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stderr(cfg);
        self.given[2] = true;
        self
    }

    /// Whether a child is killed when its [`Child`] is dropped before it has been waited for. Not
    /// unless this says so, as with std.
    ///
    /// This makes a child follow its coroutine: one that is cancelled drops what it owns, the
    /// children of its [`status`](Command::status) and [`output`](Command::output) included. The
    /// drop sends `SIGKILL`, and waits until the child is gone. What the child has started itself
    /// is not killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::process::Command;
    ///
    /// let runtime = pirn::Builder::new().workers(1).build()?;
    /// let child = Command::new("sleep").arg("1000").kill_on_drop(true).spawn()?;
    /// runtime.spawn(move || pirn::thread::park_timeout(std::time::Duration::MAX) == drop(child));
    /// drop(runtime); // Cancels the coroutine, which drops the child, which kills it.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Starts the process.
    ///
    /// This is done on the calling thread, as by std, since a process inherits from its thread. A
    /// worker is busy for as long as that takes: see [the module](crate::process).
    ///
    /// # Errors
    ///
    /// Those of std: `NotFound` if there is no such program, and what else the system says.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let child = sched::block_in_place(|| self.inner.spawn())?;
        Child::new(child, self.kill_on_drop)
    }

    /// Runs the process to its end and gives what it has written.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> io::Result<Output> {
        let [stdin, stdout, stderr] = self.given;
        if !stdin {
            self.inner.stdin(Stdio::null());
        }
        if !stdout {
            self.inner.stdout(Stdio::piped());
        }
        if !stderr {
            self.inner.stderr(Stdio::piped());
        }
        let child = self.spawn();
        // For whoever uses this command again.
        if !stdin {
            self.inner.stdin(Stdio::inherit());
        }
        if !stdout {
            self.inner.stdout(Stdio::inherit());
        }
        if !stderr {
            self.inner.stderr(Stdio::inherit());
        }
        child?.wait_with_output()
    }

    /// Runs the process to its end.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// The program.
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// The arguments, without the program.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// The environment variables that were set, and with `None` those that were taken away.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// The directory that was set.
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }

    /// For what only some systems have.
    pub(crate) fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.inner
    }
}

impl fmt::Debug for Command {
    /// As std's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
