//! Requests and answers.
//!
//! All runtimes of the process are told of, so each test looks for its own by name.

use crate::client::{Client, Folder, PATIENCE, numbers};
use pirn::channel;
use pirn::{Builder, Runtime};
use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A runtime in which so many coroutines wait until the sender is dropped.
struct Crowd {
    gate: Option<channel::Sender<()>>,
    runtime: Option<Runtime>,
    folder: Folder,
    name: String,
}

impl Crowd {
    fn new(count: usize, workers: usize) -> Crowd {
        let folder = Folder::new();
        let name = folder.0.file_name().unwrap().to_str().unwrap().to_owned();
        let builder = Builder::new().workers(workers).name(&name).stack_size(64 * 1024);
        let runtime = builder.inspect(folder.socket()).build().unwrap();
        let (gate, waiting) = channel::bounded::<()>(0);
        let (here, arrived) = channel::bounded(0);
        runtime.run(|| {
            for _ in 0..count {
                let (waiting, here) = (waiting.clone(), here.clone());
                pirn::spawn(move || {
                    here.send(()).unwrap();
                    waiting.recv().unwrap_err();
                });
            }
            for _ in 0..count {
                arrived.recv().unwrap();
            }
        });
        let crowd = Crowd { gate: Some(gate), runtime: Some(runtime), folder, name };
        let mut client = crowd.client();
        while client.ask(&crowd.list("\"reason\":\"channel receive\"")).total() != count as u64 {}
        crowd
    }

    fn client(&self) -> Client {
        Client::connect(&self.folder.socket())
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// A request for this runtime's coroutines.
    fn list(&self, more: &str) -> String {
        let name = &self.name;
        let comma = if more.is_empty() { "" } else { "," };
        format!(r#"{{"request":"coroutines","runtime":"{name}"{comma}{more}}}"#)
    }

    /// What the answer to `summary` or `metrics` says of this runtime.
    fn own_part(&self, answer: &str) -> String {
        let (_, own) = answer.split_once(&format!("\"name\":\"{}\"", self.name)).unwrap();
        own.split("{\"name\":").next().unwrap().to_owned()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.gate = None;
        self.runtime = None;
    }
}

fn total(answer: &str) -> u64 {
    numbers(answer, "total")[0]
}

trait Total {
    fn total(&self) -> u64;
}

impl Total for String {
    fn total(&self) -> u64 {
        total(self)
    }
}

#[test]
fn each_request_is_answered() {
    let crowd = Crowd::new(5, 2);
    let mut client = crowd.client();
    let hello = client.good(r#"{"v":1,"id":3,"request":"hello"}"#);
    assert!(hello.starts_with(r#"{"v":1,"id":3,"ok":{"pirn":""#), "{hello}");
    assert_eq!(numbers(&hello, "process"), [u64::from(std::process::id())]);

    // What `run` ran may not have been counted out yet.
    let five_live = |answer: &str| numbers(&crowd.own_part(answer), "live") == [5];
    client.until(r#"{"request":"metrics"}"#, five_live);

    let all_say = |answer: &str| !crowd.own_part(answer).contains("\"answered\":false");
    let all_say = |answer: &str| all_say(answer) && five_live(answer);
    let summary = crowd.own_part(&client.until(r#"{"request":"summary"}"#, all_say));
    // Of two workers, and of both.
    assert_eq!(numbers(&summary, "parked").iter().sum::<u64>(), 10, "{summary}");
    assert!(summary.contains(r#"{"reason":"channel receive","count":5,"#), "{summary}");
    assert!(summary.contains("tests/inspect/protocol.rs:"), "{summary}");

    let list = client.until(&crowd.list(""), |answer| numbers(answer, "id").len() == 5);
    let ids = numbers(&list, "id");
    assert_eq!(list.total(), 5);

    let one = format!(r#"{{"request":"coroutine","coroutine":{}}}"#, ids[2]);
    let one = client.until_answered(&one, |answer| numbers(answer, "id") == [ids[2]]);
    assert!(one.contains(r#""waits_for":"channel receive at 0x"#), "{one}");
    assert_eq!(one.contains(r#""stack":[{"#), cfg!(feature = "dump-stacks"), "{one}");

    let dump = client.good(r#"{"request":"dump"}"#);
    assert!(dump.contains(&crowd.name) && dump.contains("\"lock_cycles\""));
    client.until(r#"{"request":"text"}"#, |text| text.contains(r#"[channel receive"#));
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    let crowd = Crowd::new(20, 2);
    let named = pirn::thread::Builder::new().name("Waldo".into());
    let (here, arrived) = channel::bounded(1);
    let (gate, waiting) = channel::bounded::<()>(0);
    crowd.runtime().run(move || {
        // What `run` runs ends, so that this one's parent is not there.
        named
            .spawn(move || {
                here.send(pirn::thread::current()).unwrap();
                waiting.recv().unwrap_err();
            })
            .unwrap();
    });
    arrived.recv().unwrap();
    let mut client = crowd.client();
    client.until(&crowd.list("\"state\":\"parked\""), |answer| total(answer) == 21);
    let all_say = |answer: &str| numbers(answer, "silent_workers") == [0];
    let mut count = |more: &str| client.until(&crowd.list(more), all_say).total();
    assert_eq!(count(""), 21);
    assert_eq!(count(r#""text":"wald""#), 1);
    assert_eq!(count(r#""text":"RECEIVE""#), 21);
    assert_eq!(count(r#""text":"inspect/protocol.rs""#), 21);
    assert_eq!(count(r#""text":"nobody says this""#), 0);
    assert_eq!(count(r#""state":"ready""#), 0);
    assert_eq!(count(r#""reason":"channel receive""#), 21);
    assert_eq!(count(r#""reason":"mutex""#), 0);
    assert_eq!(count(r#""worker":0"#) + count(r#""worker":1"#), 21);

    let has =
        |count| move |answer: &str| numbers(answer, "id").len() == count && total(answer) == 21;
    let all = numbers(&client.until(&crowd.list(""), has(21)), "id");
    assert!(all.is_sorted());
    let backwards = numbers(&client.until(&crowd.list("\"reverse\":true"), has(21)), "id");
    assert_eq!(backwards, all.iter().rev().copied().collect::<Vec<_>>());
    let mut pages = Vec::new();
    for offset in (0_usize..30).step_by(4) {
        let request = crowd.list(&format!("\"offset\":{offset},\"limit\":4"));
        let page = client.until(&request, has(21_usize.saturating_sub(offset).min(4)));
        pages.extend(numbers(&page, "id"));
    }
    assert_eq!(pages, all);
    let far = crowd.list("\"offset\":18446744073709551615,\"limit\":1000");
    let far = client.until(&far, |answer| total(answer) == 21);
    assert!(numbers(&far, "id").is_empty());
    client.until(&crowd.list("\"sort\":\"age\""), has(21));
    let id = all[20];
    client.until(&crowd.list(&format!("\"text\":\"{id}\"")), |answer| total(answer) == 1);
    drop(gate);
}

/// Workers look at some of their coroutines at a time, and go on with their work in between.
#[test]
fn who_stays_is_seen_once_while_others_come_and_go() {
    const STAY: u64 = 3000;
    let crowd = Crowd::new(STAY as usize, 2);
    let ends = Arc::new(AtomicBool::new(false));
    let churns: Vec<_> = (0..8)
        .map(|_| {
            let ends = ends.clone();
            crowd.runtime().spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    let brief = (0..50).map(|_| pirn::spawn(pirn::thread::yield_now));
                    brief.collect::<Vec<_>>().into_iter().for_each(|one| one.join().unwrap());
                }
            })
        })
        .collect();
    let mut client = crowd.client();
    let stays = crowd.list("\"reason\":\"channel receive\",\"limit\":1000");
    let ids = |page: &str| {
        let ids = numbers(page, "id");
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        ids
    };
    let all_say = |answer: &str| {
        // On a busy machine some may not come to it in time, or none.
        let all = numbers(answer, "silent_workers") == [0];
        assert!(!all || total(answer) == STAY, "{answer:.200}");
        all && numbers(answer, "id").len() == 1000
    };
    let first = ids(&client.until(&stays, all_say));
    for _ in 0..20 {
        assert_eq!(ids(&client.until(&stays, all_say)), first);
    }
    ends.store(true, Ordering::Relaxed);
    churns.into_iter().for_each(|churn| churn.join().unwrap());
}

#[test]
fn the_spawn_tree_is_walked() {
    let crowd = Crowd::new(0, 1);
    let (here, arrived) = channel::bounded(8);
    let (gate, waiting) = channel::bounded::<()>(0);
    crowd.runtime().spawn(move || {
        for _ in 0..3 {
            let (here, waiting) = (here.clone(), waiting.clone());
            pirn::spawn(move || {
                here.send(()).unwrap();
                waiting.recv().unwrap_err();
            });
        }
        here.send(()).unwrap();
        waiting.recv().unwrap_err();
    });
    (0..4).for_each(|_| arrived.recv().unwrap());
    let mut client = crowd.client();
    client.until(&crowd.list("\"state\":\"parked\""), |answer| total(answer) == 4);
    let first = client.until(&crowd.list("\"limit\":1"), |answer| {
        total(answer) == 4 && numbers(answer, "id").len() == 1
    });
    let root = numbers(&first, "id")[0];
    let tree = format!(r#"{{"request":"tree","parent":{root},"limit":2}}"#);
    client.until(&tree, |answer| total(answer) == 3 && numbers(answer, "children") == [0, 0]);
    client.until(&crowd.list(&format!("\"parent\":{root}")), |answer| total(answer) == 3);
    // Others' roots are there, too, on pages before and after.
    let deadline = Instant::now() + PATIENCE;
    let mut offset = 0;
    loop {
        let page = client.good(&format!(r#"{{"request":"tree","offset":{offset},"limit":1000}}"#));
        let place = numbers(&page, "id").iter().position(|&id| id == root);
        if let Some(place) = place {
            assert_eq!(numbers(&page, "children")[place], 3);
            break;
        }
        offset = if page.total() > offset + 1000 { offset + 1000 } else { 0 };
        assert!(Instant::now() < deadline, "its root is nowhere");
    }
    drop(gate);
}

#[test]
fn garbage_gets_errors_and_the_connection_goes_on() {
    let crowd = Crowd::new(1, 1);
    let mut client = crowd.client();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let valid = crowd.list("\"text\":\"a\\u00e9\",\"limit\":3,\"reverse\":true").into_bytes();
    for round in 0..400 {
        // A request with some bytes changed, or nothing but noise.
        let mut line = valid.clone();
        match round % 2 {
            0 => {
                for _ in 0..=random() % 3 {
                    let at = random() as usize % line.len();
                    line[at] = random() as u8;
                }
            }
            _ => line = (0..=random() % 300).map(|_| random() as u8).collect(),
        }
        line.retain(|&byte| byte != b'\n');
        // So that it is no empty line, which has no answer.
        line.insert(0, b'{');
        line.push(b'\n');
        client.send(&line);
        let answer = client.line();
        assert!(answer.contains("\"ok\":") || answer.contains("\"error\":"), "{answer}");
    }
    client.send(b"\n  \n\r\n");
    client.good(r#"{"request":"hello"}"#);
    // Too long, at once and in parts: one error each.
    for _ in 0..2 {
        client.send(&[b'x'; 100_000]);
        client.send(b"\n");
        let answer = client.line();
        assert!(answer.contains("4096 bytes at most"), "{answer}");
    }
    client.good(r#"{"request":"hello"}"#);
    // Several in one piece.
    client.send(b"{\"request\":\"hello\",\"id\":1}\nx\n{\"request\":\"hello\",\"id\":2}\n");
    assert!(client.line().starts_with(r#"{"v":1,"id":1,"ok""#));
    assert!(client.line().contains("\"error\""));
    assert!(client.line().starts_with(r#"{"v":1,"id":2,"ok""#));
    // One in many.
    for byte in b"{\"request\":\"hello\",\"id\":3}\n" {
        client.send(&[*byte]);
    }
    assert!(client.line().starts_with(r#"{"v":1,"id":3,"ok""#));
    // What was asked before the end is answered.
    client.send(b"{\"request\":\"hello\",\"id\":4}\n{\"request\":\"hello\",\"id\":5}\n{\"req");
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert!(client.line().starts_with(r#"{"v":1,"id":4,"ok""#));
    assert!(client.line().starts_with(r#"{"v":1,"id":5,"ok""#));
    assert_eq!(client.line(), "");
}

#[test]
fn nobody_who_does_not_read_holds_up_others() {
    let crowd = Crowd::new(300, 1);
    // Its answers do not fit the socket, and it takes none. Neither does it matter that it goes on
    // asking: it is not read from.
    let sleepy = crowd.client();
    sleepy.stream().set_nonblocking(true).unwrap();
    let request = format!("{}\n", crowd.list("\"limit\":1000"));
    let mut sent = 0;
    let refused = loop {
        match sleepy.stream().write(request.as_bytes()) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
        assert!(sent < 100 << 20, "it is read from for ever");
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    let mut client = crowd.client();
    client.until(&crowd.list(""), |answer| total(answer) == 300);
    // One that leaves in the middle of its answer.
    drop(sleepy);
    client.until(&crowd.list(""), |answer| total(answer) == 300);
}

/// A client for whom there is room: the end of another may not have been seen yet.
fn admitted(crowd: &Crowd) -> Client {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut client = crowd.client();
        let asked = client.stream().write_all(b"{\"request\":\"hello\"}\n").is_ok();
        if asked && client.try_line().is_ok_and(|line| line.contains("\"ok\"")) {
            return client;
        }
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn there_is_room_for_sixteen() {
    let crowd = Crowd::new(1, 1);
    let mut clients: Vec<_> = (0..16).map(|_| admitted(&crowd)).collect();
    let mut one_more = crowd.client();
    assert!(one_more.line().contains("no room"));
    assert_eq!(one_more.line(), "");
    drop(clients.pop());
    admitted(&crowd);
}

#[test]
fn sixteen_ask_at_once_and_each_gets_its_own_answers() {
    const ROUNDS: u64 = 100;
    let crowd = Crowd::new(20, 2);
    let clients: Vec<_> = (0..16).map(|_| admitted(&crowd)).collect();
    std::thread::scope(|scope| {
        for (number, mut client) in (0_u64..).zip(clients) {
            let crowd = &crowd;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let id = number * ROUNDS + round;
                    let (request, part) = match (number + round) % 4 {
                        0 => (crowd.list(&format!("\"id\":{id}")), "\"coroutines\":["),
                        1 => (format!(r#"{{"id":{id},"request":"summary"}}"#), "\"reasons\":["),
                        2 => (format!(r#"{{"id":{id},"request":"hello"}}"#), "\"process\":"),
                        _ => (format!(r#"{{"id":{id},"request":"nonsense"}}"#), "\"error\":"),
                    };
                    let answer = client.ask(&request);
                    let begins = format!("{{\"v\":1,\"id\":{id},");
                    assert!(answer.starts_with(&begins) && answer.contains(part), "{answer}");
                }
            });
        }
    });
}

#[test]
fn a_stuck_worker_is_named() {
    let crowd = Crowd::new(8, 2);
    let (begun, started) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let hog = pirn::thread::Builder::new().name("hog".into());
    let hog = crowd.runtime().run(move || {
        hog.spawn(move || {
            begun.send(()).unwrap();
            // The whole worker waits.
            held.recv().unwrap_err();
        })
        .unwrap()
    });
    started.recv().unwrap();
    let mut client = crowd.client();
    let before = Instant::now();
    let summary = crowd.own_part(&client.good(r#"{"request":"summary"}"#));
    let took = before.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(summary.contains("\"answered\":false,\"runs\":{"), "{summary}");
    assert!(summary.contains("\"name\":\"hog\""), "{summary}");
    let running = client.until(&crowd.list("\"state\":\"running\""), |answer| {
        total(answer) == 1 && numbers(answer, "silent_workers") == [1]
    });
    let id = numbers(&running, "id")[0];
    let one = client.good(&format!(r#"{{"request":"coroutine","coroutine":{id}}}"#));
    assert!(one.contains("\"state\":\"running\""), "{one}");
    drop(release);
    hog.join().unwrap();
    // It is joined before its worker is done with it, and able to say so.
    let one = format!(r#"{{"request":"coroutine","coroutine":{id}}}"#);
    client.until_answered(&one, |answer| answer.contains("ended"));
}

#[test]
fn a_hundred_thousand_are_a_few_kilobytes() {
    let count = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    let crowd = Crowd::new(count, 2);
    let mut client = crowd.client();
    let counted = format!("\"count\":{count}");
    let summary = client
        .until(r#"{"request":"summary"}"#, |answer| crowd.own_part(answer).contains(&counted));
    let page = client.until(&crowd.list("\"sort\":\"age\",\"limit\":40"), |answer| {
        total(answer) == count as u64 && numbers(answer, "id").len() == 40
    });
    assert!(crowd.own_part(&summary).len() < 8_000 && page.len() < 20_000);
    let refused = client.ask(r#"{"request":"dump"}"#);
    let too_many = count > 20_000 && cfg!(feature = "dump-stacks");
    assert_eq!(refused.contains("too many for a dump"), too_many);
}
