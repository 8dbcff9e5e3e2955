//! A child process without its pipes, and how its end is waited for.

use crate::blocking::blocking_for;
use crate::netpoller::{Done, Side, Source};
use crate::park::{self, WaitReason};
use crate::process::sys;
use crate::sched;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::thread;

/// Enough for a thread that makes one system call.
const STACK: usize = 64 * 1024;

/// See the module's description.
pub(super) struct Process {
    child: std::process::Child,
    /// Readable once the child has exited. There as soon as a coroutine has had to wait.
    exit: Option<Source>,
    /// It has been waited for, so that its number may be another's.
    ended: bool,
    kill_on_drop: bool,
}

impl Process {
    pub(super) fn new(child: std::process::Child) -> Process {
        Process { child, exit: None, ended: false, kill_on_drop: false }
    }

    pub(super) fn set_kill_on_drop(&mut self, on: bool) {
        self.kill_on_drop = on;
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    pub(super) fn send_signal(&self, signal: i32) -> io::Result<()> {
        if self.ended { Ok(()) } else { sys::kill(self.pid(), signal) }
    }

    fn pid(&self) -> libc::pid_t {
        self.id() as libc::pid_t
    }

    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            self.ended = true;
            self.exit = None;
        }
        Ok(status)
    }

    /// Waits for the end. Every wake leads to `waitpid` without waiting, so what wakes is a hint.
    pub(super) fn wait(&mut self) -> io::Result<ExitStatus> {
        if !sched::in_coroutine() && !park::is_in_scope() {
            let status = self.child.wait();
            self.ended |= status.is_ok();
            return status;
        }
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if self.wait_by_descriptor().is_err() {
                // Out of descriptors or of threads, or the poller is out of memory.
                let pid = self.pid();
                blocking_for(WaitReason::Process, move || sys::block_until_exit(pid));
            }
        }
    }

    /// Waits until there is something to be learnt about the child.
    fn wait_by_descriptor(&mut self) -> io::Result<()> {
        let pid = self.pid();
        let exit = match &mut self.exit {
            Some(exit) => exit,
            none => {
                let fd = sys::pidfd_open(pid).or_else(|_no_such_call| watch_by_thread(pid))?;
                none.insert(Source::new(fd))
            }
        };
        let child = &mut self.child;
        exit.io(Side::Read, WaitReason::Process, None, |_fd| match child.try_wait() {
            Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
            // Std's child keeps the status.
            Ok(Some(_)) | Err(_) => Ok(Done { value: (), drained: false }),
        })
    }

    /// Waits for the end of a child that was killed, whatever comes between.
    fn bury(&mut self) {
        struct Again<'a>(&'a mut Process);

        impl Drop for Again<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    let _gone = self.0.wait();
                }
            }
        }

        // A cancellation that comes here unwinds; and while that goes on, a wait is not cancelled.
        let _gone = Again(self).0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If somebody else has waited for it, its number may be another's.
        if self.kill_on_drop && matches!(self.try_wait(), Ok(None)) && self.kill().is_ok() {
            self.bury();
        }
    }
}

/// A pipe whose writing end is held by a thread that waits for the child.
fn watch_by_thread(pid: libc::pid_t) -> io::Result<OwnedFd> {
    let (reader, writer) = io::pipe()?;
    thread::Builder::new().name("pirn-child".to_owned()).stack_size(STACK).spawn(move || {
        sys::block_until_exit(pid);
        drop(writer);
    })?;
    Ok(reader.into())
}
