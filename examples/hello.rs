//! Coroutines are spawned and joined as threads are.
//!
//! ```sh
//! cargo run --release --example hello
//! ```

use pirn::{go, thread};

#[pirn::main]
fn main() {
    // `spawn` and `join` are std's, results and panics included.
    let answer = pirn::spawn(|| 6 * 7);
    println!("the answer is {}", answer.join().expect("multiplying does not panic"));

    // `go!` takes a block, and moves into it what it uses.
    let name = String::from("pirn");
    let greeting = go! { format!("hello from {name}") };
    println!("{}", greeting.join().expect("formatting does not panic"));

    // A hundred thousand are no burden. All of them sleep at the same time.
    let sleepers: Vec<_> = (0..100_000u64)
        .map(|n| {
            go! {
                thread::sleep(std::time::Duration::from_millis(100));
                n
            }
        })
        .collect();
    let sum: u64 = sleepers.into_iter().filter_map(|sleeper| sleeper.join().ok()).sum();
    println!("a hundred thousand coroutines slept, and add up to {sum}");

    // In a scope they may borrow, as std's scoped threads may.
    let words = ["green", "threads", "borrow"];
    let total = thread::scope(|scope| {
        let lengths = words.map(|word| scope.spawn(|| word.len()));
        lengths.into_iter().map(|length| length.join().expect("len does not panic")).sum::<usize>()
    });
    println!("{} words, {total} letters", words.len());
}
