//! Waits that are cancelled, and the work that goes on.

use crate::support::{Folder, narrow, until, within_patience};
use pirn::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Holds the only thread of a narrow runtime's pool until it is dropped.
fn occupy(runtime: &pirn::Runtime) -> mpsc::Sender<()> {
    let (let_go, gate) = mpsc::channel::<()>();
    let (began, beginning) = mpsc::channel();
    let occupant = move || {
        began.send(()).unwrap();
        // It ends by an error, when the other end is dropped.
        gate.recv().unwrap_err();
    };
    drop(runtime.spawn(move || pirn::blocking(occupant)));
    beginning.recv().unwrap();
    let_go
}

/// Writes that have not begun are dropped with the buffers that they own; all is closed.
#[test]
fn a_runtime_ends_before_the_work_begins() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("file");
        let runtime = narrow(1);
        let mut options = File::options();
        options.read(true).write(true).create(true);
        let files: Vec<_> = (0..20).map(|_| options.open(&path).unwrap()).collect();
        let let_go = occupy(&runtime);
        let coroutines: Vec<_> = files
            .into_iter()
            .map(|mut file| {
                runtime.spawn(move || {
                    let mut buf = vec![5; 100_000];
                    file.write_all(&buf).unwrap();
                    file.rewind().unwrap();
                    file.read_exact(&mut buf).unwrap();
                })
            })
            .collect();
        until(|| runtime.metrics().blocking_queued >= 20);
        let ended = std::thread::spawn(move || drop(runtime));
        for coroutine in coroutines {
            assert!(coroutine.join().unwrap_err().is::<pirn::Cancelled>());
        }
        drop(let_go);
        ended.join().unwrap();
        assert_eq!(folder.descriptors(), 0);
        assert_eq!(std::fs::read(path).unwrap(), b"");
    });
}

/// In the middle of whatever they do. Contents and descriptors are as if it had happened or not.
#[test]
fn a_runtime_ends_in_the_middle() {
    const LINE: &[u8] = b"a line of thirty-two characters\n";

    within_patience(|| {
        for round in 0..30 {
            let folder = Folder::new();
            let path = folder.join("file");
            std::fs::write(&path, LINE.repeat(1000)).unwrap();
            let runtime = pirn::Builder::new().workers(2).build().unwrap();
            let done = Arc::new(AtomicUsize::new(0));
            for _ in 0..8 {
                let (path, done, folder) = (path.clone(), done.clone(), folder.path().to_owned());
                drop(runtime.spawn(move || {
                    let mut log = File::options().append(true).open(&path).unwrap();
                    loop {
                        assert_eq!(log.write(LINE).unwrap(), LINE.len());
                        let mut text = Vec::new();
                        File::open(&path).unwrap().read_to_end(&mut text).unwrap();
                        log.sync_data().unwrap();
                        assert!(pirn::fs::read_dir(&folder).unwrap().count() > 0);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }));
            }
            until(|| done.load(Ordering::SeqCst) > round);
            drop(runtime);
            assert_eq!(folder.descriptors(), 0);
            let text = std::fs::read(path).unwrap();
            assert_eq!(text.len() % LINE.len(), 0);
            assert!(text.chunks(LINE.len()).all(|line| line == LINE));
        }
    });
}

/// Work that never began gives its turn back.
#[test]
fn abandoned_work_does_not_keep_its_turn() {
    within_patience(|| {
        let folder = Folder::new();
        let file = Arc::new(File::create(folder.join("file")).unwrap());
        let runtime = narrow(1);
        let let_go = occupy(&runtime);
        let theirs = file.clone();
        let writer = runtime.spawn(move || (&*theirs).write_all(&[1; 10]).unwrap());
        until(|| runtime.metrics().blocking_queued == 1);
        let ended = std::thread::spawn(move || drop(runtime));
        assert!(writer.join().unwrap_err().is::<pirn::Cancelled>());
        drop(let_go);
        ended.join().unwrap();
        let theirs = file.clone();
        let other = narrow(1);
        let asker = other.spawn(move || (&*theirs).stream_position().unwrap());
        assert_eq!(asker.join().unwrap(), 0);
        drop(other);
        let file = Arc::into_inner(file).unwrap().into_std().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
    });
}

/// Bytes that were read into nothing do not show, and what was in the buffer stays.
#[test]
fn a_cancelled_read_leaves_the_buffer() {
    within_patience(|| {
        let folder = Folder::new();
        let pipe = folder.fifo("pipe");
        let pipe = File::options().read(true).write(true).open(pipe).unwrap();
        let runtime = narrow(1);
        let (began, beginning) = mpsc::channel();
        let (sent, found) = mpsc::channel();
        let reader = runtime.spawn(move || {
            struct Tell(Vec<u8>, mpsc::Sender<Vec<u8>>);

            impl Drop for Tell {
                fn drop(&mut self) {
                    self.1.send(std::mem::take(&mut self.0)).unwrap();
                }
            }

            let mut buf = Tell(vec![1, 2, 3], sent);
            began.send(()).unwrap();
            (&pipe).read_to_end(&mut buf.0)
        });
        beginning.recv().unwrap();
        drop(runtime);
        assert!(reader.join().unwrap_err().is::<pirn::Cancelled>());
        assert_eq!(found.recv().unwrap(), [1, 2, 3]);
        assert_eq!(folder.descriptors(), 0);
    });
}

/// Whoever reads next gets it: one who waits already, and a clone on a plain thread.
#[test]
fn what_was_taken_off_a_pipe_is_not_lost() {
    for drained in [false, true] {
        within_patience(move || {
            let folder = Folder::new();
            let path = folder.fifo("pipe");
            let pipe = Arc::new(File::options().read(true).write(true).open(&path).unwrap());
            let mut same = std::fs::File::options().read(true).write(true).open(path).unwrap();
            let runtime = narrow(1);
            let let_go = occupy(&runtime);
            let reader = |room: usize| {
                let pipe = pipe.clone();
                runtime.spawn(move || {
                    let mut buf = vec![0; room];
                    let count = (&*pipe).read(&mut buf).unwrap();
                    buf.truncate(count);
                    buf
                })
            };
            same.write_all(b"weft").unwrap();
            let cancelled = reader(64);
            until(|| runtime.metrics().blocking_queued == 1);
            cancelled.cancel();
            assert!(cancelled.join().unwrap_err().is::<pirn::Cancelled>());
            if drained {
                // Another process was quicker: the pool waits for what comes next.
                assert_eq!(same.read(&mut [0; 4]).unwrap(), 4);
            }
            let next = reader(1);
            drop(let_go);
            if drained {
                until(|| runtime.metrics().blocking_queued == 0);
                same.write_all(b"weft").unwrap();
            }
            assert_eq!(next.join().unwrap(), b"w");
            let mut rest = [0; 64];
            let count = pipe.try_clone().unwrap().read(&mut rest).unwrap();
            assert_eq!(&rest[..count], b"eft");
        });
    }
}

/// A file that is dropped by a panic, or whose drop has much to do, is closed by then.
#[test]
fn dropped_is_closed() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("file");
        let runtime = narrow(1);
        runtime.run(|| {
            let mut file = File::create(&path).unwrap();
            file.write_all(&vec![0; 4 << 20]).unwrap();
            pirn::fs::remove_file(&path).unwrap();
            assert_eq!(folder.descriptors(), 1);
            drop(file);
            assert_eq!(folder.descriptors(), 0);
        });
        let theirs = path.clone();
        let panics = runtime.spawn(move || {
            let mut file = File::create(&theirs).unwrap();
            file.write_all(&vec![0; 4 << 20]).unwrap();
            pirn::fs::remove_file(&theirs).unwrap();
            std::panic::resume_unwind(Box::new("with a file"));
        });
        assert_eq!(*panics.join().unwrap_err().downcast::<&str>().unwrap(), "with a file");
        assert_eq!(folder.descriptors(), 0);
    });
}
