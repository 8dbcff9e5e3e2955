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

const REQUESTS: usize = 100;
const LONG: Duration = Duration::from_millis(200);

struct Request {
    number: usize,
    reply: Sender<usize>,
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
        while asked.len() > REQUESTS / 10 {
            thread::sleep(Duration::from_millis(10));
            asked.retain(|request| !request.is_finished());
        }
        // Every second, as a watchdog does, until they are found: they, and the worker.
        let dump = loop {
            thread::sleep(Duration::from_secs(1));
            let dump = pirn::dump();
            if dump.parked_for(LONG).len() > asked.len() {
                break dump;
            }
        };
        println!("{} of {REQUESTS} requests are not answered:\n\n{dump}", asked.len());
        println!("parked for long: {} coroutines", dump.parked_for(LONG).len());
    });
}
