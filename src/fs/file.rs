//! An open file.

use crate::fs::OpenOptions;
use crate::fs::file_lock::Kind;
use crate::fs::handle::{Handle, away};
use std::fmt;
use std::fs::{FileTimes, Metadata, Permissions, TryLockError};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// What a buffer grows by at least when the length of a file is not known.
const LEAST: usize = 8 << 10;

/// An open file: [`std::fs::File`] whose waits park the coroutine.
///
/// What is in memory is read in place, if the system can say so; everything else is done by the
/// blocking pool. A pipe, a terminal or a device is waited for by the poller, as sockets are. On a
/// plain thread each operation is std's; in a scope that may end its waits, as a
/// [`timeout`](crate::time::timeout), it waits for the latter by readiness, too, and so does
/// [`lock`](File::lock) in its way, but nothing ends a wait for a disk.
///
/// # Position
///
/// Reads, writes and seeks of one open file, clones included, take place one after the other, in
/// the order in which they were asked for; those at an offset
/// ([`FileExt`](crate::os::unix::fs::FileExt)) take place at once.
///
/// # Cancellation
///
/// If the coroutine that waits is cancelled, its wait ends and the work goes on: what was to be
/// written may be written, and the position may move. The next operation comes after that. What was
/// taken off a pipe or a terminal is what the next read gives, also of a clone, but not of the
/// descriptor by other means.
///
/// # Examples
///
/// ```
/// use pirn::fs::File;
/// use std::io::{Read, Seek, Write};
///
/// let path = std::env::temp_dir().join(format!("pirn-file-{}", std::process::id()));
/// let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
/// file.write_all(b"weft")?;
/// file.rewind()?;
/// let mut text = String::new();
/// file.read_to_string(&mut text)?;
/// assert_eq!(text, "weft");
/// pirn::fs::remove_file(path)?;
/// # std::io::Result::Ok(())
/// ```
pub struct File {
    handle: Arc<Handle>,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(pirn::fs::File::open("Cargo.toml")?.metadata()?.is_file());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing; makes it if it does not exist, and empties it if it does.
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`].
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, and opens it for reading and writing.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if it does; and those of [`OpenOptions::open`].
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// As [`OpenOptions::new`].
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    pub(super) fn of(handle: Handle) -> File {
        File { handle: Arc::new(handle) }
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Takes a file of std's over.
    ///
    /// ```
    /// let file = pirn::fs::File::from_std(std::fs::File::open("Cargo.toml")?);
    /// assert!(file.metadata()?.len() > 0);
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn from_std(file: std::fs::File) -> File {
        File::of(Handle::new(file))
    }

    /// Turns this into a file of std's. It is a duplicate of the descriptor if work that a
    /// cancellation has left behind still uses the file.
    ///
    /// # Errors
    ///
    /// That of duplicating the descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// let file: std::fs::File = pirn::fs::File::open("Cargo.toml")?.into_std()?;
    /// assert!(file.metadata()?.len() > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_std(self) -> io::Result<std::fs::File> {
        self.handle.into_file()
    }

    /// Has everything that was written brought to the disk, metadata too.
    ///
    /// # Errors
    ///
    /// What the system says, also of earlier writes.
    pub fn sync_all(&self) -> io::Result<()> {
        self.handle.slow(std::fs::File::sync_all)
    }

    /// Has everything that was written brought to the disk, of metadata only what is needed to
    /// read it.
    ///
    /// # Errors
    ///
    /// What the system says, also of earlier writes.
    pub fn sync_data(&self) -> io::Result<()> {
        self.handle.slow(std::fs::File::sync_data)
    }

    /// Waits for an exclusive lock on the file. Locks are advisory, belong to the open file, and
    /// end with [`unlock`](File::unlock) or with the last of its clones.
    ///
    /// Neither a worker nor a thread of the pool waits: coroutines and threads of this process are
    /// told when a lock of theirs is given up, and locks of other processes are looked at every
    /// 10 ms. A plain thread waits in the system, unless it is in a scope that may end that, as a
    /// [`timeout`](crate::time::timeout).
    ///
    /// # Errors
    ///
    /// What the system says.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::fs::{File, TryLockError};
    ///
    /// let (mine, theirs) = (File::open("Cargo.toml")?, File::open("Cargo.toml")?);
    /// mine.lock_shared()?;
    /// assert!(matches!(theirs.try_lock(), Err(TryLockError::WouldBlock)));
    /// mine.unlock()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn lock(&self) -> io::Result<()> {
        self.handle.lock(Kind::Exclusive)
    }

    /// Waits for a lock that others may share; else as [`lock`](File::lock).
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn lock_shared(&self) -> io::Result<()> {
        self.handle.lock(Kind::Shared)
    }

    /// Takes an exclusive lock, if nobody holds one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody does, or what the system says.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.handle.try_lock(Kind::Exclusive)
    }

    /// Takes a lock that others may share, if nobody holds an exclusive one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody does, or what the system says.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.handle.try_lock(Kind::Shared)
    }

    /// Gives the lock up.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn unlock(&self) -> io::Result<()> {
        self.handle.unlock()
    }

    /// Cuts the file off at so many bytes, or makes it longer by zeros.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a size beyond the system's reach, and what the system says.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        self.handle.slow(move |file| file.set_len(size))
    }

    /// What is known about the file.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.handle.quick(std::fs::File::metadata)
    }

    /// A duplicate of the descriptor. Both have one position, and one lock.
    ///
    /// # Errors
    ///
    /// What the system says, such as that there are no more descriptors.
    pub fn try_clone(&self) -> io::Result<File> {
        self.handle.duplicate().map(File::of)
    }

    /// Sets who may do what with the file.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        self.handle.slow(move |file| file.set_permissions(perm))
    }

    /// Sets the times of the last access and the last modification.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a time that the system cannot represent, and what the system says.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.handle.slow(move |file| file.set_times(times))
    }

    /// Sets the time of the last modification.
    ///
    /// # Errors
    ///
    /// Those of [`set_times`](File::set_times).
    #[inline]
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    /// What is left of the file, for the sake of a buffer's size.
    fn bytes_left(mut self: &File) -> usize {
        let size = self.metadata().map_or(0, |metadata| metadata.len());
        let position = self.stream_position().unwrap_or(size);
        usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX)
    }

    /// Reads the rest of the file to the end of `buf`, given what is likely to be left.
    fn read_rest(mut self: &File, buf: &mut Vec<u8>, left: usize) -> io::Result<usize> {
        let start = buf.len();
        // One byte more, to meet the end without growing.
        let mut room = left.saturating_add(1).max(32);
        loop {
            let read = {
                let mut tail = Tail::new(buf, room)?;
                match self.read(tail.room()) {
                    Ok(count) => tail.keep(count),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
            };
            if read == 0 {
                return Ok(buf.len() - start);
            }
            let done = buf.len() - start;
            let still = left.saturating_sub(done).saturating_add(1);
            // As much again as there is already, if the file turned out to be longer.
            room = if done <= left { still.max(32) } else { done.max(LEAST) };
        }
    }
}

/// Space at the end of a buffer that is filled with zeros; what is not kept goes again, also by a
/// panic.
struct Tail<'a> {
    buf: &'a mut Vec<u8>,
    kept: usize,
}

impl<'a> Tail<'a> {
    /// No more than one call reads by way of the pool, and no less than is asked for otherwise.
    fn new(buf: &'a mut Vec<u8>, room: usize) -> io::Result<Tail<'a>> {
        let kept = buf.len();
        buf.try_reserve(room)?;
        let room = room.min(super::handle::MOST);
        buf.resize(kept + room, 0);
        Ok(Tail { buf, kept })
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.buf[self.kept..]
    }

    fn keep(mut self, count: usize) -> usize {
        self.kept += count;
        count
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        self.buf.truncate(self.kept);
    }
}

impl Read for &File {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.handle.read(&mut [IoSliceMut::new(buf)], None)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.handle.read(bufs, None)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let left = self.bytes_left();
        buf.try_reserve(left.saturating_add(1))?;
        self.read_rest(buf, left)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        let left = self.bytes_left();
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(left.saturating_add(1))?;
        let result = self.read_rest(&mut bytes, left);
        let Ok(text) = std::str::from_utf8(&bytes) else {
            result?;
            let message = "stream did not contain valid UTF-8";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        buf.push_str(text);
        result
    }
}

impl Write for &File {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.handle.write(&[IoSlice::new(buf)], None)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.handle.write(bufs, None)
    }

    /// Does nothing: what was written is with the system.
    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.handle.seek(pos)
    }
}

impl FileExt for File {
    /// Neither waits for other operations nor moves the position.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.handle.read(&mut [IoSliceMut::new(buf)], Some(offset))
    }

    /// Neither waits for other operations nor moves the position. In a file that was opened for
    /// appending it appends, as in std.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.handle.write(&[IoSlice::new(buf)], Some(offset))
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Seek for File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        (&*self).seek(pos)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.file().fmt(f)
    }
}

/// Opens a file where that may take its time.
pub(super) fn open(options: std::fs::OpenOptions, path: &Path) -> io::Result<File> {
    if !crate::sched::in_coroutine() {
        return options.open(path).map(File::from_std);
    }
    let path = path.to_owned();
    away(move || options.open(path).map(|file| Handle::new(file).with_nature())).map(File::of)
}
