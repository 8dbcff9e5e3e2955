//! Many datagrams with one call.

use crate::net::UdpSocket;
use crate::net::sys::{AT_ONCE, Arrival, Departures, not_internet, recv_many, send_many};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

/// Memory for datagrams that are received together, by [`UdpSocket::recv_many`].
///
/// It is made once and filled again and again: receiving allocates nothing.
///
/// # Examples
///
/// See [`UdpSocket::recv_many`].
pub struct Datagrams {
    memory: Box<[u8]>,
    room: usize,
    capacity: usize,
    received: Vec<Arrival>,
}

/// One of the datagrams in [`Datagrams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    bytes: &'a [u8],
    addr: SocketAddr,
    truncated: bool,
}

impl Datagrams {
    /// For up to `capacity` datagrams of up to `room` bytes each.
    ///
    /// One call receives no more than 32, so a larger capacity is of no use. What is longer than
    /// `room` is cut off; no datagram is longer than 65,535 bytes.
    #[must_use]
    pub fn new(capacity: usize, room: usize) -> Datagrams {
        let capacity = capacity.min(AT_ONCE);
        Datagrams {
            memory: vec![0; capacity * room].into(),
            room,
            capacity,
            received: Vec::with_capacity(capacity),
        }
    }

    /// How many were received last.
    #[must_use]
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether none were received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// How many can be received at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// One of those that were received last, in the order of their arrival.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let arrival = self.received.get(index)?;
        let start = index * self.room;
        Some(Datagram {
            bytes: &self.memory[start..start + arrival.len],
            addr: arrival.from?,
            truncated: arrival.truncated,
        })
    }

    /// Those that were received last, in the order of their arrival.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.get(index).expect("the index is below the length"))
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Datagram<'a> {
    /// What it says.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where it came from.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether it was longer than there was room for, so that its end is lost.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl UdpSocket {
    /// Waits for a datagram, and takes all that are there with it, as far as they find room. Gives
    /// their number.
    ///
    /// Where the system can, this is one system call for all of them (`recvmmsg` on Linux, Android,
    /// FreeBSD and NetBSD); elsewhere it is one for each.
    ///
    /// A datagram that is longer than its room [says so](Datagram::is_truncated). Those that were
    /// there before are gone, also if this fails. If `datagrams` has a capacity of zero, this gives
    /// zero at once; otherwise it does so only for a socket that was shut down.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UdpSocket::recv_from), if nothing was received. An error that comes
    /// after the first datagram, one that the system reports of something sent earlier, ends the
    /// batch; the next call fails with it on Linux, Android and NetBSD, and elsewhere it is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::net::{Datagrams, UdpSocket};
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(socket.local_addr()?)?;
    /// for message in ["one", "two", "three"] {
    ///     client.send(message.as_bytes())?;
    /// }
    ///
    /// let mut datagrams = Datagrams::new(8, 4);
    /// assert_eq!(socket.recv_many(&mut datagrams)?, 3);
    /// let first = datagrams.get(0).unwrap();
    /// assert_eq!((first.bytes(), first.addr()), (&b"one"[..], client.local_addr()?));
    /// let last = datagrams.get(2).unwrap();
    /// assert_eq!((last.bytes(), last.is_truncated()), (&b"thre"[..], true));
    ///
    /// // Back to where they came from.
    /// let answers: Vec<_> = datagrams.iter().map(|it| (it.bytes(), it.addr())).collect();
    /// assert_eq!(socket.send_many(&answers)?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_many(&self, datagrams: &mut Datagrams) -> io::Result<usize> {
        let Datagrams { memory, room, capacity, received } = datagrams;
        received.clear();
        let mut rest = &mut memory[..];
        let mut buffers: [IoSliceMut<'_>; AT_ONCE] = std::array::from_fn(|index| {
            let room = if index < *capacity { *room } else { 0 };
            let (buffer, others) = std::mem::take(&mut rest).split_at_mut(room);
            rest = others;
            IoSliceMut::new(buffer)
        });
        let buffers = &mut buffers[..*capacity];
        if buffers.is_empty() {
            return Ok(0);
        }
        self.socket.receive_datagrams(
            || (),
            |fd| recv_many(fd, buffers, |arrival| received.push(arrival)),
        )?;
        if received.iter().any(|arrival| arrival.from.is_none()) {
            received.clear();
            return Err(not_internet());
        }
        Ok(received.len())
    }

    /// Sends datagrams in their order, waiting where that is needed, and gives the number of those
    /// that were sent: all of them, unless an error came after the first.
    ///
    /// Each has an address, or `None::<SocketAddr>` for the peer of a socket that is
    /// [connected](UdpSocket::connect). Where the system can, up to 32 of them are one system call
    /// (`sendmmsg` on Linux, Android, FreeBSD and NetBSD); elsewhere each is one.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](UdpSocket::send_to), if nothing was sent. An error that comes later, a
    /// timeout included, is not told: the number that is given says which datagram met it, and
    /// sending that again tells what is wrong with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::net::{SocketAddr, UdpSocket};
    ///
    /// let [one, two] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    /// let [to_one, to_two] = [one.local_addr()?, two.local_addr()?];
    /// assert_eq!(one.send_many(&[("to two", to_two), ("to myself", to_one)])?, 2);
    /// let mut buf = [0; 16];
    /// assert_eq!(two.recv_from(&mut buf)?, (6, to_one));
    /// assert_eq!(one.recv_from(&mut buf)?, (9, to_one));
    ///
    /// two.connect(to_one)?;
    /// assert_eq!(two.send_many(&[("a", None::<SocketAddr>), ("b", None)])?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_many<B, A>(&self, datagrams: &[(B, A)]) -> io::Result<usize>
    where
        B: AsRef<[u8]>,
        A: Into<Option<SocketAddr>> + Copy,
    {
        let mut sent = 0;
        while sent < datagrams.len() {
            let rest = Slice(&datagrams[sent..]);
            match self.socket.transmit(|fd| send_many(fd, &rest)) {
                Ok(count) => sent += count,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }
}

/// Datagrams as users have them.
struct Slice<'a, B, A>(&'a [(B, A)]);

impl<B: AsRef<[u8]>, A: Into<Option<SocketAddr>> + Copy> Departures for Slice<'_, B, A> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> (&[u8], Option<SocketAddr>) {
        let (bytes, to) = &self.0[index];
        (bytes.as_ref(), (*to).into())
    }
}
