//! Files that are always ready are refused by every backend.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;

use netpoll::{Interest, Key, Poller, Trigger};

#[test]
fn regular_files_and_directories_are_refused() {
    let poller = Poller::new().unwrap();
    for path in [std::env::current_exe().unwrap(), std::env::temp_dir()] {
        let file = File::open(path).unwrap();
        let error =
            poller.add(file.as_fd(), Key::new(0, 0), Interest::BOTH, Trigger::Edge).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        // It left nothing behind.
        let error = poller.delete(file.as_fd()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied));
    }
}
