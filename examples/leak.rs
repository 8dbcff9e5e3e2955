//! Coroutines that wait for ever, found by a dump.
//!
//! ```sh
//! cargo run --example leak
//! ```
//!
//! Requests are answered by a worker. It keeps the senders of those that it means to answer later,
//! and never does: nobody crashes, nobody complains, and each such request leaves a coroutine behind.

use pirn::channel::{Sender, bounded, unbounded};
use pirn::thread;
use std::time::Duration;

const REQUESTS: u32 = 100;

struct Request {
    number: u32,
    reply: Sender<u32>,
}

pub(crate) fn main() {
    let runtime = pirn::Builder::new().workers(2).build().unwrap();
    runtime.run(|| {
        let (requests, inbox) = unbounded::<Request>();
        let worker = move || {
            let mut later = Vec::new();
            for request in inbox {
                match request.number % 10 {
                    0 => later.push(request),
                    _ => request.reply.send(request.number).unwrap(),
                }
            }
        };
        drop(thread::Builder::new().name("worker".into()).spawn(worker).unwrap());
        let ask = |number| {
            let requests = requests.clone();
            pirn::spawn(move || {
                let (reply, answer) = bounded(1);
                requests.send(Request { number, reply }).unwrap();
                answer.recv()
            })
        };
        let mut asked: Vec<_> = (0..REQUESTS).map(ask).collect();
        thread::sleep(Duration::from_secs(1));
        asked.retain(|request| !request.is_finished());
        let dump = pirn::dump();
        println!("{} of {REQUESTS} requests are not answered:\n\n{dump}", asked.len());
        let long = dump.parked_for(Duration::from_millis(200));
        println!("parked for long: {} coroutines", long.len());
    });
}
