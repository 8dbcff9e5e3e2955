//! Many coroutines over one open file.

use crate::support::{Folder, within_patience};
use pirn::fs::File;
use std::collections::BTreeSet;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const RECORD: usize = 64;
const RECORDS: usize = 4000;

fn record(number: usize) -> Vec<u8> {
    format!("{number:RECORD$}").into_bytes()
}

fn number(record: &[u8]) -> usize {
    std::str::from_utf8(record).unwrap().trim().parse().unwrap()
}

/// Each record is read once.
#[test]
fn readers_share_the_position() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("file");
        std::fs::write(&path, (0..RECORDS).flat_map(record).collect::<Vec<_>>()).unwrap();
        let runtime = pirn::Builder::new().workers(2).build().unwrap();
        let file = Arc::new(File::open(path).unwrap());
        let readers: Vec<_> = (0..16)
            .map(|_| {
                let file = file.try_clone().unwrap();
                runtime.spawn(move || {
                    let (mut found, mut buf) = (Vec::new(), [0; RECORD]);
                    while (&file).read(&mut buf).unwrap() == RECORD {
                        found.push(number(&buf));
                    }
                    found
                })
            })
            .collect();
        let found: Vec<usize> =
            readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        assert_eq!(found.len(), RECORDS);
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), RECORDS);
    });
}

/// No record is lost or torn, wherever it is written from.
#[test]
fn writers_share_the_position() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("file");
        let runtime = pirn::Builder::new().workers(2).build().unwrap();
        let file = Arc::new(File::create(&path).unwrap());
        let write = |file: Arc<File>, numbers: std::ops::Range<usize>| {
            move || {
                for number in numbers {
                    assert_eq!((&*file).write(&record(number)).unwrap(), RECORD);
                }
            }
        };
        let coroutines: Vec<_> =
            (0..8).map(|n| runtime.spawn(write(file.clone(), n * 100..n * 100 + 100))).collect();
        let thread = std::thread::spawn(write(file.clone(), 800..900));
        coroutines.into_iter().for_each(|writer| writer.join().unwrap());
        thread.join().unwrap();
        let contents = std::fs::read(path).unwrap();
        let found: BTreeSet<_> = contents.chunks(RECORD).map(number).collect();
        assert_eq!(contents.len(), 900 * RECORD);
        assert_eq!(found, (0..900).collect());
    });
}

#[test]
fn offsets_take_no_turn() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("file");
        let runtime = pirn::Builder::new().workers(2).build().unwrap();
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let file = Arc::new(file);
        let writers: Vec<_> = (0..100)
            .map(|n| {
                let file = file.clone();
                runtime.spawn(move || {
                    file.write_all_at(&record(n), (n * RECORD) as u64).unwrap();
                    let mut buf = [0; RECORD];
                    file.read_exact_at(&mut buf, (n * RECORD) as u64).unwrap();
                    assert_eq!(number(&buf), n);
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!((&*file).stream_position().unwrap(), 0);
        let contents = std::fs::read(path).unwrap();
        assert!(contents.chunks(RECORD).map(number).eq(0..100));
    });
}

/// A seek comes before or after a write, and not into it.
#[test]
fn seeks_take_their_turn() {
    within_patience(|| {
        let folder = Folder::new();
        let runtime = pirn::Builder::new().workers(2).build().unwrap();
        let file = Arc::new(File::create(folder.join("file")).unwrap());
        let coroutines: Vec<_> = (0..200)
            .map(|n| {
                let file = file.clone();
                runtime.spawn(move || {
                    let mut file = &*file;
                    match n % 2 {
                        0 => assert_eq!(file.write(&[1; 100]).unwrap(), 100),
                        _ => assert_eq!(file.stream_position().unwrap() % 100, 0),
                    }
                })
            })
            .collect();
        coroutines.into_iter().for_each(|coroutine| coroutine.join().unwrap());
        assert_eq!((&*file).stream_position().unwrap(), 100 * 100);
    });
}
