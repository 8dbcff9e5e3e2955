//! TLS over pirn's streams: shaking hands, transfers, ends, limits, among coroutines and threads.

mod ending;
mod handshake;
mod many;
mod support;
mod transfer;
