//! Echo clients: messages of all sizes, each byte checked, with a half-close in the end.

use crate::load::{Client, Load};
use crate::pattern;
use pirn::net::{Shutdown, SocketAddr};
use std::io::{self, Read, Write};
use std::time::Instant;

const MESSAGES: u64 = 30;
const LARGEST: u64 = 4096;

pub(crate) fn run(address: SocketAddr, connections: u64) -> io::Result<Load> {
    Load::run("echo round trips", address, connections, MESSAGES, client)
}

fn client(client: &mut Client) -> io::Result<()> {
    let mut buf = vec![0; LARGEST as usize];
    let mut position = 0;
    for message in 0..MESSAGES {
        // From 1 byte to `LARGEST`, in no order.
        let size = 1 + (client.number * 769 + message * 1381) % LARGEST;
        let buf = &mut buf[..size as usize];
        pattern::fill(buf, client.number, position);
        let start = Instant::now();
        client.stream.write_all(buf)?;
        client.stream.read_exact(buf)?;
        pattern::check(buf, client.number, position)?;
        client.answered(1, start);
        position += size;
    }
    client.stream.shutdown(Shutdown::Write)?;
    match client.stream.read(&mut buf)? {
        0 => Ok(()),
        more => Err(io::Error::other(format!("{more} bytes came that nobody sent"))),
    }
}
