//! Running out of descriptors is an error that the caller sees, and not for longer than it lasts.
//! The limit is the process's, so each test runs in a process of its own.

#[path = "../examples/support/echo.rs"]
mod echo;
#[path = "../examples/support/server.rs"]
mod server;

use pirn::net::TcpListener;
use rlimit::Resource;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Set in the child: how many descriptors it may have.
const CHILD: &str = "PIRN_NET_EXHAUSTION_CHILD";
/// What the child says before the address that it serves.
const SERVES: &str = "serves ";
const DESCRIPTORS: usize = 64;
/// A limit under which there is no room for another: all of these are open.
const NONE: u64 = 3;
/// Long enough for anything that is going to happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether this is the child; then its limit is set.
fn is_child() -> bool {
    if std::env::var_os(CHILD).is_none() {
        return false;
    }
    let count = DESCRIPTORS as u64;
    Resource::NOFILE.set(count, count).unwrap();
    true
}

/// Runs one test of this file in a process of its own.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "");
    command
}

/// Takes every descriptor there is.
fn take_all() -> Vec<std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

#[test]
fn an_accept_loop_without_descriptors_lets_others_run() {
    if is_child() {
        return accept_without_descriptors();
    }
    let output = child("an_accept_loop_without_descriptors_lets_others_run").output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("running 1 test"), "{stdout}");
}

fn accept_without_descriptors() {
    for workers in [1, 2] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = pirn::net::TcpStream::connect(addr).unwrap();
        let hoard = take_all();
        let refused = pirn::net::TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EMFILE));

        let errors = Arc::new(AtomicUsize::new(0));
        let counter = errors.clone();
        let start = Instant::now();
        let acceptor = runtime.spawn(move || {
            let is_open = |stream: io::Result<pirn::net::TcpStream>| match stream {
                Ok(stream) => Some(stream.peer_addr().unwrap()),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    counter.fetch_add(1, Ordering::Release);
                    None
                }
            };
            listener.incoming().find_map(is_open).unwrap()
        });
        // On a single worker this coroutine runs only if the loop lets it.
        let others = errors.clone();
        let freer = runtime.spawn(move || {
            while others.load(Ordering::Acquire) < 4 {
                pirn::thread::yield_now();
            }
            drop(hoard);
        });
        freer.join().unwrap();
        assert_eq!(acceptor.join().unwrap(), client.local_addr().unwrap());
        // It waits after each of its attempts.
        let least = 5 * errors.load(Ordering::Relaxed) as u128;
        let took = start.elapsed().as_millis();
        assert!(took >= least, "{errors:?} errors in {took} ms");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let _client = pirn::net::TcpStream::connect(addr).unwrap();
    listener.set_nonblocking(true).unwrap();
    let _hoard = take_all();
    assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::EMFILE));
}

#[test]
fn a_server_backs_off_without_descriptors() {
    if is_child() {
        return back_off_without_descriptors();
    }
    let output = child("a_server_backs_off_without_descriptors").output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("running 1 test"), "{stdout}");
}

fn back_off_without_descriptors() {
    for workers in [1, 2] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (sent, errors) = mpsc::channel();
        let sent = std::sync::Mutex::new(sent);
        let tell = move |error: &io::Error| {
            sent.lock().unwrap().send((Instant::now(), error.raw_os_error())).unwrap();
        };
        let server = pirn::net::Server::builder().on_error(tell).build();
        let serve = |stream: pirn::net::TcpStream, _| drop(echo::serve(&stream));
        runtime.run(|| server.start(listener, serve)).unwrap();
        let socket = || {
            let kind = socket2::Type::STREAM;
            socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap()
        };
        let mut clients = Vec::new();
        for _ in 0..2 {
            let client = socket();
            let hoard = take_all();
            client.connect(&addr.into()).unwrap();
            let times: Vec<Instant> = (0..4)
                .map(|_| {
                    let (time, code) = errors.recv_timeout(PATIENCE).unwrap();
                    assert_eq!(code, Some(libc::EMFILE));
                    time
                })
                .collect();
            // Each pause is twice the one before, and the first is as ever after a success.
            let least = [5, 10, 20].map(Duration::from_millis);
            for (pair, least) in times.windows(2).zip(least) {
                assert!(pair[1] - pair[0] >= least, "{:?}", pair[1] - pair[0]);
            }
            drop(hoard);
            let client = TcpStream::from(client);
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            round_trip(&client);
            clients.push(client);
            // What was said until there was a descriptor.
            assert!(errors.try_iter().all(|(_, code)| code == Some(libc::EMFILE)));
        }
        // A stop does not wait for a pause to end, nor for who has not been accepted.
        let late = socket();
        let hoard = take_all();
        late.connect(&addr.into()).unwrap();
        errors.recv_timeout(PATIENCE).unwrap();
        // What those who leave give back is not to be had by the one who waits, should the pause end
        // before the stop.
        Resource::NOFILE.set(NONE, DESCRIPTORS as u64).unwrap();
        drop(clients);
        assert_eq!(server.stop(PATIENCE), 0);
        assert_eq!(server.stats().accepted, 2);
        Resource::NOFILE.set(DESCRIPTORS as u64, DESCRIPTORS as u64).unwrap();
        drop(hoard);
    }
}

/// Twice as many clients as the server has descriptors: those that are in are served, and the others
/// as soon as somebody leaves.
#[test]
fn a_server_without_descriptors_serves_whom_it_has_and_then_the_others() {
    if is_child() {
        serve_for_ever();
    }
    let start = Instant::now();
    let server =
        Server::start("a_server_without_descriptors_serves_whom_it_has_and_then_the_others");
    let clients: Vec<_> = (0..2 * DESCRIPTORS).map(|_| server.connect()).collect();
    let failure = server.line_with("(failure 8 in a row)");
    assert!(failure.contains("os error 24"), "{failure}");
    // Connections are accepted in the order in which they were made, so these are in.
    for _ in 0..100 {
        clients[..DESCRIPTORS / 4].iter().for_each(round_trip);
    }
    // Whoever leaves makes room for one more.
    for client in clients {
        round_trip(&client);
    }
    server.line_with("accept: works again");
    round_trip(&server.connect());
    // Each failure has taken the pause that `accept` makes.
    let failures = server.most_failures.load(Ordering::Relaxed) as u128;
    let took = start.elapsed().as_millis();
    assert!(failures >= 8 && 5 * failures <= took, "{failures} failures in {took} ms");
}

fn serve_for_ever() -> ! {
    let runtime = pirn::Builder::new().workers(2).build().unwrap();
    runtime.run(|| {
        let (listener, address) = server::listen("127.0.0.1:0").unwrap();
        eprintln!("{SERVES}{address}");
        server::accept_for_ever(&listener, echo::serve)
    })
}

fn round_trip(mut stream: &TcpStream) {
    stream.write_all(b"message").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"message");
}

/// A server in a process of its own.
struct Server {
    process: Child,
    address: SocketAddr,
    lines: mpsc::Receiver<String>,
    /// The highest number of failures in a row that it has told of.
    most_failures: Arc<AtomicUsize>,
}

impl Server {
    fn start(test: &str) -> Server {
        let mut process = child(test).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = process.stderr.take().unwrap();
        let (sent, lines) = mpsc::channel();
        let most_failures = Arc::<AtomicUsize>::default();
        let most = most_failures.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let failures =
                    line.split_once("(failure ").and_then(|(_, rest)| rest.split_once(' '));
                if let Some((number, _)) = failures {
                    most.fetch_max(number.parse().unwrap(), Ordering::Relaxed);
                }
                if sent.send(line).is_err() {
                    break;
                }
            }
        });
        let address = ([0; 4], 0).into();
        let mut server = Server { process, address, lines, most_failures };
        let line = server.line_with(SERVES);
        server.address = line.strip_prefix(SERVES).unwrap().parse().unwrap();
        server
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The next line of the server's with these words.
    fn line_with(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the server says nothing");
            if line.contains(words) {
                return line;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
