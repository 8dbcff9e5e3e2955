#![doc = include_str!("../../docs/futures.md")]

mod block_on;

pub use block_on::block_on;
