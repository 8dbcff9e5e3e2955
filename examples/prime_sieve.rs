//! The prime sieve: a chain of coroutines, each of which drops the multiples of one prime.
//!
//! ```sh
//! cargo run --release --example prime_sieve
//! cargo run --release --example prime_sieve -- 2000
//! ```

use pirn::channel::{Receiver, bounded};

/// What `numbers` delivers, but for the multiples of `prime`.
fn without_multiples(prime: u32, numbers: Receiver<u32>) -> Receiver<u32> {
    let (sender, receiver) = bounded(0);
    pirn::go!(move || {
        numbers.iter().filter(|number| number % prime != 0).try_for_each(|n| sender.send(n))
    });
    receiver
}

#[pirn::main]
fn main() {
    let count = std::env::args().nth(1).map_or(100, |text| text.parse().expect("a number"));
    let (sender, mut numbers) = bounded(0);
    pirn::go!(move || (2..).try_for_each(|number| sender.send(number)));
    for _ in 0..count {
        let prime = numbers.recv().expect("there are primes without end");
        println!("{prime}");
        numbers = without_multiples(prime, numbers);
    }
    // The last receiver goes here; the chain notices from its end to its beginning, and ends.
}
