//! `timeout` around other people's code: a line protocol whose functions know nothing of time.
//!
//! A server answers some questions at once, some late, and some never. The client gives each question
//! a limit, and the whole talk another one; both may end a read in the middle.
//!
//! ```sh
//! cargo run --release --example timeout
//! ```

use pirn::net::{TcpListener, TcpStream};
use pirn::thread;
use pirn::time::{Duration, Instant, timeout};
use std::io::{self, BufRead, BufReader, Write};

/// What is behind the port: waits for so many milliseconds as it is told, and then says so.
fn serve(stream: TcpStream) -> io::Result<()> {
    for line in BufReader::new(&stream).lines() {
        match line?.parse() {
            Ok(millis) => thread::sleep(Duration::from_millis(millis)),
            Err(_) => thread::park(),
        }
        (&stream).write_all(b"done\n")?;
    }
    Ok(())
}

/// Asks one question. It waits for as long as it takes.
fn ask(address: pirn::net::SocketAddr, question: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(question.as_bytes())?;
    stream.write_all(b"\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

#[pirn::main]
pub(crate) fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    pirn::go!(move || {
        for stream in listener.incoming().flatten() {
            pirn::go!(move || serve(stream));
        }
    });

    let start = Instant::now();
    let talk = timeout(Duration::from_millis(500), || {
        for question in ["0", "20", "never", "30", "for ever", "10000"] {
            match timeout(Duration::from_millis(100), || ask(address, question)) {
                Ok(answer) => println!("{question}: {}", answer?),
                Err(elapsed) => println!("{question}: {elapsed}"),
            }
        }
        // Nobody limits this one but the talk as a whole.
        ask(address, "10000")
    });
    match talk {
        Ok(answer) => println!("the talk came to its end: {}", answer?),
        Err(elapsed) => println!("the talk: {elapsed}"),
    }
    // The last question alone would have taken that.
    assert!(start.elapsed() < Duration::from_secs(10));
    Ok(())
}
