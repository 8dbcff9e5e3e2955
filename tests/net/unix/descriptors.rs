//! Descriptors that are sent along.

use crate::descriptors::closes_on_exec;
use crate::support::{Flag, World, everywhere};
use pirn::os::unix::net::{UnixDatagram, UnixStream};
use pirn::sync::Event;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What streams and datagrams have in common here.
trait Sends: Send + 'static {
    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize>;
    fn recv(&self, buf: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)>;
    /// Receives and has no interest in descriptors.
    fn recv_bytes(&self, buf: &mut [u8]) -> usize;
}

impl Sends for UnixStream {
    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.send_fds(bytes, fds)
    }

    fn recv(&self, buf: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.recv_fds(buf, max)
    }

    fn recv_bytes(&self, buf: &mut [u8]) -> usize {
        (&mut &*self).read(buf).unwrap()
    }
}

impl Sends for UnixDatagram {
    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.send_fds(bytes, fds)
    }

    fn recv(&self, buf: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.recv_fds(buf, max)
    }

    fn recv_bytes(&self, buf: &mut [u8]) -> usize {
        self.recv(buf).unwrap()
    }
}

type Pair = (Box<dyn Sends>, Box<dyn Sends>);

/// With streams and with datagrams, everywhere.
#[track_caller]
fn each(test: impl Fn(&World, Pair) + Send + Sync) {
    everywhere(|world| {
        let (one, two) = UnixStream::pair().unwrap();
        test(world, (Box::new(one), Box::new(two)));
        let (one, two) = UnixDatagram::pair().unwrap();
        test(world, (Box::new(one), Box::new(two)));
    });
}

/// The end of a pipe comes when nobody has its other end, neither a program nor a queue: so none
/// is left.
#[track_caller]
fn is_closed(mut reader: PipeReader, writer: PipeWriter) {
    drop(writer);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn they_arrive_with_the_bytes() {
    each(|world, (one, two)| {
        let waits = Flag::default();
        let waiting = waits.clone();
        let receiver = world.spawn(move || {
            let mut buf = [0; 16];
            waiting.set();
            let (len, fds) = two.recv(&mut buf, 3).unwrap();
            assert_eq!(&buf[..len], b"two of them");
            let (len, none) = two.recv(&mut buf, 3).unwrap();
            assert_eq!((&buf[..len], none.len()), (&b"no more"[..], 0));
            fds
        });
        waits.wait_and_settle();
        let (reader, writer) = pipe().unwrap();
        assert_eq!(one.send(b"two of them", &[reader.as_fd(), writer.as_fd()]).unwrap(), 11);
        assert_eq!(one.send(b"no more", &[]).unwrap(), 7);
        let fds = receiver.join();
        assert_eq!(fds.len(), 2);
        assert!(fds.iter().all(|fd| closes_on_exec(fd.as_raw_fd())));
        drop((reader, writer));
        let [reader, writer] = <[OwnedFd; 2]>::try_from(fds).unwrap();
        PipeWriter::from(writer).write_all(b"x").unwrap();
        let mut text = String::new();
        PipeReader::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    });
}

#[test]
fn as_many_as_there_may_be() {
    each(|_world, (one, two)| {
        let (reader, _writer) = pipe().unwrap();
        let many = vec![reader.as_fd(); 253];
        one.send(b"many", &many).unwrap();
        let (len, fds) = two.recv(&mut [0; 8], usize::MAX).unwrap();
        assert_eq!((len, fds.len()), (4, 253));
        one.send(b"many", &many).unwrap();
        assert_eq!(two.recv(&mut [0; 8], 253).unwrap().1.len(), 253);
        let too_many = vec![reader.as_fd(); 254];
        assert_eq!(one.send(b"x", &too_many).unwrap_err().kind(), ErrorKind::InvalidInput);
        let far_too_many = vec![reader.as_fd(); 5000];
        assert_eq!(one.send(b"x", &far_too_many).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn what_is_lost_is_told_and_closed() {
    each(|_world, (one, two)| {
        for (sent, max) in [(1, 0), (2, 0), (2, 1), (3, 2), (40, 1), (253, 0), (253, 252)] {
            let (reader, writer) = pipe().unwrap();
            one.send(b"bytes", &vec![writer.as_fd(); sent]).unwrap();
            let error = two.recv(&mut [0; 8], max).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{sent} sent, {max} wanted");
            is_closed(reader, writer);
        }
        // The next is not concerned.
        let (reader, writer) = pipe().unwrap();
        one.send(b"again", &[writer.as_fd()]).unwrap();
        let (len, fds) = two.recv(&mut [0; 8], 1).unwrap();
        assert_eq!((len, fds.len()), (5, 1));
        drop(fds);
        is_closed(reader, writer);
    });
}

#[test]
fn who_does_not_ask_for_them_closes_them() {
    each(|_world, (one, two)| {
        let (reader, writer) = pipe().unwrap();
        one.send(b"bytes", &[writer.as_fd(); 3]).unwrap();
        assert_eq!(two.recv_bytes(&mut [0; 8]), 5);
        is_closed(reader, writer);
        // Nor does anything stay open that was never received.
        let (reader, writer) = pipe().unwrap();
        one.send(b"bytes", &[writer.as_fd()]).unwrap();
        drop(two);
        is_closed(reader, writer);
    });
}

/// The kernel puts them before the descriptors, and they take room.
#[test]
fn credentials_do_not_get_in_the_way() {
    everywhere(|_world| {
        let (one, two) = UnixStream::pair().unwrap();
        socket2::SockRef::from(&two).set_passcred(true).unwrap();
        let (reader, _writer) = pipe().unwrap();
        one.send_fds(b"x", &[reader.as_fd(); 2]).unwrap();
        assert_eq!(two.recv_fds(&mut [0; 8], 2).unwrap().1.len(), 2);
    });
}

#[test]
fn a_stream_needs_a_byte_and_a_datagram_does_not() {
    everywhere(|_world| {
        let (reader, _writer) = pipe().unwrap();
        let (one, two) = UnixStream::pair().unwrap();
        let error = one.send_fds(b"", &[reader.as_fd()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(one.send_fds(b"", &[]).unwrap(), 0);
        drop(one);
        let (len, fds) = two.recv_fds(&mut [0; 8], 1).unwrap();
        assert_eq!((len, fds.len()), (0, 0), "the end");

        let (one, two) = UnixDatagram::pair().unwrap();
        assert_eq!(one.send_fds(b"", &[reader.as_fd()]).unwrap(), 0);
        let (len, fds) = two.recv_fds(&mut [0; 8], 1).unwrap();
        assert_eq!((len, fds.len()), (0, 1));
    });
}

#[test]
fn a_short_send_has_sent_them_all() {
    everywhere(|world| {
        let (one, two) = UnixStream::pair().unwrap();
        // Until then nobody makes room, so that it cannot all be sent at once.
        let sent_short = Arc::new(Event::new());
        let tells = sent_short.clone();
        let bytes: Vec<_> = (0..3_000_000).map(|at| (at % 251) as u8).collect();
        let sender = world.spawn({
            let bytes = bytes.clone();
            move || {
                let (reader, mut writer) = pipe().unwrap();
                writer.write_all(b"once").unwrap();
                let sent = one.send_fds(&bytes, &[reader.as_fd()]).unwrap();
                assert!(0 < sent && sent < bytes.len());
                tells.set();
                (&one).write_all(&bytes[sent..]).unwrap();
            }
        });
        sent_short.wait();
        let mut buf = vec![0; bytes.len()];
        let mut pipes = Vec::new();
        let mut len = 0;
        while len < bytes.len() {
            let (more, fds) = two.recv_fds(&mut buf[len..], 1).unwrap();
            assert!(more > 0);
            len += more;
            pipes.extend(fds);
        }
        assert!(buf == bytes);
        sender.join();
        let mut text = String::new();
        let [pipe] = <[OwnedFd; 1]>::try_from(pipes).unwrap();
        PipeReader::from(pipe).read_to_string(&mut text).unwrap();
        assert_eq!(text, "once");
    });
}

/// A read ends behind bytes with which descriptors came, although there are more: it must not be
/// taken for the last of what has arrived.
#[test]
fn a_read_that_they_cut_short_does_not_hide_what_follows() {
    everywhere(|world| {
        for foreign in [false, true] {
            let (one, two) = UnixStream::pair().unwrap();
            let mut two = if foreign { UnixStream::from(OwnedFd::from(two)) } else { two };
            let mut tcp = None;
            if foreign {
                // By another name it is still what it is.
                tcp = Some(pirn::net::TcpStream::from(OwnedFd::from(two.try_clone().unwrap())));
            }
            let (has_read, has_sent) = (Flag::default(), Flag::default());
            let (reads, sends) = (has_read.clone(), has_sent.clone());
            let reader = world.spawn(move || {
                let mut buf = [0; 16];
                let mut read = || match &mut tcp {
                    Some(tcp) => tcp.read(&mut buf).unwrap(),
                    None => two.read(&mut buf).unwrap(),
                };
                // Waits, most likely, and so makes the descriptor known to a poller.
                assert_eq!(read(), 5);
                reads.set();
                // Until the poller has told of all that comes.
                sends.wait_and_settle();
                [read(), read()]
            });
            (0..50).for_each(|_| pirn::thread::yield_now());
            (&one).write_all(b"first").unwrap();
            has_read.wait();
            let (pipe, _writer) = pipe().unwrap();
            one.send_fds(b"a", &[pipe.as_fd()]).unwrap();
            (&one).write_all(b"bcd").unwrap();
            has_sent.set();
            assert_eq!(reader.join(), [1, 3]);
        }
    });
}
