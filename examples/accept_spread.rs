//! Where connections live: one listener for all workers, or a group of one for each.
//!
//! ```sh
//! cargo run --release --example accept_spread -- 4 10000
//! ```
//!
//! makes 10,000 connections to a server with four workers, twice, and prints how many connections
//! each worker got, and what it took to make and greet them all.

#[path = "support/descriptors.rs"]
mod descriptors;

use pirn::net::{Server, SocketBuilder, TcpStream};
use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    descriptors::raise_limit();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The other ends, in a process of their own: descriptors are counted by process.
        ["--clients", addr, count] => clients(addr.parse()?, count.parse()?),
        [workers, connections] => {
            let (workers, connections) = (workers.parse()?, connections.parse()?);
            measure("one listener", workers, connections, 1)?;
            measure("a group", workers, connections, workers)
        }
        _ => Err("how many workers, and how many connections?".into()),
    }
}

fn measure(
    what: &str,
    workers: usize,
    connections: usize,
    listeners: usize,
) -> Result<(), Box<dyn Error>> {
    let runtime = pirn::Builder::new().workers(workers).build()?;
    let options = SocketBuilder::new().backlog(4096);
    let mut group = options.listen_group("127.0.0.1:0", listeners)?;
    let addr = group[0].local_addr()?;
    let homes = Arc::new(Mutex::new(HashMap::new()));
    let noted = homes.clone();
    let serve = move |mut stream: TcpStream, _| {
        *noted.lock().unwrap().entry(std::thread::current().id()).or_insert(0_usize) += 1;
        // Greeted, it stays until its client goes.
        let _gone = stream.write_all(b"!").and_then(|()| stream.read(&mut [0]));
    };
    let server = Server::new();
    runtime.run(|| match listeners {
        1 => server.start(group.remove(0), serve),
        _ => server.start_group(group, serve),
    })?;

    let start = Instant::now();
    let mut clients = Command::new(std::env::current_exe()?)
        .args(["--clients", &addr.to_string(), &connections.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(clients.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let took = start.elapsed();
    let mut spread: Vec<usize> = homes.lock().unwrap().values().copied().collect();
    spread.resize(workers, 0);
    spread.sort_unstable();
    let fair = connections as f64 / workers as f64;
    let most = spread.last().copied().unwrap_or(0) as f64 / fair;
    println!("{what:>12}: {spread:?}, the most {most:.2} of the fair share, in {took:.1?}");
    clients.kill()?;
    clients.wait()?;
    server.stop(Duration::from_secs(10));
    Ok(())
}

/// Makes connections, one after another, and keeps them.
fn clients(addr: SocketAddr, count: usize) -> Result<(), Box<dyn Error>> {
    let connect = || std::net::TcpStream::connect(addr);
    let mut streams = (0..count).map(|_| connect()).collect::<Result<Vec<_>, _>>()?;
    streams.iter_mut().try_for_each(|stream| stream.read_exact(&mut [0]))?;
    println!("all are greeted");
    // Until it is killed.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
