//! epoll, woken by an eventfd.
//!
//! Everything is the kernel's: there is no table of registrations here and no lock.

#![expect(unsafe_code, reason = "epoll(7)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::eventfd::Waker;
use super::{Backend, syscall, timeout};
use crate::event::{Event, Readiness};
use crate::{Interest, Key, Poller, Trigger};

/// An epoll with its waker registered.
pub(crate) struct Selector {
    epoll: OwnedFd,
    waker: Arc<Waker>,
    /// Whether `epoll_pwait2`, whose timeout has nanoseconds, is worth a try. Linux has it since
    /// 5.11. On Android it is not, since the sandbox of an app may kill it for a call that the
    /// sandbox does not know.
    precise: AtomicBool,
}

/// Where the kernel writes its events.
pub(crate) struct Buffer(Vec<libc::epoll_event>);

impl Backend for Selector {
    const NAME: &'static str = "epoll";

    type Waker = Waker;
    type Buffer = Buffer;

    fn new() -> io::Result<Selector> {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = unsafe { syscall!(epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        let selector = Selector {
            // SAFETY: the system just made this descriptor for us; nobody else owns it.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
            waker: Arc::new(Waker::new()?),
            precise: AtomicBool::new(cfg!(target_os = "linux")),
        };
        let fd = selector.waker.as_fd();
        selector.add(fd, Key::RESERVED, Interest::READABLE, Trigger::Edge)?;
        Ok(selector)
    }

    fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    fn add(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, Some(registration(key, interest, trigger)))
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, Some(registration(key, interest, trigger)))
    }

    fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, None)
    }

    #[inline]
    fn rearm(&self, _fd: BorrowedFd<'_>, _interest: Interest) -> io::Result<()> {
        Ok(())
    }

    fn buffer(capacity: usize) -> Buffer {
        Buffer(vec![libc::epoll_event { events: 0, u64: 0 }; capacity])
    }

    fn capacity(buffer: &Buffer) -> usize {
        buffer.0.len()
    }

    fn poll(
        &self,
        buffer: &mut Buffer,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let ready = self.wait(buffer, timeout)?;
        for &libc::epoll_event { events: flags, u64: key } in &buffer.0[..ready] {
            let key = Key::from(key);
            if key != Key::RESERVED {
                events.push(Event::new(key, readiness(flags)));
            }
        }
        Ok(())
    }
}

impl Selector {
    fn control(
        &self,
        operation: libc::c_int,
        fd: BorrowedFd<'_>,
        mut event: Option<libc::epoll_event>,
    ) -> io::Result<()> {
        let event = event.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: `event` is null, which EPOLL_CTL_DEL allows, or points to a live epoll_event.
        unsafe {
            syscall!(epoll_ctl(self.epoll.as_raw_fd(), operation, fd.as_raw_fd(), event))
        }?;
        Ok(())
    }

    /// Returns how many events the kernel placed in the buffer.
    fn wait(&self, buffer: &mut Buffer, timeout: Option<Duration>) -> io::Result<usize> {
        if let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero())
            && self.precise.load(Ordering::Relaxed)
        {
            match self.wait_precisely(buffer, timeout) {
                // A sandbox that was written before the call existed says EPERM.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.precise.store(false, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        let epoll = self.epoll.as_raw_fd();
        let milliseconds = timeout.map_or(-1, milliseconds);
        // SAFETY: the buffer is alive and has room for as many events as told.
        unsafe { syscall!(wait epoll_wait(epoll, buffer.0.as_mut_ptr(), buffer.len(), milliseconds)) }
    }

    fn wait_precisely(&self, buffer: &mut Buffer, timeout: Duration) -> io::Result<usize> {
        /// The kernel's `struct __kernel_timespec`: 64 bits each, on every architecture.
        #[repr(C)]
        struct Timespec {
            seconds: i64,
            nanoseconds: i64,
        }

        let (seconds, nanoseconds) = timeout::parts(timeout);
        let timeout = Timespec { seconds, nanoseconds };
        // SAFETY:
        // - The buffer is alive and has room for as many events as told.
        // - `timeout` is alive and has the layout that this call reads.
        // - A null signal mask leaves the thread's mask alone; its size is then not looked at.
        unsafe {
            syscall!(wait syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                buffer.0.as_mut_ptr(),
                buffer.len(),
                ptr::from_ref(&timeout),
                ptr::null::<libc::sigset_t>(),
                0_usize,
            ))
        }
    }
}

impl Buffer {
    /// The length as the kernel takes it, which refuses more than this.
    fn len(&self) -> libc::c_int {
        let most = libc::c_int::MAX as usize / size_of::<libc::epoll_event>();
        self.0.len().min(most) as libc::c_int
    }
}

impl AsFd for Poller {
    /// The epoll. It is readable when events wait, so that it can itself be registered elsewhere.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.selector.epoll.as_fd()
    }
}

/// Rounded up: a poll that returns too early makes its caller spin until the deadline.
fn milliseconds(timeout: Duration) -> libc::c_int {
    timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX)
}

fn registration(key: Key, interest: Interest, trigger: Trigger) -> libc::epoll_event {
    let mut flags = 0;
    if interest.is_readable() {
        flags |= libc::EPOLLIN | libc::EPOLLRDHUP;
    }
    if interest.is_writable() {
        flags |= libc::EPOLLOUT;
    }
    if trigger == Trigger::Edge {
        flags |= libc::EPOLLET;
        if interest.is_readable() {
            // With the level trigger an urgent mark would be reported until it is read.
            flags |= libc::EPOLLPRI;
        }
    }
    libc::epoll_event { events: flags as u32, u64: key.into() }
}

/// What the kernel's flags say.
#[inline]
fn readiness(flags: u32) -> Readiness {
    // A stream that can be read can be written to as well, mostly.
    const MOSTLY: u32 = (libc::EPOLLIN | libc::EPOLLOUT) as u32;

    if flags == MOSTLY {
        return Readiness::READABLE | Readiness::WRITABLE;
    }
    let has = |flag: libc::c_int| flags & flag as u32 != 0;
    Readiness::READABLE.when(has(libc::EPOLLIN))
        | Readiness::WRITABLE.when(has(libc::EPOLLOUT))
        | Readiness::READ_CLOSED.when(has(libc::EPOLLRDHUP))
        | Readiness::HANGUP.when(has(libc::EPOLLHUP))
        | Readiness::ERROR.when(has(libc::EPOLLERR))
        | Readiness::PRIORITY.when(has(libc::EPOLLPRI))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::Events;

    #[test]
    fn milliseconds_round_up_and_saturate() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(1)), 1);
        assert_eq!(milliseconds(Duration::from_nanos(1_000_001)), 2);
        assert_eq!(milliseconds(Duration::MAX), libc::c_int::MAX);
    }

    #[test]
    fn without_pwait2_timeouts_are_rounded_up() {
        let selector = Selector::new().unwrap();
        selector.precise.store(false, Ordering::Relaxed);
        let (mut buffer, mut events) = (Selector::buffer(1), Vec::new());
        let start = Instant::now();
        selector.poll(&mut buffer, &mut events, Some(Duration::from_micros(1))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(1));
    }

    #[test]
    fn a_poller_is_readable_while_events_wait() {
        let (inner, outer) = (Poller::new().unwrap(), Poller::new().unwrap());
        outer.add(inner.as_fd(), Key::new(0, 0), Interest::READABLE, Trigger::Level).unwrap();
        let mut events = Events::with_capacity(1);
        let mut poll = |poller: &Poller| poller.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(poll(&outer), 0);
        inner.waker().wake().unwrap();
        assert_eq!(poll(&outer), 1);
        assert_eq!(poll(&inner), 0);
        assert_eq!(poll(&outer), 0);
    }
}
