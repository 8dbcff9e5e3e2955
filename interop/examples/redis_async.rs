//! The asynchronous client of redis, used from coroutines by `pirn::tokio::run`:
//!
//! ```text
//! cargo run -p pirn-interop --features full --example redis_async
//! ```
//!
//! It starts a `redis-server` of its own on a free port, and says so if there is none to start; or
//! it uses the one that is named, as in `-- redis://127.0.0.1/`.

use redis::AsyncCommands;
use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const COROUTINES: u64 = 100;
const EACH: u64 = 100;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A server that ends with the example.
struct Server(Child);

impl Server {
    /// `None`: there is none on this machine.
    fn start() -> Outcome<Option<(Server, String)>> {
        // Free a moment ago, and again when the listener goes at the end of the statement.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let started = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn();
        match started {
            Ok(child) => Ok(Some((Server(child), format!("redis://127.0.0.1:{port}/")))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Long enough for any machine: half a second for an answer, the client's default, is not.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects as soon as the server listens.
async fn connect(url: String) -> Outcome<redis::aio::MultiplexedConnection> {
    let client = redis::Client::open(url)?;
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connecting = async {
        loop {
            match client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(connection) => return connection,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    Ok(tokio::time::timeout(PATIENCE, connecting).await?)
}

/// Counts in many coroutines at a time, over one connection, and returns the count.
fn count(connection: redis::aio::MultiplexedConnection) -> Outcome<u64> {
    const KEY: &str = "pirn:count";
    let mut first = connection.clone();
    pirn::tokio::run(async move { first.del::<_, ()>(KEY).await })?;
    let workers: Vec<_> = (0..COROUTINES)
        .map(|_| {
            let connection = connection.clone();
            pirn::spawn(move || -> redis::RedisResult<()> {
                for _ in 0..EACH {
                    let mut connection = connection.clone();
                    pirn::tokio::run(async move { connection.incr::<_, _, ()>(KEY, 1).await })?;
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no panic")?;
    }
    let mut last = connection;
    Ok(pirn::tokio::run(async move { last.get(KEY).await })?)
}

#[pirn::main]
fn main() -> Outcome<()> {
    let (_server, url) = match std::env::args().nth(1) {
        Some(url) => (None, url),
        None => match Server::start()? {
            Some((server, url)) => (Some(server), url),
            None => {
                println!(
                    "skipped: there is no redis-server here (Debian: apt install redis-server)"
                );
                return Ok(());
            }
        },
    };
    let connection = pirn::tokio::run(connect(url))?;
    let counted = count(connection)?;
    println!("{COROUTINES} coroutines have counted to {counted}");
    assert_eq!(counted, COROUTINES * EACH);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::io::{BufRead, BufReader, Write};
    use std::sync::{Arc, Mutex};

    /// Enough of redis for the example: commands are arrays of strings.
    fn serve(stream: pirn::net::TcpStream, values: &Mutex<HashMap<String, u64>>) {
        let mut input = BufReader::new(&stream);
        let mut line = || -> Option<String> {
            let mut line = String::new();
            input.read_line(&mut line).ok().filter(|count| *count > 0)?;
            Some(line.trim_end().to_owned())
        };
        while let Some(head) = line() {
            let count: usize = head[1..].parse().unwrap();
            let words: Vec<String> = (0..count)
                .map(|_| {
                    line().unwrap();
                    line().unwrap()
                })
                .collect();
            let mut values = values.lock().unwrap();
            let reply = match words[0].to_ascii_uppercase().as_str() {
                "DEL" => format!(":{}\r\n", u8::from(values.remove(&words[1]).is_some())),
                "INCRBY" => {
                    let value = values.entry(words[1].clone()).or_default();
                    *value += words[2].parse::<u64>().unwrap();
                    format!(":{value}\r\n")
                }
                "GET" => {
                    let value = values[&words[1]].to_string();
                    format!("${}\r\n{value}\r\n", value.len())
                }
                _ => "+OK\r\n".to_owned(),
            };
            drop(values);
            (&stream).write_all(reply.as_bytes()).unwrap();
        }
    }

    #[test]
    fn coroutines_count_together() {
        let listener = pirn::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        pirn::spawn(move || {
            let values = Arc::new(Mutex::new(HashMap::new()));
            for stream in listener.incoming().flatten() {
                let values = values.clone();
                pirn::spawn(move || serve(stream, &values));
            }
        });
        let connection = pirn::tokio::run(connect(url)).unwrap();
        assert_eq!(count(connection).unwrap(), COROUTINES * EACH);
    }
}
