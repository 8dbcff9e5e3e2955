//! What only some systems have, where std has it.

/// Unix systems.
pub mod unix {
    /// Unix sockets: `std::os::unix::net`, with waits that park the coroutine.
    pub mod net {
        #[doc(inline)]
        pub use crate::net::unix::{Incoming, SocketAddr, UnixDatagram, UnixListener, UnixStream};
    }
}
