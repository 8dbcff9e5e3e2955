//! A crawler: so many pages at a time over real sockets, a limit for each page and one for the whole
//! crawl, and whatever is still on its way then is cancelled.
//!
//! The site is in this program: each page links to others, some hang, some break off.
//!
//! ```sh
//! cargo run --release --example crawler
//! cargo run --release --example crawler -- --pages 5000 --at-once 200 --limit-ms 2000
//! ```

use clap::Parser;
use pirn::CancelToken;
use pirn::channel::{Sender, unbounded};
use pirn::net::{SocketAddr, TcpListener, TcpStream};
use pirn::task::Pool;
use pirn::thread;
use pirn::time::{Duration, Instant, timeout};
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};

/// Crawls a site that is in this program.
#[derive(Parser)]
struct Options {
    /// Pages of the site.
    #[arg(long, default_value_t = 300)]
    pages: usize,
    /// Pages that are fetched at a time.
    #[arg(long, default_value_t = 20)]
    at_once: usize,
    /// Milliseconds for each page.
    #[arg(long, default_value_t = 100)]
    page_limit_ms: u64,
    /// Milliseconds for all.
    #[arg(long, default_value_t = 1500)]
    limit_ms: u64,
}

/// Answers one request: page `n` links to `2n + 1` and `2n + 2`, and to pages that were there before.
fn serve(mut stream: TcpStream, pages: usize) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(&stream).read_line(&mut request)?;
    let page = request.split(' ').nth(1).and_then(|path| path[1..].parse::<usize>().ok());
    let Some(page) = page.filter(|page| *page < pages) else {
        return stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n");
    };
    match page % 17 {
        // Never comes.
        13 => thread::park(),
        // Breaks off.
        7 => return stream.write_all(b"HTTP/1.0 200"),
        _ => thread::sleep(Duration::from_millis(2)),
    }
    let links = [2 * page + 1, 2 * page + 2, page / 2, page / 3];
    let body: String = links.iter().map(|link| format!("/{link}\n")).collect();
    write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}")
}

/// What has become of a page.
enum Found {
    Links(Vec<usize>),
    Missing,
    Late,
    Failed,
}

/// Fetches one page, and knows nothing of time.
fn fetch(site: SocketAddr, page: usize) -> io::Result<Found> {
    let mut stream = TcpStream::connect(site)?;
    write!(stream, "GET /{page} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head.contains(" 200 ") {
        return Ok(Found::Missing);
    }
    Ok(Found::Links(body.lines().filter_map(|link| link[1..].parse().ok()).collect()))
}

#[derive(Debug, Default)]
struct Totals {
    fetched: usize,
    missing: usize,
    late: usize,
    failed: usize,
}

/// Crawls until all has been seen.
fn crawl(site: SocketAddr, options: &Options, token: &CancelToken, totals: &mut Totals) {
    let (pool, limit) = (Pool::new(options.at_once), Duration::from_millis(options.page_limit_ms));
    let (found, results) = unbounded();
    let visit = |page: usize, found: Sender<Found>| {
        let token = token.clone();
        let visit = move || {
            // When the crawl is over, this is, too.
            let fetched = token.run(|| timeout(limit, || fetch(site, page)));
            let result = match fetched {
                Ok(Ok(Ok(page))) => page,
                Ok(Ok(Err(_))) => Found::Failed,
                Ok(Err(_elapsed)) => Found::Late,
                Err(_cancelled) => return,
            };
            // Nobody listens any more when the crawl is over.
            found.send(result).ok();
        };
        drop(pool.spawn(visit));
    };
    let mut seen = HashSet::from([0]);
    let mut open = 1;
    visit(0, found.clone());
    while open > 0 {
        open -= 1;
        match results.recv().expect("the crawl has a sender itself") {
            Found::Links(links) => {
                totals.fetched += 1;
                for link in links.into_iter().filter(|link| seen.insert(*link)) {
                    open += 1;
                    visit(link, found.clone());
                }
            }
            Found::Missing => totals.missing += 1,
            Found::Late => totals.late += 1,
            Found::Failed => totals.failed += 1,
        }
    }
}

#[pirn::main]
pub(crate) fn main() -> io::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (site, pages) = (listener.local_addr()?, options.pages);
    pirn::go!(move || {
        for stream in listener.incoming().flatten() {
            pirn::go!(move || serve(stream, pages));
        }
    });

    let start = Instant::now();
    let token = CancelToken::with_timeout(Duration::from_millis(options.limit_ms));
    let mut totals = Totals::default();
    let whole = token.run(|| crawl(site, &options, &token, &mut totals));
    // Those that are on their way end by themselves.
    token.cancel();
    match whole {
        Ok(()) => println!("all of it in {:?}: {totals:?}", start.elapsed()),
        Err(cause) => println!("{cause} after {:?}: {totals:?}", start.elapsed()),
    }
    Ok(())
}
