//! The selector against a kernel that says what each test wants to hear, and against the model.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use super::*;

const KEY: Key = Key::new(3, 4);

/// A kernel that writes down what it is told and answers from a list.
#[derive(Default)]
struct Scripted {
    told: Mutex<Vec<Vec<Kevent>>>,
    /// The `errno`s of the receipts of each call to come; when it is empty, all succeed.
    receipts: Mutex<VecDeque<Vec<i32>>>,
    /// The events of the next wait.
    events: Mutex<Vec<Kevent>>,
}

impl Kernel for Scripted {
    fn new() -> io::Result<Scripted> {
        Ok(Scripted::default())
    }

    fn kevent(
        &self,
        changes: &[Kevent],
        events: &mut [Kevent],
        _timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if changes.is_empty() {
            let ready = std::mem::take(&mut *self.events.lock().unwrap());
            events[..ready.len()].copy_from_slice(&ready);
            return Ok(ready.len());
        }
        self.told.lock().unwrap().push(changes.to_vec());
        let errnos = self.receipts.lock().unwrap().pop_front();
        let errnos = errnos.unwrap_or_else(|| vec![0; changes.len()]);
                for ((event, change), errno) in events.iter_mut().zip(changes).zip(&errnos) {
            *event = change.receipt(*errno);
        }
        Ok(errnos.len().min(events.len()))
    }
}

/// A selector on a scripted kernel, past the registration of its waker.
fn scripted() -> Kqueue<Scripted> {
    let selector = Kqueue::<Scripted>::new().unwrap();
    selector.kernel.told.lock().unwrap().clear();
    selector
}

impl Kqueue<Scripted> {
    fn answer(&self, receipts: &[&[i32]]) {
        self.kernel.receipts.lock().unwrap().extend(receipts.iter().map(|r| r.to_vec()));
    }

    fn told(&self) -> Vec<Vec<Kevent>> {
        std::mem::take(&mut self.kernel.told.lock().unwrap())
    }
}

fn change(filter: Filter, fd: &UnixStream, flags: u32, key: Key) -> Kevent {
    Kevent::new(filter, fd.as_raw_fd() as usize, flags, 0, key)
}

impl<K: Kernel> Kqueue<K> {
    fn reports(&self, timeout: Option<Duration>) -> Vec<Event> {
        let (mut buffer, mut events) = (Self::buffer(4), Vec::new());
        self.poll(&mut buffer, &mut events, timeout).unwrap();
        events
    }
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|e| e.raw_os_error())
}

#[test]
fn add_adds_a_filter_for_each_direction() {
    let (fd, _peer) = UnixStream::pair().unwrap();
    let selector = scripted();
    selector.add(fd.as_fd(), KEY, Interest::BOTH, Trigger::Edge).unwrap();
    let flags = EV_ADD | EV_CLEAR | EV_RECEIPT;
    let expected =
        vec![change(Filter::Read, &fd, flags, KEY), change(Filter::Write, &fd, flags, KEY)];
    assert_eq!(selector.told(), [expected]);
}

#[test]
fn modify_deletes_the_old_filters_and_adds_the_new() {
    let (fd, _peer) = UnixStream::pair().unwrap();
    let selector = scripted();
    selector.add(fd.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    selector.told();
    let key = Key::new(5, 6);
    selector.modify(fd.as_fd(), key, Interest::WRITABLE, Trigger::Level).unwrap();
    selector.delete(fd.as_fd()).unwrap();
    assert_eq!(
        selector.told(),
        [
            vec![change(Filter::Read, &fd, EV_DELETE | EV_RECEIPT, Key::RESERVED)],
            vec![change(Filter::Write, &fd, EV_ADD | EV_RECEIPT, key)],
            vec![change(Filter::Write, &fd, EV_DELETE | EV_RECEIPT, Key::RESERVED)],
        ]
    );
}

#[test]
fn a_refused_filter_undoes_the_other() {
    let (fd, _peer) = UnixStream::pair().unwrap();
    let selector = scripted();
    selector.answer(&[&[0, libc::ENOMEM], &[0, libc::ENOENT]]);
    let add = || selector.add(fd.as_fd(), KEY, Interest::BOTH, Trigger::Level);
    assert_eq!(errno(add()), Some(libc::ENOMEM));
    assert_eq!(selector.told()[1][0].flags(), EV_DELETE | EV_RECEIPT);
    // It left nothing behind.
    assert_eq!(errno(selector.delete(fd.as_fd())), Some(libc::ENOENT));
    add().unwrap();
}

#[test]
fn a_filter_refused_because_the_peer_is_gone_is_no_error() {
    let (fd, _peer) = UnixStream::pair().unwrap();
    let selector = scripted();
    selector.answer(&[&[0, libc::EPIPE], &[0, libc::ENOENT]]);
    selector.add(fd.as_fd(), KEY, Interest::BOTH, Trigger::Level).unwrap();
    // Nor is it one that there is nothing to delete then.
    selector.delete(fd.as_fd()).unwrap();
}

#[test]
fn filters_that_are_all_missing_were_closed() {
    let (fd, _peer) = UnixStream::pair().unwrap();
    let selector = scripted();
    selector.add(fd.as_fd(), KEY, Interest::BOTH, Trigger::Level).unwrap();
    selector.answer(&[&[libc::ENOENT, libc::ENOENT]]);
    assert_eq!(errno(selector.delete(fd.as_fd())), Some(libc::ENOENT));
}

#[test]
fn a_failed_modify_leaves_the_descriptor_unregistered() {
    let (fd, _peer) = UnixStream::pair().unwrap();
    let selector = scripted();
    selector.add(fd.as_fd(), KEY, Interest::READABLE, Trigger::Level).unwrap();
    selector.answer(&[&[0], &[libc::ENOMEM], &[libc::ENOENT]]);
    let modified = selector.modify(fd.as_fd(), KEY, Interest::WRITABLE, Trigger::Level);
    assert_eq!(errno(modified), Some(libc::ENOMEM));
    assert_eq!(errno(selector.delete(fd.as_fd())), Some(libc::ENOENT));
}

/// What one kevent is reported as: readable, writable, read closed, hung up, error.
fn reported(filter: Filter, flags: u32, fflags: u32) -> [bool; 5] {
    let selector = scripted();
    *selector.kernel.events.lock().unwrap() = vec![Kevent::new(filter, 0, flags, fflags, KEY)];
    let [event] = selector.reports(None)[..] else { panic!("not one event") };
    assert_eq!(event.key(), KEY);
    [
        event.is_readable(),
        event.is_writable(),
        event.is_read_closed(),
        event.is_hangup(),
        event.is_error(),
    ]
}

#[test]
fn flags_become_readiness() {
    assert_eq!(reported(Filter::Read, 0, 0), [true, false, false, false, false]);
    assert_eq!(reported(Filter::Write, 0, 0), [false, true, false, false, false]);
    assert_eq!(reported(Filter::Read, EV_EOF, 0), [true, false, true, false, false]);
    assert_eq!(reported(Filter::Write, EV_EOF, 0), [true, true, true, true, false]);
    // Data in `fflags` without EV_EOF is no error.
    assert_eq!(reported(Filter::Read, 0, 1), [true, false, false, false, false]);
    let reset = libc::ECONNRESET as u32;
    assert_eq!(reported(Filter::Read, EV_EOF, reset), [true, true, true, false, true]);
    assert_eq!(reported(Filter::Write, EV_EOF, reset), [true, true, true, true, true]);
    assert_eq!(reported(Filter::Read, EV_ERROR, 0), [true, true, false, false, true]);
}

#[test]
fn wakeups_trigger_the_user_event_and_are_not_reported() {
    let selector = scripted();
    selector.waker().wake().unwrap();
    let trigger = Kevent::new(Filter::User, 0, 0, NOTE_TRIGGER, Key::RESERVED);
    assert_eq!(selector.told(), [vec![trigger]]);

    let told = Kevent::new(Filter::User, 0, EV_CLEAR, NOTE_TRIGGER, Key::RESERVED);
    *selector.kernel.events.lock().unwrap() = vec![told];
    assert!(selector.reports(None).is_empty());
}

/// The model, on a system that has no user events.
struct WithoutUser(kernel::System);

impl Kernel for WithoutUser {
    fn new() -> io::Result<WithoutUser> {
        kernel::System::new().map(WithoutUser)
    }

    fn kevent(
        &self,
        changes: &[Kevent],
        events: &mut [Kevent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if let [change] = changes
            && change.filter() == Filter::User
        {
            events[0] = change.receipt(libc::EINVAL);
            return Ok(1);
        }
        self.0.kevent(changes, events, timeout)
    }
}

#[test]
fn without_user_events_a_pipe_wakes() {
    let selector = Kqueue::<WithoutUser>::new().unwrap();
    assert!(matches!(**selector.waker(), Waker::Pipe(_)));
    for _ in 0..3 {
        selector.waker().wake().unwrap();
        assert!(selector.reports(None).is_empty());
        // The pipe was drained, so that the next poll waits for its time.
        let start = std::time::Instant::now();
        assert!(selector.reports(Some(Duration::from_millis(2))).is_empty());
        assert!(start.elapsed() >= Duration::from_millis(2));
    }
}

#[test]
fn modify_turns_a_level_into_an_edge_where_ev_add_alone_would_not() {
    let selector = Selector::new().unwrap();
    let (fd, _peer) = UnixStream::pair().unwrap();
    let poll = || selector.reports(Some(Duration::ZERO)).len();
    selector.add(fd.as_fd(), KEY, Interest::WRITABLE, Trigger::Level).unwrap();
    assert_eq!((poll(), poll()), (1, 1));
    selector.modify(fd.as_fd(), KEY, Interest::WRITABLE, Trigger::Edge).unwrap();
    assert_eq!((poll(), poll()), (1, 0));
}
