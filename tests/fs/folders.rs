//! Reading folders.

use crate::support::{Folder, everywhere};
use pirn::fs;
use std::collections::BTreeSet;

#[test]
fn a_large_folder() {
    everywhere(|| {
        let folder = Folder::new();
        let wanted: BTreeSet<String> = (0..5000).map(|number| format!("file{number}")).collect();
        for name in &wanted {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        let found: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(found.len(), wanted.len());
        let names = found.iter().map(|entry| entry.file_name().into_string().unwrap());
        assert_eq!(names.collect::<BTreeSet<_>>(), wanted);
        for entry in found.iter().step_by(100) {
            assert_eq!(entry.path(), folder.path().join(entry.file_name()));
            assert!(entry.file_type().unwrap().is_file());
            assert_eq!(entry.metadata().unwrap().len(), 1);
        }
        assert_eq!(folder.descriptors(), 1, "the entries keep the folder open, as in std");
        drop(found);
        assert_eq!(folder.descriptors(), 0);
    });
}

/// Begun on a thread, and finished in a coroutine, or the other way round.
#[test]
fn a_folder_that_travels() {
    let folder = Folder::new();
    for number in 0..500 {
        std::fs::write(folder.join(&number.to_string()), "").unwrap();
    }
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    let mut entries = fs::read_dir(folder.path()).unwrap();
    let mut count = entries.by_ref().take(10).count();
    let mut entries = runtime.run(|| {
        count += entries.by_ref().take(100).count();
        entries
    });
    count += entries.by_ref().take(200).count();
    count += runtime.run(|| entries.count());
    assert_eq!(count, 500);
}

#[test]
fn an_entry_that_is_gone() {
    everywhere(|| {
        let folder = Folder::new();
        fs::write(folder.join("file"), "").unwrap();
        let entry = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
        fs::remove_file(entry.path()).unwrap();
        assert_eq!(entry.metadata().unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert!(entry.file_type().unwrap().is_file());
    });
}
