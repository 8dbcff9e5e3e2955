//! The first answer wins: the same question to several servers, and the losers are cancelled.
//!
//! ```sh
//! cargo run --release --example race
//! ```

use pirn::net::{SocketAddr, TcpListener, TcpStream};
use pirn::task::{Failure, Group};
use pirn::thread;
use pirn::time::{Duration, timeout};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A replica that answers after a while, or resets the connection.
fn replica(name: &'static str, after: Duration, works: bool) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    pirn::go!(move || {
        for mut stream in listener.incoming().flatten() {
            pirn::go!(move || {
                thread::sleep(after);
                if works { stream.write_all(name.as_bytes()) } else { Ok(()) }
            });
        }
    });
    Ok(address)
}

/// Counts the questions that are open.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Open {
        count.fetch_add(1, Ordering::Relaxed);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut answer = String::new();
    TcpStream::connect(address)?.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

fn race(replicas: &[SocketAddr]) -> Result<String, Vec<Failure<io::Error>>> {
    let open = Arc::new(AtomicUsize::new(0));
    let mut group = Group::first_ok();
    for &address in replicas {
        let open = Open::new(&open);
        group.spawn(move || {
            let _open = open;
            ask(address)
        });
    }
    let first = group.join();
    assert_eq!(open.load(Ordering::Relaxed), 0, "nobody asks any more");
    first
}

#[pirn::main]
pub(crate) fn main() -> io::Result<()> {
    let hour = Duration::from_secs(3600);
    let broken = replica("broken", Duration::ZERO, false)?;
    let slow = replica("slow", hour, true)?;
    let quick = replica("quick", Duration::from_millis(20), true)?;

    match race(&[slow, broken, quick]) {
        Ok(answer) => println!("the first answer: {answer}"),
        Err(failures) => println!("no answer: {failures:?}"),
    }
    match race(&[broken, broken]) {
        Ok(answer) => println!("an answer of a broken one: {answer}"),
        Err(failures) => println!("no answer: {} failures", failures.len()),
    }
    match timeout(Duration::from_millis(50), || race(&[slow, slow])) {
        Ok(_) => println!("an answer in no time"),
        Err(elapsed) => println!("no answer in time: {elapsed}"),
    }
    Ok(())
}
