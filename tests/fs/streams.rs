//! Pipes and terminals that are opened as files: they are waited for like sockets.

use crate::support::{Folder, PATIENCE, narrow, until, within_patience};
use pirn::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Opening one end alone would wait for the other.
fn both_ends(path: &std::path::Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// There is one thread for blocking work, and nobody holds it up.
#[test]
fn readers_of_pipes_leave_the_pool_alone() {
    within_patience(|| {
        let folder = Folder::new();
        let runtime = narrow(1);
        let pipes: Vec<_> = (0..20).map(|n| folder.fifo(&n.to_string())).collect();
        let readers: Vec<_> = pipes
            .iter()
            .cloned()
            .map(|path| {
                runtime.spawn(move || {
                    let mut text = [0; 4];
                    both_ends(&path).read_exact(&mut text).unwrap();
                    text
                })
            })
            .collect();
        // They read one by one, as they find the pool free; that all are waiting shows only in what
        // does not come.
        let file = folder.join("file");
        runtime.run(|| {
            for _ in 0..100 {
                pirn::fs::write(&file, "text").unwrap();
                assert_eq!(pirn::fs::read(&file).unwrap(), b"text");
            }
        });
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        runtime.run(|| {
            for path in &pipes {
                both_ends(path).write_all(b"text").unwrap();
            }
        });
        readers.into_iter().for_each(|reader| assert_eq!(&reader.join().unwrap(), b"text"));
        assert_eq!(runtime.metrics().blocking_peak_threads, 1);
    });
}

/// Nobody reads it, so there is an end to what it takes.
#[test]
fn writers_of_pipes_leave_the_pool_alone() {
    within_patience(|| {
        let folder = Folder::new();
        let runtime = narrow(1);
        let path = folder.fifo("pipe");
        let (theirs, size) = (path.clone(), 1 << 20);
        let pipe = Arc::new(both_ends(&path));
        let held = pipe.clone();
        let writer = runtime.spawn(move || (&*held).write_all(&vec![7; size]).unwrap());
        runtime.run(|| {
            for _ in 0..100 {
                pirn::fs::metadata(&theirs).unwrap();
            }
        });
        assert!(!writer.is_finished());
        let read = runtime.run(|| {
            let (mut read, mut buf) = (0, vec![0; 10_000]);
            while read < size {
                read += (&*pipe).read(&mut buf).unwrap();
            }
            read
        });
        assert_eq!(read, size);
        writer.join().unwrap();
    });
}

#[test]
fn a_pipe_has_an_end() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.fifo("pipe");
        let runtime = pirn::Builder::new().workers(1).build().unwrap();
        let theirs = path.clone();
        let reader = runtime.spawn(move || {
            let mut text = String::new();
            File::open(theirs).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        runtime.run(|| {
            let mut pipe = File::options().write(true).open(path).unwrap();
            pipe.write_all(b"warp").unwrap();
            pipe.write_all(b" and weft").unwrap();
        });
        assert_eq!(reader.join().unwrap(), "warp and weft");
    });
}

#[test]
fn the_wrong_end_is_an_error_at_once() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.fifo("pipe");
        let _open = both_ends(&path);
        pirn::Builder::new().workers(1).build().unwrap().run(|| {
            let mut read = File::open(&path).unwrap();
            assert_eq!(read.write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
            let mut write = File::options().write(true).open(&path).unwrap();
            assert_eq!(write.read(&mut [0]).unwrap_err().raw_os_error(), Some(libc::EBADF));
            use std::os::unix::fs::FileExt;
            assert_eq!(read.read_at(&mut [0], 0).unwrap_err().raw_os_error(), Some(libc::ESPIPE));
        });
    });
}

/// Who asked not to wait does not.
#[test]
fn a_nonblocking_pipe() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.fifo("pipe");
        pirn::Builder::new().workers(1).build().unwrap().run(|| {
            let mut options = File::options();
            options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
            let mut pipe = options.open(path).unwrap();
            assert_eq!(pipe.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            while pipe.write(&[0; 4096]).is_ok() {}
            assert_eq!(pipe.write(&[0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        });
    });
}

/// A pipe without a name, which the kernel can read without waiting.
#[test]
fn a_pipe_by_its_descriptors() {
    within_patience(|| {
        let runtime = narrow(1);
        let (reader, writer) = std::io::pipe().unwrap();
        let mut reader = File::from(OwnedFd::from(reader));
        let mut writer = File::from(OwnedFd::from(writer));
        let read = runtime.spawn(move || {
            let mut found = Vec::new();
            reader.read_to_end(&mut found).unwrap();
            found
        });
        runtime.run(move || writer.write_all(&vec![3; 1 << 20]).unwrap());
        assert_eq!(read.join().unwrap(), vec![3; 1 << 20]);
    });
}

/// A terminal: a line at a time, and reading does not keep writing from happening.
#[test]
fn a_terminal() {
    within_patience(|| {
        let (keyboard, terminal) = terminal();
        let terminal = Arc::new(File::from(terminal));
        let runtime = narrow(1);
        let (theirs, shared) = (terminal.clone(), terminal);
        let reader = runtime.spawn(move || {
            let mut line = [0; 64];
            let count = (&*theirs).read(&mut line).unwrap();
            line[..count].to_vec()
        });
        runtime.run(move || (&*shared).write_all(b"prompt> ").unwrap());
        let mut keyboard = File::from(keyboard);
        let mut prompt = [0; 8];
        runtime.run(|| keyboard.read_exact(&mut prompt).unwrap());
        assert_eq!(&prompt, b"prompt> ");
        assert!(!reader.is_finished());
        runtime.run(|| keyboard.write_all(b"hello\n").unwrap());
        assert_eq!(reader.join().unwrap(), b"hello\n");
    });
}

#[expect(unsafe_code, reason = "std has no terminals")]
fn terminal() -> (OwnedFd, OwnedFd) {
    use std::os::fd::FromRawFd;

    let (mut keyboard, mut terminal) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: there is room for two descriptors; nothing else is asked for.
    let result = unsafe {
        libc::openpty(&raw mut keyboard, &raw mut terminal, none, none.cast(), none.cast())
    };
    assert_eq!(result, 0);
    // SAFETY: both have just been opened, and nobody else knows them.
    unsafe { (OwnedFd::from_raw_fd(keyboard), OwnedFd::from_raw_fd(terminal)) }
}

const LIMIT: Duration = Duration::from_millis(200);

fn watched() -> (pirn::Runtime, mpsc::Receiver<pirn::Stall>) {
    let (sent, received) = mpsc::channel();
    let sent = Mutex::new(sent);
    let runtime = pirn::Builder::new()
        .workers(1)
        .stall_after(LIMIT)
        .on_stall(move |stall| drop(sent.lock().unwrap().send(stall.clone())))
        .build()
        .unwrap();
    (runtime, received)
}

/// Std's read stalls the worker, and the watch says so: that is how we know that it watches.
#[test]
fn the_watch_sees_a_stall() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.fifo("pipe");
        let (runtime, stalls) = watched();
        let theirs = path.clone();
        let stalled = runtime.spawn(move || std::fs::read(theirs).unwrap());
        stalls.recv_timeout(PATIENCE).expect("no stall was seen");
        std::fs::write(path, "text").unwrap();
        assert_eq!(stalled.join().unwrap(), b"text");
    });
}

/// The same with pirn's: opening, reading and locking wait for long, and the worker does not.
#[test]
fn no_wait_stalls_a_worker() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.fifo("pipe");
        let (runtime, stalls) = watched();
        let (opens, reads) = (path.clone(), both_ends(&folder.fifo("other")));
        let opener = runtime.spawn(move || pirn::fs::read(opens).unwrap());
        let feeder = reads.try_clone().unwrap();
        let reader = runtime.spawn(move || (&reads).read(&mut [0; 4]).unwrap());
        let locked = std::fs::File::create(folder.join("lock")).unwrap();
        locked.lock().unwrap();
        let lock = File::open(folder.join("lock")).unwrap();
        let locker = runtime.spawn(move || lock.lock().unwrap());
        // So long that the watch would have seen it several times.
        let slept = runtime.spawn(|| pirn::thread::sleep(5 * LIMIT));
        slept.join().unwrap();
        assert!(!opener.is_finished() && !reader.is_finished() && !locker.is_finished());
        drop(locked);
        (&feeder).write_all(b"text").unwrap();
        std::fs::write(path, "text").unwrap();
        assert_eq!(opener.join().unwrap(), b"text");
        assert_eq!(reader.join().unwrap(), 4);
        locker.join().unwrap();
        until(|| runtime.metrics().live == 0);
        assert_eq!(stalls.try_recv().map(drop), Err(mpsc::TryRecvError::Empty));
    });
}
