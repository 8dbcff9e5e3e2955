//! Pipes.

use crate::support::{everywhere, guarded, pattern, runtime, settle};
use pirn::io::{ErrorKind, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

fn is_nonblocking(fd: impl AsFd) -> bool {
    socket2::SockRef::from(&fd).nonblocking().unwrap()
}

#[test]
fn what_is_written_is_read() {
    everywhere(|world| {
        let (mut reader, mut writer) = pipe().unwrap();
        let sent = pattern(1 << 20);
        let expected = sent.clone();
        let writing = world.spawn(move || writer.write_all(&sent).unwrap());
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        writing.join();
        assert!(received == expected);
    });
}

#[test]
fn a_reader_waits_for_a_writer() {
    everywhere(|world| {
        let (mut reader, mut writer) = pipe().unwrap();
        let reading = world.spawn(move || {
            let mut buf = [0; 8];
            let count = reader.read(&mut buf).unwrap();
            (buf[..count].to_vec(), reader.read(&mut buf).unwrap())
        });
        settle();
        writer.write_all(b"late").unwrap();
        settle();
        drop(writer);
        assert_eq!(reading.join(), (b"late".to_vec(), 0));
    });
}

/// A write that does not fit at once goes on as the pipe is emptied.
#[test]
fn writes_are_short_or_wait() {
    everywhere(|world| {
        let (mut reader, mut writer) = pipe().unwrap();
        let writing = world.spawn(move || {
            let chunk = pattern(100_000);
            let first = writer.write(&chunk).unwrap();
            writer.write_all(&chunk[first..]).unwrap();
            first
        });
        let mut received = vec![0; 100_000];
        for piece in received.chunks_mut(777) {
            reader.read_exact(piece).unwrap();
        }
        assert!((1..=100_000).contains(&writing.join()));
        assert!(received == pattern(100_000));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_write_without_readers_is_a_broken_pipe() {
    everywhere(|world| {
        let (reader, mut writer) = pipe().unwrap();
        let writing = world.spawn(move || {
            loop {
                if let Err(error) = writer.write(&[0; 5000]) {
                    break error.kind();
                }
            }
        });
        settle();
        drop(reader);
        assert_eq!(writing.join(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn many_share_one_pipe() {
    const EACH: usize = 200;
    everywhere(|world| {
        let (reader, writer) = pipe().unwrap();
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let writer = writer.try_clone().unwrap();
                // No longer than `PIPE_BUF`, so each stays in one piece.
                world.spawn(move || (0..EACH).for_each(|_| (&writer).write_all(&[7; 512]).unwrap()))
            })
            .collect();
        drop(writer);
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let mut reader = reader.try_clone().unwrap();
                world.spawn(move || {
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all).unwrap();
                    all.len()
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join());
        let total: usize = readers.into_iter().map(|reader| reader.join()).sum();
        assert_eq!(total, 8 * EACH * 512);
    });
}

#[test]
fn several_buffers_at_once() {
    everywhere(|_| {
        let (mut reader, mut writer) = pipe().unwrap();
        let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(writer.write_vectored(&slices).unwrap(), 5);
        let (mut one, mut two) = ([0; 1], [0; 9]);
        let mut into = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert_eq!(reader.read_vectored(&mut into).unwrap(), 5);
        assert_eq!((&one, &two[..4]), (b"a", &b"bcde"[..]));
        assert_eq!(writer.write(b"").unwrap(), 0);
        // More than a call takes.
        let many = vec![IoSlice::new(b"x"); 3000];
        assert!((1..=3000).contains(&writer.write_vectored(&many).unwrap()));
        writer.flush().unwrap();
    });
}

/// One worker: were it blocked, nobody would write.
#[test]
fn foreign_pipes_park_and_stay_as_they_are() {
    guarded("foreign pipes", || {
        runtime(1).run(|| {
            let (reader, writer) = std::io::pipe().unwrap();
            let kept = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
            let (mut reader, mut writer) = (PipeReader::from(reader), PipeWriter::from(writer));
            let reading = pirn::spawn(move || {
                let mut all = Vec::new();
                reader.by_ref().take(300_000).read_to_end(&mut all).unwrap();
                (reader, all)
            });
            settle();
            // More than fits: the writer waits, too.
            writer.write_all(&pattern(300_000)).unwrap();
            let (reader, all) = reading.join().unwrap();
            assert!(all == pattern(300_000));
            assert!(!is_nonblocking(&kept.0) && !is_nonblocking(&kept.1));
            assert!(!is_nonblocking(&reader) && !is_nonblocking(&writer));
        });
    });
}

#[test]
fn what_is_given_away_blocks() {
    let (reader, writer) = pipe().unwrap();
    assert!(is_nonblocking(&reader) && is_nonblocking(&writer));
    let number = reader.as_raw_fd();
    let reader = OwnedFd::from(reader);
    assert_eq!(reader.as_raw_fd(), number);
    assert!(!is_nonblocking(&reader));

    // With a clone alive, which still must not block.
    let clone = writer.try_clone().unwrap();
    let writer = OwnedFd::from(writer);
    assert!(is_nonblocking(&clone));
    assert_eq!(is_nonblocking(&writer), cfg!(not(target_os = "linux")));
    drop(writer);
    (&clone).write_all(b"still there").unwrap();
    drop(clone);
    let mut text = String::new();
    std::io::PipeReader::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!(text, "still there");
}

#[test]
fn a_child_process_gets_blocking_ends() {
    everywhere(|_| {
        let (mut reader, writer) = pipe().unwrap();
        let (input, mut feed) = pipe().unwrap();
        let mut command = Command::new("cat");
        command.stdin(input).stdout(writer);
        let mut child = command.spawn().unwrap();
        // The command has its own ends of both.
        drop(command);
        feed.write_all(b"through the cat").unwrap();
        drop(feed);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the cat");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn readers_are_cancelled_with_their_runtime() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    static GONE: AtomicUsize = AtomicUsize::new(0);

    let (reader, mut writer) = pipe().unwrap();
    guarded("cancellation", || {
        let runtime = runtime(2);
        for _ in 0..10 {
            let mut reader = reader.try_clone().unwrap();
            // It goes even if the coroutine never begins.
            let counted = Counted(&GONE);
            runtime.spawn(move || {
                let _counted = counted;
                reader.read_exact(&mut [0; 4]).unwrap();
            });
        }
        runtime.run(settle);
        drop(runtime);
        assert_eq!(GONE.load(Ordering::Relaxed), 10);
        // It outlives the runtime, and nothing was taken out.
        writer.write_all(b"rest").unwrap();
        drop(writer);
        let mut text = String::new();
        (&reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "rest");
    });
}

#[test]
fn the_texts_of_debug() {
    let (reader, writer) = pipe().unwrap();
    assert_eq!(format!("{reader:?}"), format!("PipeReader {{ fd: {} }}", reader.as_raw_fd()));
    assert_eq!(format!("{writer:?}"), format!("PipeWriter {{ fd: {} }}", writer.as_raw_fd()));
}
