//! The name server.

use crate::dns_server::{Table, answer, serve};
use crate::support::PATIENCE;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

const A: u16 = 1;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const ANY: u16 = 255;

const NO_ERROR: u16 = 0;
const FORMAT_ERROR: u16 = 1;
const NO_SUCH_NAME: u16 = 3;
const NOT_IMPLEMENTED: u16 = 4;
const REFUSED: u16 = 5;

fn table() -> Table {
    let long = format!("long.test=txt:{}", "0123456789".repeat(30));
    let too_long = format!("too.long.test=txt:{}", "x".repeat(600));
    Table::parse(&[
        "spool.test=192.0.2.1",
        "spool.test=192.0.2.2",
        "Spool.Test.=2001:db8::1",
        "spool.test=txt:carries the weft",
        &long,
        &too_long,
        "deep.down.test=txt:",
    ])
    .unwrap()
}

fn name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut encoded: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    encoded.push(0);
    encoded
}

fn query(id: u16, question: &str, kind: u16, class: u16) -> Vec<u8> {
    let header = [id, 0x0100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    let question = [name(question), [kind, class].map(u16::to_be_bytes).concat()].concat();
    [header, question].concat()
}

/// What a client makes of a response.
#[derive(Debug, PartialEq, Eq)]
struct Response {
    code: u16,
    truncated: bool,
    answers: Vec<(u16, Vec<u8>)>,
}

#[track_caller]
fn parse(query: &[u8], response: &[u8]) -> Response {
    let word = |at: usize| u16::from_be_bytes([response[at], response[at + 1]]);
    assert_eq!(response[..2], query[..2], "another id");
    assert!(response.len() <= 512);
    let flags = word(2);
    let code = flags & 0xF;
    // A response, and no recursion; an authority where it is one.
    assert_eq!(flags & 0x8080, 0x8000);
    assert_eq!(flags & 0x7900, u16::from_be_bytes([query[2], query[3]]) & 0x7900);
    assert_eq!(flags & 0x0400 != 0, code == NO_ERROR || code == NO_SUCH_NAME);
    let mut at = 12;
    if word(4) == 1 {
        while response[at] != 0 {
            at += 1 + usize::from(response[at]);
        }
        at += 5;
        assert_eq!(response[12..at], query[12..at], "another question");
    } else {
        assert_eq!(word(4), 0);
    }
    let answers = (0..word(6)).map(|_| {
        assert_eq!(word(at), 0xC00C, "another name");
        assert_eq!((word(at + 4), word(at + 6), word(at + 8)), (1, 0, 60));
        let (kind, length) = (word(at + 2), usize::from(word(at + 10)));
        at += 12 + length;
        (kind, response[at - length..at].to_vec())
    });
    let answers = answers.collect();
    assert_eq!(at, response.len());
    assert_eq!((word(8), word(10)), (0, 0));
    Response { code, truncated: flags & 0x0200 != 0, answers }
}

#[track_caller]
fn asks(table: &Table, question: &str, kind: u16) -> Response {
    let query = query(7, question, kind, 1);
    parse(&query, &answer(table, &query).unwrap())
}

fn fails(code: u16) -> Response {
    Response { code, truncated: false, answers: Vec::new() }
}

#[test]
fn what_is_known() {
    let table = table();
    let v4 = [(A, vec![192, 0, 2, 1]), (A, vec![192, 0, 2, 2])];
    let v6 = (AAAA, vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let text = (TXT, b"\x10carries the weft".to_vec());
    assert_eq!(asks(&table, "spool.test", A).answers, v4);
    assert_eq!(asks(&table, "sPOOL.tEST.", A).answers, v4);
    let [one, two] = v4;
    let all = [one, two, v6, text];
    assert_eq!(asks(&table, "spool.test", AAAA).answers, all[2..3]);
    assert_eq!(asks(&table, "spool.test", TXT).answers, all[3..]);
    assert_eq!(asks(&table, "spool.test", ANY).answers, all);
    assert_eq!(asks(&table, "deep.down.test", TXT).answers, [(TXT, vec![0])]);
    let long = &asks(&table, "long.test", TXT).answers[0].1;
    assert_eq!((long.len(), long[0], long[256]), (302, 255, 45));
}

#[test]
fn what_is_not() {
    let table = table();
    assert_eq!(asks(&table, "spool.test", MX), fails(NO_ERROR));
    // A name without records of its own, above one that has some, exists.
    for above in ["down.test", "test", ""] {
        assert_eq!(asks(&table, above, A), fails(NO_ERROR));
    }
    for nobody in ["loom.test", "a.spool.test", "pool.test", "example.org"] {
        assert_eq!(asks(&table, nobody, A), fails(NO_SUCH_NAME));
    }
    let chaos = query(7, "spool.test", TXT, 3);
    assert_eq!(parse(&chaos, &answer(&table, &chaos).unwrap()), fails(REFUSED));
    let response = asks(&table, "too.long.test", TXT);
    assert_eq!(response, Response { truncated: true, ..fails(NO_ERROR) });
}

#[test]
fn what_is_no_query() {
    let table = table();
    let good = query(7, "spool.test", A, 1);
    let code = |query: &[u8]| parse(query, &answer(&table, query).unwrap()).code;
    for length in 0..12 {
        assert_eq!(answer(&table, &good[..length]), None);
    }
    for length in 12..good.len() {
        assert_eq!(code(&good[..length]), FORMAT_ERROR);
    }
    let changed = |at: usize, to: u8| {
        let mut query = good.clone();
        query[at] = to;
        query
    };
    // A response would be answered for ever by another server like this.
    assert_eq!(answer(&table, &changed(2, 0x80)), None);
    for opcode in 1..16 {
        assert_eq!(code(&changed(2, opcode << 3)), NOT_IMPLEMENTED);
    }
    assert_eq!(code(&changed(5, 0)), FORMAT_ERROR);
    assert_eq!(code(&changed(5, 2)), FORMAT_ERROR);
    // A name that refers to itself, a label of a kind that is none, and one that is too long.
    assert_eq!(code(&changed(12, 0xC0)), FORMAT_ERROR);
    assert_eq!(code(&changed(12, 0x40)), FORMAT_ERROR);
    let endless = query(7, &"x".repeat(50).replace('x', "abcde."), A, 1);
    assert_eq!(code(&endless), FORMAT_ERROR);
    // What follows the question is no matter.
    assert_eq!(code(&[good.clone(), vec![0; 30]].concat()), NO_ERROR);
}

#[test]
fn noise() {
    let table = table();
    let mut random = SmallRng::seed_from_u64(1035);
    let good = query(7, "spool.test", ANY, 1);
    for _ in 0..20_000 {
        let mut noise = good.clone();
        for _ in 0..random.random_range(0..6) {
            let at = random.random_range(0..noise.len());
            noise[at] = random.random();
        }
        noise.truncate(random.random_range(0..=good.len()));
        if let Some(response) = answer(&table, &noise) {
            parse(&noise, &response);
        }
    }
}

#[test]
fn tables_that_are_none() {
    for record in ["", "spool.test", "=1.2.3.4", "a..b=1.2.3.4", "a=1.2.3", "a=text"] {
        let error = Table::parse(&[record]).unwrap_err();
        assert!(error.to_string().contains("name=address"), "{error}");
    }
    let label = "x".repeat(64);
    assert!(Table::parse(&[format!("{label}=1.2.3.4")]).is_err());
    assert!(Table::parse(&[format!("{}=1.2.3.4", &label[1..])]).is_ok());
}

fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// Clients with questions on their way all the time, and one that sends what is none.
#[test]
fn many_clients() {
    for workers in [1, 2] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let socket = pirn::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let table = Arc::new(table());
        for _ in 0..2 {
            let (socket, table) = (socket.try_clone().unwrap(), table.clone());
            drop(runtime.spawn(move || serve(&socket, &table)));
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let socket = client(address);
                // No more than find room: what is lost would be missed.
                for at in 0..100 {
                    assert_eq!(socket.send(&b"xxxxxxxxxxx"[..at % 11]).unwrap(), at % 11);
                }
            });
            for _ in 0..4 {
                scope.spawn(|| {
                    let socket = client(address);
                    let mut buf = [0; 1024];
                    for round in 0..100u16 {
                        let ids = (0..10).map(|at| 10 * round + at);
                        for id in ids.clone() {
                            let question = if id % 2 == 0 { "spool.test" } else { "loom.test" };
                            socket.send(&query(id, question, A, 1)).unwrap();
                        }
                        let mut answered: Vec<_> = ids
                            .clone()
                            .map(|_| {
                                let len = socket.recv(&mut buf).unwrap();
                                let id = u16::from_be_bytes([buf[0], buf[1]]);
                                let code = u16::from(buf[3] & 0xF);
                                assert_eq!(code, if id % 2 == 0 { NO_ERROR } else { NO_SUCH_NAME });
                                assert!(len > 12);
                                id
                            })
                            .collect();
                        answered.sort_unstable();
                        assert!(answered.into_iter().eq(ids));
                    }
                });
            }
        });
    }
}
