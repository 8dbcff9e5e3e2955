//! Bytes that an echo must bring back: each depends on the connection and on its position there, so
//! that a byte lost, doubled, moved or sent to somebody else shows.

use std::io;

fn byte(connection: u64, position: u64) -> u8 {
    (position.wrapping_mul(31) ^ (position >> 8) ^ connection.wrapping_mul(101)) as u8
}

/// Fills `buf` with what the connection is to send at `position`.
pub(crate) fn fill(buf: &mut [u8], connection: u64, position: u64) {
    for (byte_, position) in buf.iter_mut().zip(position..) {
        *byte_ = byte(connection, position);
    }
}

/// Checks what has come back from `position` on.
pub(crate) fn check(buf: &[u8], connection: u64, position: u64) -> io::Result<()> {
    let wrong = buf.iter().zip(position..).find(|&(&got, at)| got != byte(connection, at));
    let Some((got, at)) = wrong else { return Ok(()) };
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("byte {at} is {got}, not {}", byte(connection, at)),
    ))
}
