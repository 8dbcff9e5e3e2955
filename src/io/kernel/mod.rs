//! Copies that the kernel makes, without a buffer of ours.
//!
//! A connection or a pipe is read into a pipe of our own by splice(2), and that is emptied into the
//! other end before it is filled again. So `EAGAIN` says of the first call that there is nothing to
//! read, and of the second that there is no room: a splice from one end to the other could not say
//! which. Pages change hands; nothing is copied, unless the kernel has to.
//!
//! A pipe is held only while there are bytes in it, which is not while the copy waits for something
//! to read. What is empty is kept for the next one, up to [`pipes::KEPT`] pipes for the process. A
//! copy that ends by an error or a cancellation while there are bytes in its pipe loses them, at
//! most [`pipes::ROOM`]: as a plain loop loses what is in its buffer.
//!
//! - Data goes this way from [`TcpStream`](crate::net::TcpStream) and
//!   [`PipeReader`](crate::io::PipeReader), through references, `Take` and `BufReader`
//!   ([`source`]); to `TcpStream`, [`PipeWriter`](crate::io::PipeWriter) and regular files of std.
//! - A socket whose open file description is not nonblocking, as one that was taken over from
//!   elsewhere, would block the thread in a splice. It is copied by reading and writing. So is one of
//!   which a duplicate was given away, from then on: whoever has that may clear the flag.
//! - `splice` into a socket that is closed raises `SIGPIPE`, and there is no flag against that. Rust
//!   programs ignore the signal. In a process that does not, it is copied by reading and writing.
//! - In front of an urgent byte, a splice from a socket says `EAGAIN`, or 0 if the peer has ended, whatever
//!   comes behind it. A read gets past it. So where there may be one, a read has to tell; it also
//!   tells the end of a stream.
//! - Whatever the kernel refuses (`EINVAL` and the like) is copied by reading and writing, too; what
//!   is in the pipe by then comes first.
//! - Not from files to sockets or pipes: their pages would be on their way while others can still
//!   change them. std refrains from that for the same reason. From file to file, std's own
//!   `copy_file_range` serves.

mod endpoint;
mod pipes;
mod source;

use crate::io::kernel::pipes::{ROOM, TransferPipe};
use crate::io::kernel::source::Source;
use crate::io::sys;
use crate::netpoller::Side;
use crate::sched;
use std::io::{self, Read, Write};

/// What a read that gets a copy past an urgent byte takes at most.
const BY_HAND: usize = 512;

pub(super) use endpoint::refers_to;

/// Copies as much as the kernel can copy by itself, which is all of it if `Ok` has `true`. Tells each time
/// that bytes have `moved`.
pub(super) fn copy<R, W>(
    reader: &mut R,
    writer: &mut W,
    moved: &dyn Fn(),
) -> io::Result<(u64, bool)>
where
    R: ?Sized + Read,
    W: ?Sized + Write,
{
    if refers_to::<R, std::fs::File>(reader).is_some()
        && refers_to::<W, std::fs::File>(writer).is_some()
    {
        return sched::block_in_place(|| io::copy(reader, writer)).map(|count| (count, true));
    }
    let Some(source) = source::of(reader) else { return Ok((0, false)) };
    if endpoint::sink_of(writer).is_none_or(|sink| !sink.is_suitable())
        || !source.endpoint().is_suitable()
    {
        return Ok((0, false));
    }
    let mut copied = 0;
    loop {
        let Some(source) = source::of(reader) else {
            unreachable!("a reader does not change its type")
        };
        copied += write_buffered(source, writer, moved)?;
        loop {
            match step(source, writer, moved)? {
                Step::Moved(count) => copied += count,
                Step::End => return Ok((copied, true)),
                Step::Refused(count) => return Ok((copied + count, false)),
                Step::Stuck => break,
            }
        }
        let mut buf = [0; BY_HAND];
        match reader.read(&mut buf) {
            Ok(0) => return Ok((copied, true)),
            Ok(count) => {
                moved();
                writer.write_all(&buf[..count])?;
                moved();
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What was read ahead comes first.
fn write_buffered<W: ?Sized + Write>(
    source: &mut dyn Source,
    writer: &mut W,
    moved: &dyn Fn(),
) -> io::Result<u64> {
    let mut written = 0;
    loop {
        let buffered = source.buffered();
        if buffered.is_empty() {
            return Ok(written);
        }
        match writer.write(buffered) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                source.consume(count);
                written += count as u64;
                moved();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

enum Step {
    Moved(u64),
    /// Of the stream, or of what is wanted of it.
    End,
    /// The kernel does not do it, after so many bytes.
    Refused(u64),
    /// A read has to tell what comes.
    Stuck,
}

/// Moves what there is, once.
fn step<W: ?Sized + Write>(
    source: &mut dyn Source,
    writer: &mut W,
    tell_moved: &dyn Fn(),
) -> io::Result<Step> {
    let wanted = source.limit().min(ROOM as u64) as usize;
    if wanted == 0 {
        return Ok(Step::End);
    }
    let mut filled = None;
    let (mut no_pipe, mut stuck, mut waited) = (false, false, false);
    let endpoint = source.endpoint();
    let moved = endpoint.io(Side::Read, &mut |fd| {
        // Not kept while waiting: it goes back when this fails.
        let pipe = TransferPipe::get().inspect_err(|_| no_pipe = true)?;
        match sys::splice(fd, pipe.writer(), wanted) {
            Ok(0) => stuck = endpoint.may_be_stuck(true),
            Ok(count) => {
                filled = Some(pipe.filled(count));
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stuck = endpoint.may_be_stuck(waited);
                waited = true;
                if !stuck {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(0)
    });
    let moved = match moved {
        Err(error) if no_pipe || is_refusal(&error) => return Ok(Step::Refused(0)),
        moved => moved?,
    };
    source.took(moved as u64);
    let Some(mut pipe) = filled else { return Ok(if stuck { Step::Stuck } else { Step::End }) };
    tell_moved();
    while pipe.bytes() > 0 {
        let Some(sink) = endpoint::sink_of(writer) else {
            unreachable!("a writer does not change its type")
        };
        let written = sink.io(Side::Write, &mut |fd| sys::splice(pipe.reader(), fd, pipe.bytes()));
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                pipe.emptied(count);
                tell_moved();
            }
            Err(error) if is_refusal(&error) => {
                write_rest(pipe, writer)?;
                tell_moved();
                return Ok(Step::Refused(moved as u64));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Step::Moved(moved as u64))
}

fn is_refusal(error: &io::Error) -> bool {
    use libc::{EINVAL, ENOSYS, EOPNOTSUPP, EPERM};
    matches!(error.raw_os_error(), Some(EINVAL | ENOSYS | EOPNOTSUPP | EPERM))
}

/// Writes what is in the pipe by way of a buffer.
fn write_rest<W: ?Sized + Write>(mut pipe: TransferPipe, writer: &mut W) -> io::Result<()> {
    let mut buf = vec![0; pipe.bytes()];
    while pipe.bytes() > 0 {
        // There are bytes in it, so this does not wait.
        let count = sys::read(pipe.reader(), &mut [io::IoSliceMut::new(&mut buf)])?;
        pipe.emptied(count);
        writer.write_all(&buf[..count])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{PipeReader, PipeWriter, pipe};
    use crate::net::{TcpListener, TcpStream};
    use std::io::{BufReader, Cursor, Seek};

    fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<(u64, bool)>
    where
        R: ?Sized + Read,
        W: ?Sized + Write,
    {
        super::copy(reader, writer, &|| ())
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// A file without a name.
    fn file(append: bool) -> std::fs::File {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("pirn-kernel-copy-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = std::fs::File::options();
        let file = options.read(true).append(append).write(true).create_new(true).open(&path);
        std::fs::remove_file(path).unwrap();
        file.unwrap()
    }

    /// A pipe with these bytes in it, and no more to come.
    fn filled(text: &str) -> PipeReader {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        reader
    }

    fn drained(mut reader: impl Read) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    /// What the kernel does not copy to is not touched.
    fn into_pipe<R: ?Sized + Read>(reader: &mut R) -> (u64, bool, String) {
        let (end, mut writer) = pipe().unwrap();
        let (count, all) = copy(reader, &mut writer).unwrap();
        drop(writer);
        (count, all, drained(end))
    }

    #[test]
    fn every_kind_of_reader_is_seen() {
        let expected = || (5, true, "hello".to_owned());
        assert_eq!(into_pipe(&mut filled("hello")), expected());
        assert_eq!(into_pipe(&mut &filled("hello")), expected());
        assert_eq!(into_pipe(&mut &mut filled("hello")), expected());
        assert_eq!(into_pipe(&mut filled("hello, all").take(5)), expected());
        assert_eq!(into_pipe(&mut (&filled("hello, all")).take(5)), expected());
        assert_eq!(into_pipe(&mut (&mut filled("hello, all")).take(5)), expected());
        assert_eq!(into_pipe(&mut BufReader::new(filled("hello"))), expected());
        assert_eq!(into_pipe(&mut BufReader::new(&filled("hello"))), expected());
        assert_eq!(into_pipe(&mut &mut BufReader::new(&mut filled("hello")).take(9)), {
            (0, false, String::new())
        });
        let mut reader = BufReader::new(filled("hello, all"));
        assert_eq!(into_pipe(&mut reader.by_ref().take(5)), expected());
        assert_eq!(drained(reader), ", all");
        let (mut socket, mut peer) = pair();
        peer.write_all(b"hello").unwrap();
        drop(peer);
        assert_eq!(into_pipe(&mut socket), expected());
        // Others are left to std.
        assert_eq!(into_pipe(&mut Cursor::new("hello")), (0, false, String::new()));
        let boxed: &mut dyn Read = &mut filled("hello");
        assert_eq!(into_pipe(boxed), (0, false, String::new()));
    }

    #[test]
    fn every_kind_of_writer_is_seen() {
        let (mut socket, peer) = pair();
        assert_eq!(copy(&mut filled("one "), &mut socket).unwrap(), (4, true));
        assert_eq!(copy(&mut filled("two "), &mut &socket).unwrap(), (4, true));
        assert_eq!(copy(&mut filled("three"), &mut &mut socket).unwrap(), (5, true));
        drop(socket);
        assert_eq!(drained(peer), "one two three");
        let mut to = file(false);
        assert_eq!(copy(&mut filled("into a file"), &mut to).unwrap(), (11, true));
        to.rewind().unwrap();
        let mut again = file(false);
        assert_eq!(copy(&mut &to, &mut again).unwrap(), (11, true));
        again.rewind().unwrap();
        assert_eq!(drained(again), "into a file");
        assert_eq!(copy(&mut filled("hello"), &mut Vec::new()).unwrap(), (0, false));
    }

    /// What was read ahead is given first, and counts for a limit.
    #[test]
    fn what_was_read_ahead_comes_first() {
        let mut reader = BufReader::with_capacity(4, filled("abcdefghij"));
        let mut first = [0];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(reader.buffer(), b"bcd");
        assert_eq!(into_pipe(&mut (&mut reader).take(2)), (2, true, "bc".to_owned()));
        let mut limited = reader.take(4);
        assert_eq!(into_pipe(&mut limited), (4, true, "defg".to_owned()));
        assert_eq!(limited.limit(), 0);
        assert_eq!(drained(limited.into_inner()), "hij");
    }

    /// The kernel finds out that it does not splice to a file that is appended to when there are
    /// bytes in the pipe already.
    #[test]
    fn what_is_in_the_pipe_when_the_kernel_refuses_is_written() {
        let mut to = file(true);
        assert_eq!(copy(&mut filled("not lost"), &mut to).unwrap(), (8, false));
        to.rewind().unwrap();
        assert_eq!(drained(to), "not lost");
    }

    /// A socket that may block is not spliced.
    #[test]
    fn a_blocking_socket_is_left_alone() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::from_std(client);
        assert_eq!(copy(&mut filled("hello"), &mut client).unwrap(), (0, false));
        assert_eq!(into_pipe(&mut client), (0, false, String::new()));
    }

    /// A pipe that has bytes in it must not be anybody else's.
    #[test]
    fn a_copy_that_fails_leaves_nothing_for_the_next_one() {
        for _ in 0..3 {
            // No pipe, whose other end a child of another test may have open for a moment.
            let (mut closed, _peer) = pair();
            closed.shutdown(std::net::Shutdown::Write).unwrap();
            let error = copy(&mut filled("lost"), &mut closed).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            assert_eq!(into_pipe(&mut filled("hello")), (5, true, "hello".to_owned()));
        }
    }

    #[test]
    fn a_file_that_calls_itself_a_pipe_is_no_pipe() {
        let mut to = PipeWriter::from(std::os::fd::OwnedFd::from(file(false)));
        assert_eq!(copy(&mut filled("hello"), &mut to).unwrap(), (0, false));
    }
}
