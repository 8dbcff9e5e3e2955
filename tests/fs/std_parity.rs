//! What pirn's types say and do, beside std's.

use crate::support::{Folder, everywhere};
use pirn::fs;
use pirn::os::unix::fs as unix;
use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd as _, IntoRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, DirEntryExt, FileExt, MetadataExt, OpenOptionsExt};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn same<T: Debug, U: Debug>(ours: &T, std: &U) {
    assert_eq!(format!("{ours:?}"), format!("{std:?}"));
    assert_eq!(format!("{ours:#?}"), format!("{std:#?}"));
}

/// Kind, number and text.
#[track_caller]
fn same_error<T: Debug, U: Debug>(ours: io::Result<T>, std: io::Result<U>) {
    let (ours, std) = (ours.unwrap_err(), std.unwrap_err());
    assert_eq!(ours.kind(), std.kind());
    assert_eq!(ours.raw_os_error(), std.raw_os_error());
    assert_eq!(ours.to_string(), std.to_string());
}

#[test]
fn debug_texts() {
    everywhere(|| {
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, "text").unwrap();
        let file = fs::File::open(&path).unwrap();
        let text = format!("{file:?}");
        let fd = file.as_raw_fd();
        assert_eq!(text, format!("{:?}", file.into_std().unwrap()));
        assert!(text.contains(&format!("fd: {fd}")), "{text}");

        let (mut ours, mut std) = (fs::OpenOptions::new(), std::fs::OpenOptions::new());
        same(&ours, &std);
        ours.append(true).mode(0o640).create_new(true);
        std.append(true).mode(0o640).create_new(true);
        same(&ours.clone(), &std);

        let (mut ours, mut std) = (fs::DirBuilder::new(), std::fs::DirBuilder::new());
        same(&ours, &std);
        ours.recursive(true).mode(0o700);
        std.recursive(true).mode(0o700);
        same(&ours, &std);

        let (mut ours, mut std) =
            (fs::read_dir(folder.path()).unwrap(), std::fs::read_dir(folder.path()).unwrap());
        same(&ours, &std);
        let (entry, std_entry) = (ours.next().unwrap().unwrap(), std.next().unwrap().unwrap());
        same(&entry, &std_entry);
        assert_eq!(entry.ino(), std_entry.ino());
        assert!(ours.next().is_none());
        assert!(ours.next().is_none());
        same(&ours, &std);
    });
}

#[test]
fn auto_traits() {
    fn all<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    all::<fs::File>();
    all::<fs::OpenOptions>();
    all::<fs::DirBuilder>();
    all::<fs::ReadDir>();
    all::<fs::DirEntry>();
    all::<std::fs::File>();
    all::<std::fs::ReadDir>();
    all::<std::fs::DirEntry>();
}

#[test]
fn errors_of_paths() {
    everywhere(|| {
        let folder = Folder::new();
        let (none, nul) = (folder.join("none"), "a\0b");
        std::fs::write(folder.join("file"), "").unwrap();
        let file = folder.join("file");
        same_error(fs::File::open(&none), std::fs::File::open(&none));
        same_error(fs::File::open(nul), std::fs::File::open(nul));
        same_error(fs::File::create(folder.path()), std::fs::File::create(folder.path()));
        same_error(fs::File::create_new(&file), std::fs::File::create_new(&file));
        same_error(fs::OpenOptions::new().open(&file), std::fs::OpenOptions::new().open(&file));
        same_error(fs::read(folder.path()), std::fs::read(folder.path()));
        same_error(fs::read_to_string(&none), std::fs::read_to_string(&none));
        same_error(fs::write(folder.path(), "x"), std::fs::write(folder.path(), "x"));
        same_error(fs::copy(folder.path(), &none), std::fs::copy(folder.path(), &none));
        same_error(fs::create_dir(&file), std::fs::create_dir(&file));
        same_error(fs::create_dir_all(file.join("x")), std::fs::create_dir_all(file.join("x")));
        same_error(fs::remove_dir(&file), std::fs::remove_dir(&file));
        same_error(fs::remove_dir(folder.path()), std::fs::remove_dir(folder.path()));
        same_error(fs::remove_dir_all(&none), std::fs::remove_dir_all(&none));
        same_error(fs::remove_file(&none), std::fs::remove_file(&none));
        same_error(fs::rename(&none, &file), std::fs::rename(&none, &file));
        same_error(fs::hard_link(&none, "x"), std::fs::hard_link(&none, "x"));
        same_error(fs::read_link(&file), std::fs::read_link(&file));
        same_error(fs::canonicalize(&none), std::fs::canonicalize(&none));
        same_error(fs::metadata(&none), std::fs::metadata(&none));
        same_error(fs::symlink_metadata(nul), std::fs::symlink_metadata(nul));
        same_error(fs::exists(nul), std::fs::exists(nul));
        same_error(fs::read_dir(&file).map(drop), std::fs::read_dir(&file).map(drop));
        let link = unix::symlink("x", &file);
        same_error(link, std::os::unix::fs::symlink("x", &file));
        let chowned = unix::chown(&none, Some(0), None);
        same_error(chowned, std::os::unix::fs::chown(&none, Some(0), None));
        assert!(!fs::exists(&none).unwrap());
    });
}

#[test]
fn what_is_done_with_paths() {
    everywhere(|| {
        let folder = Folder::new();
        let (one, two) = (folder.join("one"), folder.join("two"));
        fs::write(&one, vec![7; 100_000]).unwrap();
        assert_eq!(fs::copy(&one, &two).unwrap(), 100_000);
        assert_eq!(fs::read(&two).unwrap(), vec![7; 100_000]);
        fs::rename(&two, folder.join("three")).unwrap();
        fs::hard_link(&one, &two).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().nlink(), 2);
        unix::symlink(&one, folder.join("link")).unwrap();
        assert!(fs::symlink_metadata(folder.join("link")).unwrap().is_symlink());
        assert_eq!(fs::read_link(folder.join("link")).unwrap(), one);
        let canonical = fs::canonicalize(folder.join("link")).unwrap();
        assert_eq!(canonical, one.canonicalize().unwrap());
        let mut permissions = fs::metadata(&one).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&one, permissions).unwrap();
        assert!(fs::metadata(&one).unwrap().permissions().readonly());
        let owner = fs::metadata(&one).unwrap().uid();
        unix::chown(&one, Some(owner), None).unwrap();
        unix::lchown(folder.join("link"), Some(owner), None).unwrap();
        unix::fchown(fs::File::open(&one).unwrap(), Some(owner), None).unwrap();
        fs::create_dir_all(folder.join("a/b/c")).unwrap();
        fs::DirBuilder::new().mode(0o700).create(folder.join("private")).unwrap();
        assert_eq!(fs::metadata(folder.join("private")).unwrap().mode() & 0o777, 0o700);
        fs::remove_dir(folder.join("private")).unwrap();
        fs::remove_dir_all(folder.join("a")).unwrap();
        fs::remove_file(&two).unwrap();
        assert!(!fs::exists(&two).unwrap());
    });
}

#[test]
fn what_is_done_with_files() {
    everywhere(|| {
        let folder = Folder::new();
        let mut file = fs::File::create_new(folder.join("file")).unwrap();
        let parts = [IoSlice::new(b"warp "), IoSlice::new(b""), IoSlice::new(b"and weft")];
        assert_eq!(file.write_vectored(&parts).unwrap(), 13);
        assert_eq!(file.stream_position().unwrap(), 13);
        assert_eq!(file.seek(SeekFrom::End(-4)).unwrap(), 9);
        assert_eq!(file.seek(SeekFrom::Current(-4)).unwrap(), 5);
        assert!(file.seek(SeekFrom::Current(-6)).is_err());
        let (mut first, mut rest) = ([0; 3], [0; 10]);
        let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut rest)];
        assert_eq!(file.read_vectored(&mut bufs).unwrap(), 8);
        assert_eq!((&first, &rest[..5]), (b"and", &b" weft"[..]));
        assert_eq!(file.read(&mut first).unwrap(), 0);
        assert_eq!(file.read(&mut []).unwrap(), 0);
        assert_eq!(file.write(&[]).unwrap(), 0);

        assert_eq!(file.read_at(&mut first, 10).unwrap(), 3);
        assert_eq!(&first, b"eft");
        file.write_all_at(b"W", 9).unwrap();
        assert_eq!(file.stream_position().unwrap(), 13);
        assert!(file.read_exact_at(&mut rest, 5).is_err());
        assert!(file.read_at(&mut first, u64::MAX).is_err());
        assert!(file.write_at(b"x", u64::MAX).is_err());

        file.set_len(6).unwrap();
        file.rewind().unwrap();
        let mut text = String::from("> ");
        assert_eq!(Read::read_to_string(&mut file, &mut text).unwrap(), 6);
        assert_eq!(text, "> warp a");
        file.sync_all().unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 6);
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_modified(then).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), then);
        let permissions = file.metadata().unwrap().permissions();
        file.set_permissions(permissions).unwrap();

        // Both have one position.
        let mut clone = file.try_clone().unwrap();
        assert_ne!(clone.as_raw_fd(), file.as_raw_fd());
        clone.seek(SeekFrom::Start(2)).unwrap();
        assert_eq!(file.stream_position().unwrap(), 2);
        let shared = Arc::new(file);
        let mut rest = Vec::new();
        (&*shared).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"rp a");
    });
}

#[test]
fn text_that_is_none() {
    everywhere(|| {
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, b"ab\xff").unwrap();
        let mut text = String::from("before");
        let ours = fs::File::open(&path).unwrap().read_to_string(&mut text);
        assert_eq!(text, "before");
        same_error(ours, std::fs::File::open(&path).unwrap().read_to_string(&mut text));
        same_error(fs::read_to_string(&path), std::fs::read_to_string(&path));
    });
}

/// Sizes around what a call moves, and contents that tell where they are from.
#[test]
fn large_files() {
    let contents = |size: usize| (0..size).map(|at| (at / 251 + at) as u8).collect::<Vec<u8>>();
    everywhere(move || {
        let folder = Folder::new();
        for size in [1, 4095, 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5_000_001] {
            let (path, wanted) = (folder.join("file"), contents(size));
            let mut file = fs::File::create(&path).unwrap();
            file.write_all(&wanted).unwrap();
            drop(file);
            let mut found = vec![1, 2];
            let mut file = fs::File::open(&path).unwrap();
            assert_eq!(file.read_to_end(&mut found).unwrap(), size);
            assert_eq!(found[..2], [1, 2]);
            assert!(found[2..] == wanted);
            file.rewind().unwrap();
            let mut halves = (vec![0; size / 2], vec![0; size - size / 2]);
            file.read_exact(&mut halves.0).unwrap();
            file.read_exact(&mut halves.1).unwrap();
            assert!([halves.0, halves.1].concat() == wanted);
        }
    });
}

/// Its size says nothing.
#[test]
fn files_of_the_system() {
    everywhere(|| {
        let text = fs::read_to_string("/proc/self/maps").unwrap();
        let mut maps = String::new();
        fs::File::open("/proc/self/maps").unwrap().read_to_string(&mut maps).unwrap();
        assert!(maps.lines().count() > 10 && text.lines().count() > 10);
        let mut random = [0; 64];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        assert_ne!(random, [0; 64]);
        let mut zeros = [1; 64];
        fs::File::open("/dev/zero").unwrap().read_exact(&mut zeros).unwrap();
        assert_eq!(zeros, [0; 64]);
        let mut null = fs::File::options().read(true).write(true).open("/dev/null").unwrap();
        null.write_all(&[1; 100_000]).unwrap();
        assert_eq!(null.read(&mut zeros).unwrap(), 0);
    });
}

#[test]
fn from_descriptors_and_back() {
    everywhere(|| {
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, "text").unwrap();
        let file = fs::File::from(std::fs::File::open(&path).unwrap());
        let mut file = fs::File::from(OwnedFd::from(file));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        let read = fs::File::open(&path).unwrap();
        let output = std::process::Command::new("cat").stdin(read).output().unwrap();
        assert_eq!(output.stdout, b"text");
        assert_eq!(folder.descriptors(), 1);
        let number = file.into_raw_fd();
        assert!(number >= 0);
        drop(from_number(number));
        assert_eq!(folder.descriptors(), 0);
    });
}

#[expect(unsafe_code, reason = "a descriptor by its number")]
fn from_number(number: i32) -> fs::File {
    // SAFETY: the caller has just let go of this descriptor.
    unsafe { fs::File::from_raw_fd(number) }
}
