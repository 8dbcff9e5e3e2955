//! Many connections, on stacks of the default size and, optimised, of 64 KiB: an overflow ends the process.

use crate::support::*;
use pirn::sync::Barrier;
use pirn::thread::Builder;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

const MANY: usize = 200;
const LENGTH: usize = 20_000;

fn many(stack_size: Option<usize>) {
    let (listener, address) = listener();
    let server = pirn::net::Server::builder();
    let server = match stack_size {
        Some(bytes) => server.stack_size(bytes),
        None => server,
    };
    let server = server.build();
    let serve = |stream, _peer| {
        let echoed = echo(crate::support::server(stream)).unwrap();
        assert_eq!(echoed, 2 * LENGTH as u64);
    };
    server.start(listener, serve).unwrap();
    let all_have_come = Arc::new(Barrier::new(MANY));
    let clients: Vec<_> = (0..MANY)
        .map(|number| {
            let all_have_come = all_have_come.clone();
            let builder = match stack_size {
                Some(bytes) => Builder::new().stack_size(bytes),
                None => Builder::new(),
            };
            let talk = move || {
                let mut stream = client(connect(address));
                let said = pattern(number as u64, LENGTH);
                ask(&mut stream, &said);
                all_have_come.wait();
                ask(&mut stream, &said);
                end(&mut stream).unwrap();
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            };
            builder.spawn(talk).unwrap()
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(server.stop(Duration::MAX), 0);
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.panicked, stats.refused), (MANY as u64, 0, 0));
}

#[test]
fn many_connections_on_default_stacks() {
    on_workers(|| many(None));
}

/// Unoptimised, a handshake takes 53 KiB, and the guard leaves 48.
#[cfg(not(debug_assertions))]
#[test]
fn many_connections_on_stacks_of_64_kib() {
    on_workers(|| many(Some(64 << 10)));
}
