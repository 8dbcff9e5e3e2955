//! A small market, to be looked at while it goes on: producers, consumers, a lock that all want, and
//! sleepers.
//!
//! ```sh
//! cargo run --example inspect -- market.sock     # ends when its standard input does
//! cargo run -p pirn-top -- market.sock
//! ```

use pirn::channel;
use pirn::sync::{Arc, Mutex};
use pirn::thread;
use pirn::time::Duration;
use std::io::{self, Read};

pub(crate) fn market(path: &str) -> io::Result<pirn::Runtime> {
    let runtime = pirn::Builder::new().name("market").inspect(path).build()?;
    runtime.run(|| {
        let (goods, orders) = channel::bounded(8);
        let till = Arc::new(Mutex::new(0_u64));
        for number in 0..4 {
            let goods = goods.clone();
            let producer = thread::Builder::new().name(format!("producer {number}"));
            producer
                .spawn(move || (0_u64..).take_while(|&good| goods.send(good).is_ok()).count())?;
        }
        for _ in 0..20 {
            let (orders, till) = (orders.clone(), till.clone());
            pirn::spawn(move || {
                for good in orders {
                    let mut till = till.lock().unwrap();
                    // The others wait for the till meanwhile.
                    thread::sleep(Duration::from_millis(1));
                    *till += good;
                }
            });
        }
        for _ in 0..1000 {
            pirn::spawn(|| thread::sleep(Duration::MAX));
        }
        io::Result::Ok(())
    })?;
    Ok(runtime)
}

pub(crate) fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "market.sock".into());
    let runtime = market(&path)?;
    println!("inspect {path}");
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(runtime);
    Ok(())
}
