//! The parts of their surface in which sockets are alike: written once, and documented in the words
//! of each.

/// What every socket that sends and receives has: the type has a field `socket`, an
/// `Arc<Socket>`.
///
/// The example is lines that open one by the name of `socket`, which receives nothing.
macro_rules! socket_surface {
    ($Type:ident, reading: $reading:literal, writing: $writing:literal, example: $example:literal) => {
        impl $Type {
            /// Another handle to this socket. Both share the descriptor, and with it every option.
            ///
            /// # Errors
            ///
            /// None; the `Result` is std's.
            pub fn try_clone(&self) -> std::io::Result<$Type> {
                Ok($Type { socket: std::sync::Arc::clone(&self.socket) })
            }

            #[doc = concat!(
                "Limits the wait of each ", $reading,
                " that starts from now on; `None` lifts the limit."
            )]
            ///
            #[doc = concat!("A ", $reading, " that takes longer fails with `WouldBlock`.")]
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a duration of zero.
            pub fn set_read_timeout(
                &self,
                dur: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.socket.set_timeout(crate::netpoller::Side::Read, dur)
            }

            #[doc = concat!(
                "Limits the wait of each ", $writing,
                " that starts from now on; `None` lifts the limit."
            )]
            ///
            #[doc = concat!("A ", $writing, " that takes longer fails with `WouldBlock`.")]
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a duration of zero.
            pub fn set_write_timeout(
                &self,
                dur: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.socket.set_timeout(crate::netpoller::Side::Write, dur)
            }

            #[doc = concat!(
                "What [`set_read_timeout`](", stringify!($Type), "::set_read_timeout) has set."
            )]
            ///
            /// # Errors
            ///
            /// None; the `Result` is std's.
            pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.socket.timeout(crate::netpoller::Side::Read))
            }

            #[doc = concat!(
                "What [`set_write_timeout`](", stringify!($Type), "::set_write_timeout) has set."
            )]
            ///
            /// # Errors
            ///
            /// None; the `Result` is std's.
            pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.socket.timeout(crate::netpoller::Side::Write))
            }

            #[doc = concat!(
                "Sets the instant from which on each ", $reading,
                " fails with `WouldBlock`; `None` lifts it."
            )]
            ///
            #[doc = concat!(
                "It is shared by the clones, and counts for each ", $reading,
                " that starts from now on: one that does so after the deadline fails at once, \
                 even if it need not wait. If there is a [timeout](",
                stringify!($Type), "::set_read_timeout) too, whichever ends first counts."
            )]
            ///
            /// # Examples
            ///
            /// ```
            /// use std::io::ErrorKind;
            /// use std::time::{Duration, Instant};
            ///
            #[doc = $example]
            #[doc = concat!(
                "// However many times it is tried.\n",
                "socket.set_read_deadline(Some(Instant::now() + Duration::from_millis(10)));\n",
                "for _ in 0..3 {\n",
                "    assert_eq!(socket.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);\n",
                "}"
            )]
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn set_read_deadline(&self, deadline: Option<std::time::Instant>) {
                self.socket.set_deadline(crate::netpoller::Side::Read, deadline);
            }

            #[doc = concat!(
                "Sets the instant from which on each ", $writing,
                " fails with `WouldBlock`; `None` lifts it."
            )]
            ///
            #[doc = concat!(
                "The rules are those of [`set_read_deadline`](",
                stringify!($Type), "::set_read_deadline)."
            )]
            pub fn set_write_deadline(&self, deadline: Option<std::time::Instant>) {
                self.socket.set_deadline(crate::netpoller::Side::Write, deadline);
            }
        }

        crate::net::surface::common_surface!($Type, Socket, "operations fail");
    };
}

/// What every listener has: the type has a field `socket`, an `Arc<ListeningSocket>`.
macro_rules! listener_surface {
    ($Type:ident) => {
        impl $Type {
            /// Another handle to this listener. Both share the descriptor, and with it every
            /// option.
            ///
            /// # Errors
            ///
            /// None; the `Result` is std's.
            pub fn try_clone(&self) -> std::io::Result<$Type> {
                Ok($Type { socket: std::sync::Arc::clone(&self.socket) })
            }
        }

        crate::net::surface::common_surface!($Type, ListeningSocket, "`accept` fails");
    };
}

/// What all of them have.
macro_rules! common_surface {
    ($Type:ident, $Socket:ident, $what_fails:literal) => {
        impl $Type {
            /// Takes the socket's pending error, `SO_ERROR`.
            ///
            /// # Errors
            ///
            /// What the system says of the question.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                socket2::SockRef::from(self).take_error()
            }

            #[doc = concat!(
                "Whether ", $what_fails, " with `WouldBlock` instead of waiting, for every clone."
            )]
            ///
            /// # Errors
            ///
            /// None; the `Result` is std's.
            pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
                self.socket.set_nonblocking(nonblocking);
                Ok(())
            }
        }

        impl std::os::fd::AsFd for $Type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.socket.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $Type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsFd::as_fd(self).as_raw_fd()
            }
        }

        impl From<std::os::fd::OwnedFd> for $Type {
            /// Takes the descriptor over, with its options; see
            #[doc = concat!("[`from_std`](", stringify!($Type), "::from_std).")]
            fn from(fd: std::os::fd::OwnedFd) -> $Type {
                let socket = crate::net::surface::$Socket::foreign(fd);
                $Type { socket: std::sync::Arc::new(socket) }
            }
        }

        impl From<$Type> for std::os::fd::OwnedFd {
            /// Gives the descriptor away; see
            #[doc = concat!("[`into_std`](", stringify!($Type), "::into_std).")]
            ///
            /// # Panics
            ///
            /// If there are clones and the descriptor cannot be duplicated.
            fn from(socket: $Type) -> std::os::fd::OwnedFd {
                socket.socket.into_fd().expect(crate::net::surface::NO_DUPLICATE)
            }
        }

        impl std::os::fd::IntoRawFd for $Type {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::OwnedFd::from(self).into_raw_fd()
            }
        }
    };
}

/// `Read` and `Write` for a stream and for a reference to it.
macro_rules! stream_surface {
    ($Type:ident) => {
        crate::net::surface::stream_surface!(@ &$Type);
        crate::net::surface::stream_surface!(@ $Type);
    };
    (@ $($Stream:tt)+) => {
        impl std::io::Read for $($Stream)+ {
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.socket.read(buf)
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.socket.read_vectored(bufs)
            }
        }

        impl std::io::Write for $($Stream)+ {
            #[inline]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.socket.write(buf)
            }

            fn write_vectored(
                &mut self,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<usize> {
                self.socket.write_vectored(bufs)
            }

            /// Does nothing: what is written is on its way.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

pub(super) use crate::net::listening::ListeningSocket;
pub(super) use crate::net::socket::Socket;
pub(super) use {common_surface, listener_surface, socket_surface, stream_surface};

/// Clones share a descriptor, which std's do not. So giving one away while there are clones takes a
/// duplicate, and std's traits cannot say that there is no descriptor left for it: they panic.
pub(super) const NO_DUPLICATE: &str =
    "failed to duplicate the descriptor of a socket that has clones";
