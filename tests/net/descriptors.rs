//! Descriptors that come from elsewhere, go elsewhere, or are used elsewhere too.

use crate::support::{Flag, World, bind, everywhere, guarded, own_addr, pair, runtime};
use pirn::net::{Shutdown, TcpListener, TcpStream};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn is_nonblocking(fd: impl AsFd) -> bool {
    SockRef::from(&fd).nonblocking().unwrap()
}

pub(crate) fn closes_on_exec(fd: impl AsRawFd) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    i32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC != 0
}

#[test]
fn what_we_make_is_not_inherited() {
    everywhere(|_world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let client = TcpStream::connect(addr).unwrap();
        let server = listener.accept().unwrap().0;
        let fds = [listener.as_raw_fd(), client.as_raw_fd(), server.as_raw_fd()];
        assert!(fds.into_iter().all(closes_on_exec));
    });
}

#[test]
fn a_stream_of_std_is_taken_over() {
    everywhere(|world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let client = std::net::TcpStream::connect(addr).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let client = TcpStream::from_std(client);
        // Its flags are its own affair.
        assert!(!is_nonblocking(&client));
        assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_secs(40)));
        assert_eq!(client.write_timeout().unwrap(), None);
        let mut server = listener.accept().unwrap().0;
        let reading = Flag::default();
        let reads = reading.clone();
        let reader = world.spawn(move || {
            reads.set();
            (&client).read(&mut [0; 2]).unwrap()
        });
        reading.wait_and_settle();
        server.write_all(&[1]).unwrap();
        assert_eq!(reader.join(), 1);
    });
}

#[test]
fn a_nonblocking_stream_of_std_stays_so() {
    everywhere(|_world| {
        let (_listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let client = std::net::TcpStream::connect(addr).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut client = TcpStream::from_std(client);
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut client = client.into_std().unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_listener_of_std_is_taken_over() {
    everywhere(|world| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::from_std(listener);
        let addr = listener.local_addr().unwrap();
        let accepting = Flag::default();
        let accepts = accepting.clone();
        let acceptor = world.spawn(move || {
            accepts.set();
            (listener.accept().unwrap().1, listener)
        });
        accepting.wait_and_settle();
        let client = TcpStream::connect(addr).unwrap();
        let (peer, listener) = acceptor.join();
        assert_eq!(peer, client.local_addr().unwrap());
        // It blocks again, as it did.
        let listener = listener.into_std().unwrap();
        assert!(!is_nonblocking(&listener));
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(is_nonblocking(listener.into_std().unwrap()));
    });
}

#[test]
fn what_is_given_to_std_blocks() {
    everywhere(|world| {
        let (client, server) = pair();
        client.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
        let (fd, addr) = (client.as_raw_fd(), client.local_addr().unwrap());
        let mut client = client.into_std().unwrap();
        assert_eq!((client.as_raw_fd(), client.local_addr().unwrap()), (fd, addr));
        assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_secs(50)));
        assert!(!is_nonblocking(&client));
        let reader = World::Threads.spawn(move || client.read(&mut [0; 2]).unwrap());
        world.spawn(move || (&server).write_all(&[1]).unwrap()).join();
        assert_eq!(reader.join(), 1);
    });
}

#[test]
fn a_descriptor_keeps_its_number() {
    everywhere(|_world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let number = listener.as_raw_fd();
        let fd: OwnedFd = listener.into();
        assert_eq!(fd.as_raw_fd(), number);
        let listener = TcpListener::from(fd);
        assert_eq!(listener.local_addr().unwrap(), addr);

        let client = TcpStream::connect(addr).unwrap();
        let number = client.as_raw_fd();
        let fd = client.into_raw_fd();
        assert_eq!(fd, number);
        let client = from_raw(fd);
        assert_eq!(client.as_raw_fd(), number);
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
    });

    #[expect(unsafe_code, reason = "from_raw_fd")]
    fn from_raw(fd: i32) -> TcpStream {
        // SAFETY: it was given away just before.
        unsafe { TcpStream::from_raw_fd(fd) }
    }
}

#[test]
fn a_stream_with_clones_gives_a_duplicate() {
    everywhere(|world| {
        let (client, mut server) = pair();
        let clone = client.try_clone().unwrap();
        assert_eq!(clone.as_raw_fd(), client.as_raw_fd());
        let reading = Flag::default();
        let reads = reading.clone();
        let reader = world.spawn(move || {
            reads.set();
            let mut buf = [0];
            (&clone).read_exact(&mut buf).unwrap();
            buf[0]
        });
        reading.wait_and_settle();
        let number = client.as_raw_fd();
        let mut client = client.into_std().unwrap();
        assert_ne!(client.as_raw_fd(), number);
        assert!(!is_nonblocking(&client));
        server.write_all(&[7]).unwrap();
        assert_eq!(reader.join(), 7);
        // The clone has gone, the connection has not.
        client.write_all(&[8]).unwrap();
        let mut buf = [0];
        server.read_exact(&mut buf).unwrap();
        assert_eq!(buf, [8]);
    });
}

#[test]
fn a_listener_with_clones_stays_nonblocking() {
    everywhere(|world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let clone = listener.try_clone().unwrap();
        let duplicate = listener.into_std().unwrap();
        assert!(is_nonblocking(&duplicate));
        let accepting = Flag::default();
        let accepts = accepting.clone();
        let acceptor = world.spawn(move || {
            accepts.set();
            clone.accept().unwrap().1
        });
        accepting.wait_and_settle();
        let client = TcpStream::connect(addr).unwrap();
        assert_eq!(acceptor.join(), client.local_addr().unwrap());
    });
}

/// A duplicate elsewhere keeps the system's registration of the descriptor alive.
#[test]
fn a_duplicate_that_outlives_its_stream() {
    everywhere(|world| {
        let (client, server) = pair();
        let duplicate = server.as_fd().try_clone_to_owned().unwrap();
        let reading = Flag::default();
        let (reads, stream) = (reading.clone(), server);
        let reader = world.spawn(move || {
            reads.set();
            (&stream).read(&mut [0]).unwrap()
        });
        reading.wait_and_settle();
        (&client).write_all(&[1]).unwrap();
        assert_eq!(reader.join(), 1);
        // The stream has been dropped. What comes now wakes nobody, least of all the next socket.
        let (other, fresh) = pair();
        let (reads, reading) = {
            let flag = Flag::default();
            (flag.clone(), flag)
        };
        let woken = Flag::default();
        let wakes = woken.clone();
        let reader = world.spawn(move || {
            reads.set();
            let count = (&fresh).read(&mut [0]).unwrap();
            wakes.set();
            count
        });
        reading.wait_and_settle();
        (&client).write_all(&[2]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        (0..50).for_each(|_| pirn::thread::yield_now());
        assert!(!woken.is_set());
        let mut rest = Vec::new();
        TcpStream::from(duplicate).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [2]);
        (&other).write_all(&[3]).unwrap();
        assert_eq!(reader.join(), 1);
    });
}

#[test]
fn a_duplicate_that_is_closed_first() {
    everywhere(|world| {
        let (client, server) = pair();
        let duplicate = server.as_fd().try_clone_to_owned().unwrap();
        let reading = Flag::default();
        let reads = reading.clone();
        let reader = world.spawn(move || {
            reads.set();
            let mut buf = [0; 4];
            (&server).read_exact(&mut buf).unwrap();
            buf
        });
        reading.wait_and_settle();
        (&client).write_all(&[1, 2]).unwrap();
        drop(duplicate);
        (&client).write_all(&[3, 4]).unwrap();
        assert_eq!(reader.join(), [1, 2, 3, 4]);
    });
}

/// Numbers and slots are used again at once, by other sockets.
#[test]
fn numbers_are_used_again() {
    everywhere(|world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let server = world.spawn(move || {
            for stream in listener.incoming().take(100) {
                let mut stream = stream.unwrap();
                let mut buf = [0; 8];
                while let Ok(count @ 1..) = stream.read(&mut buf) {
                    stream.write_all(&buf[..count]).unwrap();
                }
            }
        });
        for round in 0..100_u8 {
            let mut stream = TcpStream::connect(addr).unwrap();
            for byte in [round, !round] {
                stream.write_all(&[byte]).unwrap();
                let mut buf = [0; 8];
                assert_eq!(stream.read(&mut buf).unwrap(), 1);
                assert_eq!(buf[0], byte);
            }
        }
        server.join();
    });
}

/// What a coroutine waits for is let go of when its runtime ends.
#[test]
fn cancelled_waits_close_their_sockets() {
    guarded("cancelled_waits_close_their_sockets", || {
        for workers in [1, 2, 4] {
            let (listener, addr) = bind(own_addr());
            let (mut client, server) = pair();
            let ending = runtime(workers);
            let waiting = Arc::new([Flag::default(), Flag::default()]);
            let (flag, other) = (waiting.clone(), waiting.clone());
            let reader = ending.spawn(move || {
                flag[0].set();
                (&server).read(&mut [0])
            });
            let acceptor = ending.spawn(move || {
                other[1].set();
                listener.accept()
            });
            waiting.iter().for_each(Flag::wait_and_settle);
            drop(ending);
            assert!(reader.join().is_err());
            assert!(acceptor.join().is_err());
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            let error = TcpStream::connect(addr).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    });
}
