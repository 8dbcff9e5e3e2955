//! What reading and writing small pieces of a file costs, whose pages are in memory.
//!
//! The ways to read for a coroutine: in place where the kernel can tell that it need not wait
//! (what pirn does), always by a thread of the pool, and by `io_uring`.

#![expect(unsafe_code, reason = "io_uring is told where the buffer is")]

use crate::cpu;
use crate::race::CPU;
use crate::table::{Table, nanos_each};
use io_uring::{IoUring, opcode, types};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

const PIECE: usize = 4096;
const PIECES: u64 = 1024;
const OPERATIONS: u64 = 20_000;
const ROUNDS: usize = 7;

/// A file that goes when the measurement ends.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch::of(name, std::process::id())
    }

    fn of(name: &str, process: u32) -> Scratch {
        let name = format!("pirn-bench-{name}-{process}");
        Scratch(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

/// Nanoseconds by the clock and of processor time, of one operation.
fn measured(operations: u64, run: impl FnOnce()) -> (f64, f64) {
    let before = cpu::nanos();
    let nanos = nanos_each(operations, run);
    (nanos, (cpu::nanos() - before) as f64 / operations as f64)
}

type Run<'a> = Box<dyn FnMut() -> (f64, f64) + 'a>;

fn contest(what: &str, mut contestants: Vec<(&str, Run<'_>)>) {
    let mut figures = vec![Vec::new(); contestants.len()];
    for _ in 0..ROUNDS {
        for (rounds, (_, run)) in figures.iter_mut().zip(&mut contestants) {
            let (nanos, of_processor) = run();
            rounds.push(vec![nanos, of_processor]);
        }
    }
    let mut table = Table::new(what, &["ns", CPU]);
    for (rounds, (name, _)) in figures.into_iter().zip(&contestants) {
        table.line(name, rounds);
    }
    table.finish();
}

fn offsets(operations: u64) -> impl Iterator<Item = u64> {
    (0..operations).map(|n| n * 7 % PIECES * PIECE as u64)
}

/// Reads by `io_uring`, so many at a time.
fn by_ring(ring: &mut IoUring, file: &File, batch: usize) {
    let fd = types::Fd(file.as_raw_fd());
    let mut buffers = vec![[0_u8; PIECE]; batch];
    let mut offsets = offsets(OPERATIONS);
    for _ in 0..OPERATIONS / batch as u64 {
        for (buffer, offset) in buffers.iter_mut().zip(&mut offsets) {
            let read = opcode::Read::new(fd, buffer.as_mut_ptr(), PIECE as u32);
            // SAFETY: the buffers and the file outlive the batch, which is waited for below.
            unsafe { ring.submission().push(&read.offset(offset).build()) }.expect("room");
        }
        ring.submit_and_wait(batch).expect("the kernel has io_uring");
        let done: i32 = ring.completion().map(|entry| entry.result()).sum();
        assert_eq!(done as usize, batch * PIECE);
    }
}

/// All rows.
pub(crate) fn files() {
    let scratch = Scratch::new("files");
    fs::write(&scratch.0, vec![7; PIECE * PIECES as usize]).expect("room for a file");
    let std = File::options().read(true).write(true).open(&scratch.0).expect("the file");
    let runtime = pirn::Builder::new().workers(1).build().expect("a runtime");
    let open = || pirn::fs::File::options().read(true).write(true).open(&scratch.0);
    let ours = runtime.run(open).expect("the file");
    let shared = Arc::new(std.try_clone().expect("a descriptor"));

    let mut reads: Vec<(&str, Run<'_>)> = vec![
        ("thread, std", Box::new(|| measured(OPERATIONS, || read_here(&std)))),
        ("pirn::fs", Box::new(|| runtime.run(|| measured(OPERATIONS, || read_ours(&ours))))),
        (
            "pirn, always the pool",
            Box::new(|| {
                let few = OPERATIONS / 10;
                runtime.run(|| measured(few, || read_away(&shared, few)))
            }),
        ),
    ];
    match IoUring::new(64) {
        Ok(ring) => {
            let ring = std::cell::RefCell::new(ring);
            let ring = Box::leak(Box::new(ring));
            let run = |batch| {
                let (ring, std) = (&*ring, &std);
                let run =
                    move || measured(OPERATIONS, || by_ring(&mut ring.borrow_mut(), std, batch));
                Box::new(run) as Run<'_>
            };
            reads.push(("io_uring, one by one", run(1)));
            reads.push(("io_uring, 32 at a time", run(32)));
        }
        Err(error) => eprintln!("no io_uring: {error}"),
    }
    contest("a read of 4 KiB that is in memory", reads);

    contest(
        "a write of 4 KiB",
        vec![
            ("thread, std", Box::new(|| measured(OPERATIONS, || write_here(&std)))),
            (
                "pirn::fs",
                Box::new(|| runtime.run(|| measured(OPERATIONS / 10, || write_ours(&ours)))),
            ),
        ],
    );
    contest(
        "8 KiB of a BufReader over 4 MiB in memory",
        vec![
            ("thread, std", Box::new(|| buffered(File::open(&scratch.0)))),
            ("pirn::fs", Box::new(|| runtime.run(|| buffered(pirn::fs::File::open(&scratch.0))))),
        ],
    );
    let small = Scratch::new("small");
    fs::write(&small.0, "a small file").expect("room for a file");
    let whole = OPERATIONS / 10;
    contest(
        "a whole small file: open, read, close",
        vec![
            (
                "thread, std",
                Box::new(|| {
                    measured(whole, || {
                        (0..whole).for_each(|_| drop(black_box(fs::read(&small.0))));
                    })
                }),
            ),
            (
                "pirn::fs",
                Box::new(|| {
                    runtime.run(|| {
                        measured(whole, || {
                            (0..whole).for_each(|_| drop(black_box(pirn::fs::read(&small.0))));
                        })
                    })
                }),
            ),
        ],
    );
}

fn read_here(file: &File) {
    let mut buffer = [0; PIECE];
    for offset in offsets(OPERATIONS) {
        file.read_exact_at(&mut buffer, offset).expect("it is there");
    }
}

fn read_ours(file: &pirn::fs::File) {
    let mut buffer = [0; PIECE];
    for offset in offsets(OPERATIONS) {
        file.read_exact_at(&mut buffer, offset).expect("it is there");
    }
}

/// With a buffer of its own each time, and a copy, as cancellation asks for.
fn read_away(file: &Arc<File>, operations: u64) {
    let mut buffer = [0; PIECE];
    for offset in offsets(operations) {
        let file = file.clone();
        let data = pirn::blocking(move || {
            let mut data = vec![0; PIECE];
            file.read_exact_at(&mut data, offset).map(|()| data)
        });
        buffer.copy_from_slice(&data.expect("it is there"));
    }
    black_box(buffer);
}

fn write_here(file: &File) {
    for offset in offsets(OPERATIONS) {
        file.write_all_at(&[8; PIECE], offset).expect("there is room");
    }
}

fn write_ours(file: &pirn::fs::File) {
    for offset in offsets(OPERATIONS / 10) {
        file.write_all_at(&[8; PIECE], offset).expect("there is room");
    }
}

fn buffered(file: io::Result<impl Read>) -> (f64, f64) {
    let mut reader = BufReader::new(file.expect("the file"));
    let pieces = PIECES * PIECE as u64 / (8 << 10);
    measured(pieces, || {
        let mut line = [0; 1024];
        while reader.read(&mut line).expect("it is there") > 0 {
            black_box(&line);
        }
    })
}

// A server that works on files beside.

/// How a coroutine of the server does its file work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// Not at all.
    Nothing,
    /// By `pirn::fs`.
    Ours,
    /// By `std::fs`, which holds the worker up.
    Std,
}

const BIG: usize = 8 << 20;
const CHUNK: usize = 1 << 20;
const WORKERS_ON_FILES: usize = 2;

/// Writes a file, has it brought to the disk, and reads it back, again and again. It lets others
/// run after each step, so that what holds them up is a single one.
macro_rules! file_work {
    ($fs:path, $scratch:expr) => {{
        use $fs as fs;
        let chunk = vec![9; CHUNK];
        loop {
            let mut file = fs::File::create(&$scratch.0)?;
            for _ in 0..BIG / CHUNK {
                file.write_all(&chunk)?;
                pirn::thread::yield_now();
            }
            file.sync_all()?;
            pirn::thread::yield_now();
            let mut file = fs::File::open(&$scratch.0)?;
            let mut piece = vec![0; 64 << 10];
            while file.read(&mut piece)? > 0 {
                pirn::thread::yield_now();
            }
        }
    }};
}

fn work_on_files(beside: Beside, number: usize) -> io::Result<()> {
    let scratch = Scratch::new(&beside_name(number));
    match beside {
        Beside::Nothing => Ok(()),
        Beside::Ours => file_work!(pirn::fs, scratch),
        Beside::Std => file_work!(std::fs, scratch),
    }
}

/// The file work begins at the first line of input, and the process ends with the input.
fn serve(beside: Beside, workers: usize) -> io::Result<()> {
    let (go, begin) = pirn::channel::bounded(0);
    std::thread::spawn(move || {
        let mut lines = io::stdin().lines();
        if let Some(Ok(_)) = lines.next() {
            go.send(()).expect("somebody waits");
        }
        lines.for_each(drop);
        std::process::exit(0);
    });
    let builder = pirn::Builder::new().workers(workers).stack_size(64 * 1024);
    builder.build()?.run(|| {
        pirn::spawn(move || {
            if begin.recv().is_err() {
                return;
            }
            for number in 0..WORKERS_ON_FILES {
                pirn::spawn(move || {
                    if let Err(error) = work_on_files(beside, number) {
                        eprintln!("files: {error}");
                    }
                });
            }
        });
        crate::contestants::echo_by_pirn::<crate::contestants::Homed>()
    })
}

/// The files that the server of that process leaves behind when it is killed.
pub(crate) fn beside_scratch(process: u32) -> Vec<Scratch> {
    (0..WORKERS_ON_FILES).map(|number| Scratch::of(&beside_name(number), process)).collect()
}

fn beside_name(number: usize) -> String {
    format!("beside-{number}")
}

/// The server of a child process.
pub(crate) fn serve_beside_nothing(workers: usize) -> io::Result<()> {
    serve(Beside::Nothing, workers)
}

/// The server of a child process.
pub(crate) fn serve_beside_ours(workers: usize) -> io::Result<()> {
    serve(Beside::Ours, workers)
}

/// The server of a child process.
pub(crate) fn serve_beside_std(workers: usize) -> io::Result<()> {
    serve(Beside::Std, workers)
}
