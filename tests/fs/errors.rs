//! What fails, and how.

use crate::support::{Folder, everywhere};
use pirn::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};

#[test]
fn a_full_disk() {
    everywhere(|| {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = full.write_all(b"text").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let error = pirn::fs::write("/dev/full", "text").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    });
}

#[test]
fn a_folder_for_a_file() {
    everywhere(|| {
        let mut folder = File::open("/").unwrap();
        let error = folder.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        let error = folder.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        assert!(folder.metadata().unwrap().is_dir());
    });
}

#[test]
fn the_wrong_way() {
    everywhere(|| {
        let folder = Folder::new();
        let mut file = File::create(folder.join("file")).unwrap();
        assert_eq!(file.read(&mut [0; 8]).unwrap_err().raw_os_error(), Some(libc::EBADF));
        let mut file = File::open(folder.join("file")).unwrap();
        assert_eq!(file.write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(file.set_len(3).unwrap_err().kind(), ErrorKind::InvalidInput);
        // Neither leaves anything behind that the next one would wait for.
        file.rewind().unwrap();
        assert_eq!(file.read(&mut [0; 8]).unwrap(), 0);
    });
}

/// There is nothing at address 0.
#[test]
fn a_read_that_fails() {
    everywhere(|| {
        let mut memory = File::open("/proc/self/mem").unwrap();
        let mut found = vec![1, 2, 3];
        let error = memory.read_to_end(&mut found).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        assert_eq!(found, [1, 2, 3]);
    });
}
