//! Futures: driven by `block_on`, and made by channels and sockets.

mod block_on;
mod channel;
mod support;
