//! Coroutines that wait, run and have not started, for a debugger to look at.
//!
//! ```text
//! cargo run --example parked
//! gdb -p $(pgrep parked) -x tools/pirn-gdb.py -ex 'pirn coroutines' -ex 'pirn bt all'
//! ```
//!
//! `ci/gdb.sh` does that, and looks at what is printed.

use pirn::channel::{Receiver, bounded};
use pirn::net::{TcpListener, TcpStream};
use pirn::sync::Mutex;
use pirn::{Builder, thread};
use std::hint::spin_loop;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[inline(never)]
fn wait_for_a_message(messages: &Receiver<u32>) {
    println!("{:?}", messages.recv());
}

#[inline(never)]
fn wait_for_a_lock(lock: &Mutex<u32>) {
    println!("{:?}", lock.lock());
}

#[inline(never)]
fn wait_for_bytes(stream: &mut TcpStream) {
    println!("{:?}", stream.read(&mut [0; 16]));
}

#[inline(never)]
fn sleep_for_long() {
    thread::sleep(Duration::from_secs(3600));
    println!("woken");
}

/// Tells that it has begun from within, so that whoever looks then finds it here.
#[inline(never)]
fn spin_until(over: &AtomicBool, begins: &mpsc::Sender<()>) {
    begins.send(()).expect("the main thread waits for it");
    while !over.load(Ordering::Relaxed) {
        spin_loop();
    }
    println!("over");
}

/// Runs what it joins.
#[inline(never)]
fn join_what_spins(spins: impl FnOnce() + Send + 'static) {
    println!("{:?}", thread::spawn(spins).join());
}

fn main() -> io::Result<()> {
    let waiting = Builder::new().name("waiting").workers(1).build()?;
    let (sender, messages) = bounded(0);
    waiting.spawn(move || wait_for_a_message(&messages));
    let lock = Arc::new(Mutex::new(0));
    let held = lock.lock();
    let wanted = lock.clone();
    let locker = thread::Builder::new().name("locker".into());
    waiting.run(move || locker.spawn(move || wait_for_a_lock(&wanted)))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    waiting.spawn(move || wait_for_bytes(&mut client));
    waiting.spawn(sleep_for_long);
    while waiting.dump().coroutines().filter(|one| one.waits_for.is_some()).count() < 4 {
        std::thread::yield_now();
    }

    let busy = Builder::new().name("busy").workers(1).build()?;
    let over = Arc::new(AtomicBool::new(false));
    let (begins, has_begun) = mpsc::channel();
    let spins = over.clone();
    busy.spawn(move || {
        for number in 0..2 {
            thread::spawn_local(move || println!("{number}"));
        }
        join_what_spins(move || spin_until(&spins, &begins));
    });
    has_begun.recv().expect("it is told");

    println!("process {} is as it will be", std::process::id());
    // Until somebody closes its input.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    over.store(true, Ordering::Relaxed);
    drop((held, sender));
    Ok(())
}
