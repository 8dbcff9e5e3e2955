//! Streams for futures: reads and writes that are polled, and others' traits over them.

use crate::net::TcpStream;
use crate::net::socket::Socket;
use crate::net::sys;
use crate::net::unix::UnixStream;
use crate::netpoller::{Done, Side};
use crate::runtime;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};
#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
use std::{net::Shutdown, pin::Pin};

impl Socket {
    fn poll_read(&self, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.source().poll_io(Side::Read, context, runtime::some_driver, |fd| {
            let count = sys::recv(fd, buf, sys::Keep::No)?;
            Ok(self.source().received(count, buf.len()))
        })
    }

    fn poll_write(&self, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.source().poll_io(Side::Write, context, runtime::some_driver, |fd| {
            Ok(Done { value: sys::send(fd, buf)?, drained: false })
        })
    }

    fn poll_write_vectored(
        &self,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.source().poll_io(Side::Write, context, runtime::some_driver, |fd| {
            Ok(Done { value: sys::send_vectored(fd, bufs)?, drained: false })
        })
    }
}

/// What closing gives: a stream whose peer has gone is as good as closed.
#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
fn closed(shutdown: io::Result<()>) -> io::Result<()> {
    match shutdown {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// What every kind of stream has for futures.
macro_rules! polled_stream {
    ($($stream:ident)*) => {$(
        /// For futures. The traits of other crates are made of these: see [`future`](crate::future).
        impl $stream {
            /// Reads if there is something, or has the task woken when there may be.
            ///
            /// From a coroutine of a runtime, that runtime's poller watches the descriptor; from
            /// anywhere else the default runtime's does, which is started if need be. **One task
            /// at a time** may poll to read: the last one is woken, and one whose place it takes
            /// is woken at once, to try again. Coroutines that read are woken as ever.
            ///
            /// Timeouts, deadlines and `set_nonblocking` are for those who wait, and mean nothing
            /// here: use [`timeout`](crate::time::timeout) around
            /// [`block_on`](crate::block_on), or what the executor has.
            ///
            /// # Errors
            ///
            /// Those of reading, and what the system says if it cannot watch the descriptor.
            ///
            /// # Examples
            ///
            /// ```
            /// use pirn::net::{TcpListener, TcpStream};
            /// use std::future::poll_fn;
            /// use std::io::Write;
            ///
            /// let listener = TcpListener::bind("127.0.0.1:0")?;
            /// let client = TcpStream::connect(listener.local_addr()?)?;
            /// let (mut server, _) = listener.accept()?;
            /// let reader = pirn::spawn(move || {
            ///     let mut buf = [0; 16];
            ///     let read = pirn::block_on(poll_fn(|context| client.poll_read(context, &mut buf)));
            ///     buf[..read.unwrap()].to_vec()
            /// });
            /// server.write_all(b"hello")?;
            /// assert_eq!(reader.join().unwrap(), b"hello");
            /// # std::io::Result::Ok(())
            /// ```
            pub fn poll_read(
                &self,
                context: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll_read(context, buf)
            }

            /// Writes if there is room, or has the task woken when there may be. The rules are
            /// those of [`poll_read`](Self::poll_read).
            ///
            /// # Errors
            ///
            /// Those of writing, and what the system says if it cannot watch the descriptor.
            pub fn poll_write(
                &self,
                context: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll_write(context, buf)
            }

            /// [`poll_write`](Self::poll_write) from several buffers.
            ///
            /// # Errors
            ///
            /// As [`poll_write`](Self::poll_write).
            pub fn poll_write_vectored(
                &self,
                context: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll_write_vectored(context, bufs)
            }
        }

        #[cfg(feature = "futures-io")]
        polled_stream!(@futures_io $stream);
        #[cfg(feature = "futures-io")]
        polled_stream!(@futures_io &$stream);
        #[cfg(feature = "tokio-io")]
        polled_stream!(@tokio_io $stream);
        #[cfg(feature = "tokio-io")]
        polled_stream!(@tokio_io &$stream);
    )*};

    (@futures_io $stream:ty) => {
        /// With the feature `futures-io`.
        impl futures_io::AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll_read(context, buf)
            }
        }

        /// With the feature `futures-io`. Closing shuts the writing side down.
        impl futures_io::AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll_write(context, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll_write_vectored(context, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(closed(self.shutdown(Shutdown::Write)))
            }
        }
    };

    (@tokio_io $stream:ty) => {
        /// With the feature `tokio-io`.
        impl ::tokio::io::AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buf: &mut ::tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let unfilled = buf.initialize_unfilled();
                let count = std::task::ready!(self.socket.poll_read(context, unfilled))?;
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
        }

        /// With the feature `tokio-io`. Shutting down is for the writing side.
        impl ::tokio::io::AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll_write(context, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll_write_vectored(context, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(closed(self.shutdown(Shutdown::Write)))
            }
        }
    };
}

polled_stream!(TcpStream UnixStream);
