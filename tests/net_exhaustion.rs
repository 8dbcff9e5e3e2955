//! Running out of descriptors is an error that the caller sees. A test binary of its own, since the
//! limit is the process's.

use pirn::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Takes every descriptor there is.
fn take_all() -> Vec<std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

#[test]
fn an_accept_loop_without_descriptors_lets_others_run() {
    limit_descriptors(64);
    for workers in [1, 2] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect(addr).unwrap();
        let hoard = take_all();
        assert_eq!(TcpStream::connect(addr).unwrap_err().raw_os_error(), Some(libc::EMFILE));

        let errors = Arc::new(AtomicUsize::new(0));
        let counter = errors.clone();
        let start = Instant::now();
        let acceptor = runtime.spawn(move || {
            let is_open = |stream: std::io::Result<TcpStream>| match stream {
                Ok(stream) => Some(stream.peer_addr().unwrap()),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    counter.fetch_add(1, Ordering::Release);
                    None
                }
            };
            listener.incoming().find_map(is_open).unwrap()
        });
        // On a single worker this coroutine runs only if the loop lets it.
        let others = errors.clone();
        let freer = runtime.spawn(move || {
            while others.load(Ordering::Acquire) < 4 {
                pirn::thread::yield_now();
            }
            drop(hoard);
        });
        freer.join().unwrap();
        assert_eq!(acceptor.join().unwrap(), client.local_addr().unwrap());
        // It waits after each of its attempts.
        let least = 5 * errors.load(Ordering::Relaxed) as u128;
        let took = start.elapsed().as_millis();
        assert!(took >= least, "{errors:?} errors in {took} ms");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let _client = TcpStream::connect(addr).unwrap();
    listener.set_nonblocking(true).unwrap();
    let _hoard = take_all();
    assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::EMFILE));
}

#[expect(unsafe_code, reason = "setrlimit")]
fn limit_descriptors(count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: the pointer is to a limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}
