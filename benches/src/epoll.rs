//! A bare epoll loop: the server that is the floor of the echo, and the client of all servers.

#![expect(unsafe_code, reason = "written against epoll itself")]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; the descriptor is new.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn add(&self, fd: i32, key: u64) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: key };
        // SAFETY: the event is alive.
        match unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn wait(&self, timeout: Option<Duration>) -> impl Iterator<Item = u64> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let millis = timeout.map_or(-1, |timeout| timeout.as_millis() as i32);
        // SAFETY: the array is alive, and its length is what the call is told.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 256, millis) };
        events.into_iter().take(count.max(0) as usize).map(|event| event.u64)
    }
}

/// The echo.
pub(crate) fn serve(cores: usize) -> io::Result<()> {
    run(cores, |received, _| received)
}

/// HTTP that does not look at what is asked.
pub(crate) fn http(cores: usize) -> io::Result<()> {
    run(cores, |_, output| {
        output.clear();
        crate::http::write_answer(output);
        output
    })
}

/// HTTP that takes each message for whole requests.
pub(crate) fn parsed_http(cores: usize) -> io::Result<()> {
    run(cores, |received, output| {
        output.clear();
        // Who sends something else is not answered.
        let _end = crate::http::answer_all(received, output);
        output
    })
}

/// From what was received, with a place for it, to what is sent.
type Answer = for<'a> fn(&'a [u8], &'a mut Vec<u8>) -> &'a [u8];

/// One edge-triggered loop per core; connections are dealt out in turn.
fn run(cores: usize, answer: Answer) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let loops = (0..cores).map(|_| Epoll::new()).collect::<io::Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        for epoll in &loops {
            scope.spawn(move || {
                let (mut buffer, mut output) = ([0; 4096], Vec::new());
                loop {
                    for event in epoll.wait(None) {
                        let fd = event as i32;
                        // SAFETY: the descriptor stays open until this loop closes it.
                        let length =
                            unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
                        if length > 0 {
                            let answer = answer(&buffer[..length as usize], &mut output);
                            // SAFETY: as above; the bytes are alive.
                            unsafe {
                                libc::send(
                                    fd,
                                    answer.as_ptr().cast(),
                                    answer.len(),
                                    libc::MSG_NOSIGNAL,
                                )
                            };
                        } else if length == 0
                            || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
                        {
                            // SAFETY: nobody else uses it.
                            drop(unsafe { OwnedFd::from_raw_fd(fd) });
                        }
                    }
                }
            });
        }
        for (turn, stream) in listener.incoming().enumerate() {
            let stream = stream?;
            stream.set_nonblocking(true)?;
            let fd = stream.into_raw_fd();
            loops[turn % cores].add(fd, fd as u64)?;
        }
        Ok(())
    })
}
