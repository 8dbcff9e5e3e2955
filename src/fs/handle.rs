//! An open file: reading and writing it without stalling a machine, and closing it.
//!
//! The essay says why it is done so: `docs/fs.md`.

use crate::blocking::{blocking_for, blocking_unless};
use crate::fs::file_lock::{self, Key, Kind};
use crate::fs::sys::{self, Attempt, Nature};
use crate::fs::unread::Unread;
use crate::netpoller::{Done, Side, Source};
use crate::park::{self, Cancel, WaitReason};
use crate::sched;
use crate::sync::{OwnedSemaphorePermit, Semaphore};
use std::fs::{File, TryLockError};
use std::io::{self, IoSlice, IoSliceMut, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The most that one call moves by way of a buffer of the runtime's own.
pub(super) const MOST: usize = 2 << 20;

/// Runs work on files that may take its time: in a coroutine on the blocking pool.
pub(super) fn away<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    blocking_for(WaitReason::File, work)
}

/// A descriptor, and what it shares with its duplicates.
pub(super) struct Handle {
    /// There until the handle is dropped or taken apart.
    file: Option<File>,
    shared: Arc<Description>,
}

/// What belongs to the open file, which several descriptors may share.
struct Description {
    nature: OnceLock<Nature>,
    /// Whoever uses the file's position holds the permit. The system has a lock of its own for it,
    /// which would stop the machine; and who is cancelled leaves work behind that uses it. Of a stream,
    /// whoever reads on the pool: what he takes comes before what the next one does.
    position: Arc<Semaphore>,
    unread: Unread,
    /// A duplicate, registered to wait for readiness; made when that is needed first.
    source: OnceLock<Source>,
    /// There may be a lock, which ends with the last descriptor.
    locked: AtomicBool,
}

impl Handle {
    /// Takes a file over of which nothing is known.
    pub(super) fn new(file: File) -> Handle {
        let shared = Description {
            nature: OnceLock::new(),
            position: Arc::new(Semaphore::new(1)),
            unread: Unread::default(),
            source: OnceLock::new(),
            locked: AtomicBool::new(false),
        };
        Handle { file: Some(file), shared: Arc::new(shared) }
    }

    /// Finds out what the file is, which may take its time.
    pub(super) fn with_nature(self) -> Handle {
        self.shared.nature.get_or_init(|| sys::nature_of(self.file()));
        self
    }

    pub(super) fn file(&self) -> &File {
        self.file.as_ref().expect("a handle has its file until it is dropped")
    }

    /// Another descriptor of the same open file.
    pub(super) fn duplicate(&self) -> io::Result<Handle> {
        Ok(Handle { file: Some(self.file().try_clone()?), shared: self.shared.clone() })
    }

    /// The file by itself; a duplicate, if abandoned work still uses the handle.
    pub(super) fn into_file(self: Arc<Handle>) -> io::Result<File> {
        match Arc::try_unwrap(self) {
            Ok(mut handle) => Ok(handle.file.take().expect("not dropped yet")),
            Err(shared) => shared.file().try_clone(),
        }
    }

    pub(super) fn nature(self: &Arc<Handle>) -> Nature {
        if let Some(nature) = self.shared.nature.get() {
            return *nature;
        }
        let nature = self.slow(sys::nature_of);
        *self.shared.nature.get_or_init(|| nature)
    }

    /// Runs what is quick unless somebody else has to be asked.
    pub(super) fn quick<T: Send + 'static>(
        self: &Arc<Handle>,
        work: impl FnOnce(&File) -> T + Send + 'static,
    ) -> T {
        if !sched::in_coroutine() {
            return work(self.file());
        }
        if self.nature() == Nature::Remote {
            return self.slow(work);
        }
        sched::cooperate();
        work(self.file())
    }

    /// Runs what may take its time.
    pub(super) fn slow<T: Send + 'static>(
        self: &Arc<Handle>,
        work: impl FnOnce(&File) -> T + Send + 'static,
    ) -> T {
        if !sched::in_coroutine() {
            return work(self.file());
        }
        let handle = self.clone();
        blocking_for(WaitReason::File, move || work(handle.file()))
    }

    /// The right to use the file's position.
    fn turn(&self) -> OwnedSemaphorePermit {
        self.shared.position.clone().acquire_owned().expect("nobody closes this semaphore")
    }

    pub(super) fn seek(self: &Arc<Handle>, to: SeekFrom) -> io::Result<u64> {
        if !sched::in_coroutine() {
            return self.file().seek(to);
        }
        sched::cooperate();
        match self.nature() {
            Nature::Stream => self.file().seek(to),
            Nature::Local => {
                let _turn = self.turn();
                self.file().seek(to)
            }
            Nature::Remote => {
                let turn = self.turn();
                self.slow(move |mut file| {
                    let _turn = turn;
                    file.seek(to)
                })
            }
        }
    }

    /// Whether a read or write is made as it is, since nothing could end the wait for what it needs.
    /// The disk is not waited for in another way on a plain thread, whatever ends.
    fn blocks_here(self: &Arc<Handle>) -> bool {
        let may_end = || park::is_in_scope() && self.nature() == Nature::Stream;
        !sched::in_coroutine() && !may_end()
    }

    // Reading.

    pub(super) fn read(
        self: &Arc<Handle>,
        bufs: &mut [IoSliceMut<'_>],
        at: Option<u64>,
    ) -> io::Result<usize> {
        if at.is_none()
            && let Some(count) = self.shared.unread.take(bufs)
        {
            return Ok(count);
        }
        if self.blocks_here() {
            return sys::read_here(self.file(), bufs, at);
        }
        let nature = self.nature();
        let uses_position = at.is_none() && nature != Nature::Stream;
        let turn = uses_position.then(|| self.turn());
        match sys::read_now(self.file().as_fd(), bufs, at) {
            Attempt::Done(count) => {
                drop(turn);
                sched::cooperate();
                Ok(count)
            }
            Attempt::WouldWait | Attempt::Unknown if nature == Nature::Stream && at.is_none() => {
                self.read_stream(bufs)
            }
            _ => self.read_away(bufs, at, turn),
        }
    }

    /// Reads on the pool, into a buffer that stays behind if the wait is cancelled.
    fn read_away(
        self: &Arc<Handle>,
        bufs: &mut [IoSliceMut<'_>],
        at: Option<u64>,
        turn: Option<OwnedSemaphorePermit>,
    ) -> io::Result<usize> {
        let wanted = sys::total(bufs.iter().map(|buf| buf.len())).min(MOST);
        let data = self.slow(move |file| {
            let _turn = turn;
            read_some(file, wanted, at)
        })?;
        Ok(copy_out(&data, bufs))
    }

    /// Waits for readiness first, so that no thread of the pool waits for another party.
    fn read_stream(self: &Arc<Handle>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        loop {
            if sys::never_waits(self.file().as_fd(), Side::Read) {
                return sys::read_here(self.file(), bufs, None);
            }
            let waited = self.when_ready(Side::Read, |file| match self.shared.unread.take(bufs) {
                Some(count) => Attempt::Done(count),
                None => sys::read_now(file.as_fd(), bufs, None),
            });
            if let Waited::Done(count) = waited {
                return Ok(count);
            }
            let turn = self.turn();
            // Whoever had the turn before may have left something, or nothing.
            if let Some(count) = self.shared.unread.take(bufs) {
                return Ok(count);
            }
            if waited == Waited::Unknown || sys::is_ready(self.file().as_fd(), Side::Read) {
                return self.read_stream_away(bufs, turn);
            }
        }
    }

    /// Reads on the pool. What nobody waits for any more is kept for the next one.
    fn read_stream_away(
        self: &Arc<Handle>,
        bufs: &mut [IoSliceMut<'_>],
        turn: OwnedSemaphorePermit,
    ) -> io::Result<usize> {
        let wanted = sys::total(bufs.iter().map(|buf| buf.len())).min(MOST);
        let shared = self.shared.clone();
        let mut taken = self.slow(move |file| {
            let data = read_some(file, wanted, None)?;
            io::Result::Ok(Taken { data, shared, _turn: turn })
        })?;
        let data = std::mem::take(&mut taken.data);
        Ok(copy_out(&data, bufs))
    }

    // Writing.

    pub(super) fn write(
        self: &Arc<Handle>,
        bufs: &[IoSlice<'_>],
        at: Option<u64>,
    ) -> io::Result<usize> {
        if self.blocks_here() {
            return sys::write_here(self.file(), bufs, at);
        }
        let nature = self.nature();
        let uses_position = at.is_none() && nature != Nature::Stream;
        let turn = uses_position.then(|| self.turn());
        match sys::write_now(self.file().as_fd(), bufs, at) {
            Attempt::Done(count) => {
                drop(turn);
                sched::cooperate();
                Ok(count)
            }
            Attempt::WouldWait | Attempt::Unknown if nature == Nature::Stream && at.is_none() => {
                self.write_stream(bufs)
            }
            _ => self.write_away(bufs, at, MOST, turn),
        }
    }

    /// Writes a copy of at most so much on the pool.
    fn write_away(
        self: &Arc<Handle>,
        bufs: &[IoSlice<'_>],
        at: Option<u64>,
        most: usize,
        turn: Option<OwnedSemaphorePermit>,
    ) -> io::Result<usize> {
        let mut room = sys::total(bufs.iter().map(|buf| buf.len())).min(most);
        let mut data = Vec::with_capacity(room);
        for buf in bufs {
            let part = &buf[..buf.len().min(room)];
            data.extend_from_slice(part);
            room -= part.len();
        }
        self.slow(move |file| {
            let _turn = turn;
            sys::write_here(file, &[IoSlice::new(&data)], at)
        })
    }

    /// Waits for readiness first, and then writes no more than there is room for.
    fn write_stream(self: &Arc<Handle>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if sys::never_waits(self.file().as_fd(), Side::Write) {
            return sys::write_here(self.file(), bufs, None);
        }
        let waited = self.when_ready(Side::Write, |file| sys::write_now(file.as_fd(), bufs, None));
        match waited {
            Waited::Done(count) => Ok(count),
            Waited::Ready | Waited::Unknown => self.write_away(bufs, None, sys::PIPE_ROOM, None),
        }
    }

    /// Waits until `attempt` succeeds, or is for the pool.
    fn when_ready(&self, side: Side, mut attempt: impl FnMut(&File) -> Attempt) -> Waited {
        let file = self.file();
        let Some(source) = self.source() else { return Waited::Unknown };
        let waited = source.io(side, wait_reason(side), None, |_duplicate| {
            let value = match attempt(file) {
                Attempt::Done(count) => Waited::Done(count),
                Attempt::Unknown if sys::is_ready(file.as_fd(), side) => Waited::Ready,
                Attempt::Unknown | Attempt::WouldWait => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Attempt::Failed => Waited::Unknown,
            };
            Ok(Done { value, drained: false })
        });
        // No poller takes it: it is always ready.
        waited.unwrap_or(Waited::Unknown)
    }

    fn source(&self) -> Option<&Source> {
        let shared = &self.shared;
        if shared.source.get().is_none() {
            let source = Source::new(self.file().as_fd().try_clone_to_owned().ok()?);
            // Another may have been quicker.
            drop(shared.source.set(source));
        }
        shared.source.get()
    }

    // Locks.

    pub(super) fn lock(self: &Arc<Handle>, kind: Kind) -> io::Result<()> {
        if !sched::in_coroutine() && !park::is_in_scope() {
            return self.locked(match kind {
                Kind::Exclusive => self.file().lock(),
                Kind::Shared => self.file().lock_shared(),
            });
        }
        match self.try_lock(kind) {
            Ok(()) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                let key = self.quick(Key::of)?;
                file_lock::wait(key, kind, || self.try_lock(kind))
            }
        }
    }

    pub(super) fn try_lock(self: &Arc<Handle>, kind: Kind) -> Result<(), TryLockError> {
        self.locked(match kind {
            Kind::Exclusive => self.quick(File::try_lock),
            Kind::Shared => self.quick(File::try_lock_shared),
        })
    }

    /// After an attempt to get a lock. It may have been in place of one of the other kind.
    fn locked<E>(self: &Arc<Handle>, result: Result<(), E>) -> Result<(), E> {
        result?;
        if self.shared.locked.swap(true, Ordering::Relaxed) {
            self.tell_released();
        }
        Ok(())
    }

    pub(super) fn unlock(self: &Arc<Handle>) -> io::Result<()> {
        self.quick(File::unlock)?;
        self.tell_released();
        Ok(())
    }

    fn tell_released(self: &Arc<Handle>) {
        if file_lock::is_anybody_waiting()
            && let Ok(key) = self.quick(Key::of)
        {
            file_lock::released(key);
        }
    }
}

/// What a wait for a stream came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// So many bytes.
    Done(usize),
    /// The stream is ready, but cannot be asked not to wait.
    Ready,
    /// It has no readiness to wait for, or an error, of which the call that may wait tells.
    Unknown,
}

/// Bytes that were taken off a stream. They are somebody's, or else the next one's.
struct Taken {
    data: Vec<u8>,
    shared: Arc<Description>,
    /// Ends when it is known whose they are.
    _turn: OwnedSemaphorePermit,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.data.is_empty() {
            return;
        }
        self.shared.unread.put(&self.data);
        // Those who wait for readiness have been told of these bytes, and have seen that they are gone.
        if let Some(source) = self.shared.source.get() {
            source.stir(Side::Read);
        }
    }
}

/// One read of so many bytes at most, which may wait.
fn read_some(file: &File, wanted: usize, at: Option<u64>) -> io::Result<Vec<u8>> {
    let mut data = vec![0; wanted];
    let count = sys::read_here(file, &mut [IoSliceMut::new(&mut data)], at)?;
    data.truncate(count);
    Ok(data)
}

/// There is room for all of it.
fn copy_out(data: &[u8], bufs: &mut [IoSliceMut<'_>]) -> usize {
    let mut rest = data;
    for buf in bufs {
        let (part, others) = rest.split_at(buf.len().min(rest.len()));
        buf[..part.len()].copy_from_slice(part);
        rest = others;
    }
    data.len()
}

fn wait_reason(side: Side) -> WaitReason {
    match side {
        Side::Read => WaitReason::Read,
        Side::Write => WaitReason::Write,
    }
}

impl Drop for Handle {
    /// Closes the file, in a coroutine elsewhere if that may take its time. That is waited for, so
    /// that whoever drops a file finds it closed.
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let was_locked = self.shared.locked.load(Ordering::Relaxed);
        let nature = self.shared.nature.get().copied().unwrap_or(Nature::Remote);
        let at_once = !sched::in_coroutine() || sys::closes_at_once(&file, nature);
        let close = move || {
            let key = was_locked.then(|| Key::of(&file).ok()).flatten();
            drop(file);
            if let Some(key) = key {
                file_lock::released(key);
            }
        };
        if at_once {
            close();
        } else {
            blocking_unless(Cancel::Defer, WaitReason::File, close);
        }
    }
}
