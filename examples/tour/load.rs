//! Thousands of clients, each a coroutine with a connection of its own.

use crate::gate::Gate;
use crate::latency::Latency;
use crate::stage;
use indicatif::ProgressBar;
use pirn::net::{SocketAddr, TcpStream};
use pirn::thread::Builder;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// A connection on which nothing happens for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What all clients have done.
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Latency,
    /// With the number of connections that each has ended.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// One client's connection, and what it has measured.
pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) stream: TcpStream,
    latencies: Vec<Duration>,
    bar: ProgressBar,
}

impl Client {
    /// Notes that `requests`, sent together at `start`, have been answered rightly.
    pub(crate) fn answered(&mut self, requests: usize, start: Instant) {
        let elapsed = start.elapsed();
        self.latencies.extend(std::iter::repeat_n(elapsed, requests));
        self.bar.inc(requests as u64);
    }
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Opens all connections, and lets each client run `work`, once all are open.
    pub(crate) fn run(
        name: &'static str,
        address: SocketAddr,
        connections: u64,
        requests_each: u64,
        work: fn(&mut Client) -> io::Result<()>,
    ) -> io::Result<Load> {
        let bar = stage::begin(name, connections * requests_each);
        // This thread comes too.
        let gate = Gate::new(connections + 1);
        let mut clients = Vec::new();
        for number in 0..connections {
            let (gate, bar) = (gate.clone(), bar.clone());
            clients.push(Builder::new().spawn(move || {
                let stream = TcpStream::connect(address);
                gate.wait();
                let stream = stream?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                let mut client = Client { number, stream, latencies: Vec::new(), bar };
                work(&mut client).map(|()| client.latencies)
            })?);
        }
        gate.wait();
        let start = Instant::now();
        let results: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        let elapsed = start.elapsed();
        bar.finish();

        let mut latency = Latency::new();
        let mut requests = 0;
        let mut errors = BTreeMap::new();
        for result in results {
            let error = match result {
                Ok(Ok(latencies)) => {
                    latency.record(&latencies);
                    requests += latencies.len() as u64;
                    continue;
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => "stalled".into(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "panicked".into(),
            };
            *errors.entry(error).or_default() += 1;
        }
        Ok(Load { connections, requests, elapsed, latency, errors })
    }
}
