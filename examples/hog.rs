//! What a coroutine that computes for long does to others, and how it is found out.
//!
//! ```sh
//! cargo run --release --example hog
//! ```
//!
//! An echo server of two workers, clients that measure, and after two seconds a coroutine that
//! computes for two seconds without a break. Connections that live on its worker wait for it, those
//! of the other worker do not, and the stall watch names it with the place where it was spawned.
//! Work of that kind belongs in `pirn::blocking`.

#[path = "support/echo.rs"]
mod echo;
#[path = "support/latency.rs"]
mod latency;
#[path = "support/server.rs"]
mod server;

use latency::Latency;
use pirn::net::{SocketAddr, TcpStream};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);
const PHASE: Duration = Duration::from_secs(2);

/// The threads on which connections live, by the address of the client.
type Homes = Arc<Mutex<HashMap<SocketAddr, ThreadId>>>;

/// What a client has measured: when each round trip began, and how long it took.
type Samples = Vec<(Instant, Duration)>;

fn main() -> io::Result<()> {
    let servers = pirn::Builder::new()
        .workers(2)
        .name("server")
        .stall_after(Duration::from_millis(100))
        .on_stall(|stall| {
            eprintln!(
                "worker {} runs coroutine {} {:?}, spawned at {}, for {:.1?}; at least {} waits",
                stall.worker,
                stall.coroutine,
                stall.name.as_deref().unwrap_or(""),
                stall.spawned_at,
                stall.running_for,
                stall.waiting,
            );
        })
        .build()?;
    // The clients have workers of their own, which nobody holds.
    let clients = pirn::Builder::new().name("client").build()?;

    let (listener, address) = server::listen("127.0.0.1:0")?;
    let homes = Homes::default();
    let noted = homes.clone();
    drop(servers.spawn(move || {
        server::accept_for_ever(&listener, move |stream| {
            let home = std::thread::current().id();
            noted.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.peer_addr()?, home);
            echo::serve(stream)
        })
    }));
    let start = Instant::now();
    let end = start + 2 * PHASE;
    let measuring: Vec<_> =
        (0..CONNECTIONS).map(|_| clients.spawn(move || measure(address, end))).collect();
    std::thread::sleep(PHASE);
    let hog = servers.run(|| pirn::thread::Builder::new().name("hog".into()).spawn(compute))?;
    let (began, ended, home) = hog.join().expect("computing does not panic");

    let [mut before, mut beside, mut behind] = [(); 3].map(|()| Latency::new());
    for client in measuring {
        let (client, samples) = client.join().expect("measuring does not panic")?;
        let lives = homes.lock().unwrap_or_else(PoisonError::into_inner)[&client];
        for (asked, took) in samples {
            // The first quarter is for getting started.
            if (start + PHASE / 4..began).contains(&asked) && asked + took < began {
                before.record(&[took]);
            } else if (began..ended).contains(&asked) {
                let latency = if lives == home { &mut behind } else { &mut beside };
                latency.record(&[took]);
            }
        }
    }
    println!("{:<36} {:>10} {:>10} {:>10}", "round trips", "p50", "p99", "max");
    for (whose, latency) in [
        ("before the hog", before),
        ("meanwhile, connections elsewhere", beside),
        ("meanwhile, connections of its worker", behind),
    ] {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| latency.at(quantile));
        println!("{whose:<36} {p50:>10.2?} {p99:>10.2?} {max:>10.2?}");
    }
    Ok(())
}

/// Asks for an echo every now and then.
fn measure(address: SocketAddr, end: Instant) -> io::Result<(SocketAddr, Samples)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut samples = Samples::new();
    let mut message = [0; 64];
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        samples.push((start, start.elapsed()));
        pirn::thread::sleep(PAUSE);
    }
    Ok((stream.local_addr()?, samples))
}

/// The hog: when it began, when it ended, and where it lives.
fn compute() -> (Instant, Instant, ThreadId) {
    let began = Instant::now();
    let mut number = 1u64;
    while began.elapsed() < PHASE {
        number =
            std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).rotate_left(7));
    }
    (began, Instant::now(), std::thread::current().id())
}
