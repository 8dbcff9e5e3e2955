//! `select!`: a server loop that answers requests, reports every so often, and stops when told.
//!
//! ```sh
//! cargo run --release --example select
//! ```

use pirn::channel::{Receiver, Sender, after, bounded, select, tick, unbounded};
use std::time::Duration;

struct Request {
    number: u64,
    reply: Sender<u64>,
}

/// Squares numbers until `stop` is disconnected; returns how many.
fn serve(requests: &Receiver<Request>, stop: &Receiver<()>) -> usize {
    let report = tick(Duration::from_millis(20));
    let mut served = 0;
    loop {
        select! {
            recv(requests) -> request => {
                let Ok(request) = request else { return served };
                // Whoever asked may have lost patience.
                if request.reply.send(request.number * request.number).is_ok() {
                    served += 1;
                }
            }
            recv(report) -> _ => println!("served {served} so far"),
            recv(stop) -> _ => return served,
        }
    }
}

#[pirn::main]
fn main() {
    let (requests, queue) = bounded(0);
    let (stop, stopped) = bounded::<()>(0);
    let server = pirn::spawn(move || serve(&queue, &stopped));

    let (sums, all_sums) = unbounded();
    for client in 0..4_u64 {
        let (requests, sums) = (requests.clone(), sums.clone());
        pirn::go!(move || {
            let mut sum = 0;
            let over = after(Duration::from_millis(70));
            for number in client.. {
                let (reply, answer) = bounded(1);
                let request = Request { number, reply };
                // As long as there is time, either send or find that it is over.
                select! {
                    send(requests, request) -> sent => sent.expect("the server runs"),
                    recv(over) -> _ => break,
                }
                sum += answer.recv().expect("the server answers");
                pirn::thread::sleep(Duration::from_millis(1));
            }
            sums.send((client, sum)).expect("main waits");
        });
    }
    drop(sums);
    for (client, sum) in &all_sums {
        println!("client {client}: {sum}");
    }
    drop(stop);
    println!("served {} in all", server.join().expect("the server does not panic"));
}
