//! Entered spans follow their coroutine, and are nobody else's.

use pirn::tracing::{Follow, with_default};
use std::collections::HashMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Dispatch, Event, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What the layer was told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    New(String),
    Enter(String),
    Exit(String),
    Close(String),
    /// The message, and the spans around it, the innermost first.
    Event(String, Vec<String>),
}

/// The name of a span, with its number if it has one.
struct Label(String);

#[derive(Default)]
struct Fields {
    text: String,
    message: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.text.push_str(&format!(" {}={value:?}", field.name()));
        }
    }
}

#[derive(Clone, Default)]
struct Recorder {
    told: Arc<Mutex<Vec<Told>>>,
    /// Calls of `on_enter` and `on_exit` that panic.
    panics: Arc<AtomicUsize>,
}

impl Recorder {
    fn dispatch(&self) -> Dispatch {
        Dispatch::new(Follow::new(tracing_subscriber::registry().with(self.clone())))
    }

    fn note(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn may_panic(&self) {
        let one_less = |n: usize| n.checked_sub(1);
        if self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            panic!("a subscriber's");
        }
    }
}

fn label<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, context: &Context<'_, S>) -> String {
    context.span(id).unwrap().extensions().get::<Label>().unwrap().0.clone()
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let name = format!("{}{}", attributes.metadata().name(), fields.text);
        context.span(id).unwrap().extensions_mut().insert(Label(name.clone()));
        self.note(Told::New(name));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let around = context.event_scope(event).into_iter().flatten();
        let around = around.map(|span| span.extensions().get::<Label>().unwrap().0.clone());
        self.note(Told::Event(fields.message, around.collect()));
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.note(Told::Enter(label(id, &context)));
        self.may_panic();
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.note(Told::Exit(label(id, &context)));
        self.may_panic();
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.note(Told::Close(label(&id, &context)));
    }
}

fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// The events alone, with the spans of coroutines left out.
fn events(told: &[Told]) -> Vec<(String, Vec<String>)> {
    let event = |told: &Told| match told {
        Told::Event(message, around) => {
            let own = |span: &&String| !span.starts_with("coroutine ");
            Some((message.clone(), around.iter().filter(own).cloned().collect()))
        }
        _ => None,
    };
    told.iter().filter_map(event).collect()
}

fn event(message: &str, around: &[&str]) -> (String, Vec<String>) {
    (message.into(), around.iter().map(|&span| span.into()).collect())
}

/// Runs `f` in a coroutine of a single worker, with a recorder for its default.
fn recorded(f: impl FnOnce() + Send) -> Vec<Told> {
    let recorder = Recorder::default();
    let dispatch = recorder.dispatch();
    runtime(1).run(|| with_default(&dispatch, f));
    recorder.take()
}

#[test]
fn a_span_is_not_seen_by_who_runs_meanwhile_and_is_back_afterwards() {
    let recorder = Recorder::default();
    let dispatch = recorder.dispatch();
    runtime(1).run(|| {
        let other = dispatch.clone();
        let other = pirn::thread::spawn_local(move || {
            with_default(&other, || {
                info!("other");
                pirn::thread::park();
                info!("other again");
            });
        });
        with_default(&dispatch, || {
            let _span = info_span!("mine").entered();
            info!("before");
            pirn::thread::yield_now();
            info!("between");
            other.thread().unpark();
            // A sleep's time may be over before it waits.
            while !other.is_finished() {
                pirn::thread::sleep(Duration::from_millis(1));
            }
            info!("after");
        });
        other.join().unwrap();
    });
    let expected = [
        event("before", &["mine"]),
        event("other", &[]),
        event("between", &["mine"]),
        event("other again", &[]),
        event("after", &["mine"]),
    ];
    assert_eq!(events(&recorder.take()), expected);
}

#[test]
fn spans_are_left_innermost_first_and_entered_again_outermost_first() {
    let told = recorded(|| {
        let outer = info_span!("outer");
        let inner = info_span!("inner");
        let _outer = outer.enter();
        let _inner = inner.enter();
        let _again = outer.enter();
        pirn::thread::yield_now();
    });
    let enters = |name: &str| Told::Enter(name.into());
    let exits = |name: &str| Told::Exit(name.into());
    // The second entry of one that is entered already counts for both, as on a thread.
    let expected = [
        Told::New("outer".into()),
        Told::New("inner".into()),
        enters("outer"),
        enters("inner"),
        enters("outer"),
        exits("outer"),
        exits("inner"),
        exits("outer"),
        enters("outer"),
        enters("inner"),
        enters("outer"),
        exits("outer"),
        exits("inner"),
        exits("outer"),
        Told::Close("inner".into()),
        Told::Close("outer".into()),
    ];
    assert_eq!(told, expected);
}

#[test]
fn exits_out_of_order_take_out_their_own_span() {
    let told = recorded(|| {
        let (a, b, c) = (info_span!("a"), info_span!("b"), info_span!("c"));
        let a_guard = a.enter();
        let b_guard = b.enter();
        let c_guard = c.enter();
        let _a_again = a.enter();
        drop(c_guard);
        pirn::thread::yield_now();
        info!("one");
        drop(a_guard);
        pirn::thread::yield_now();
        info!("two");
        drop(b_guard);
        pirn::thread::yield_now();
        info!("three");
    });
    // The second entry of `a` does not count while there is the first.
    assert_eq!(events(&told), [event("one", &["b"]), event("two", &["b"]), event("three", &["a"])]);
    let left = |name: &str| told.iter().filter(|one| **one == Told::Exit(name.into())).count();
    let entered = |name: &str| told.iter().filter(|one| **one == Told::Enter(name.into())).count();
    for name in ["a", "b", "c"] {
        assert_eq!(left(name), entered(name), "{name}");
    }
    assert_eq!(entered("c"), 1, "it is not entered again");
}

#[test]
fn a_span_without_handles_is_closed_by_its_exit_and_not_by_a_switch() {
    let told = recorded(|| {
        let span = info_span!("held by its entry alone");
        std::mem::forget(span.enter());
        drop(span);
        pirn::thread::yield_now();
        info!("inside");
    });
    assert_eq!(events(&told), [event("inside", &["held by its entry alone"])]);
    let closes = told.iter().filter(|one| matches!(one, Told::Close(_))).count();
    assert_eq!(closes, 1, "{told:?}");
}

/// A forgotten guard ends with its coroutine: the next one on that thread is not inside.
#[test]
fn what_a_forgotten_guard_has_left_ends_with_the_coroutine() {
    let recorder = Recorder::default();
    let dispatch = recorder.dispatch();
    let runtime = runtime(1);
    let leaks = dispatch.clone();
    runtime.run(move || {
        let span = tracing::dispatcher::with_default(&leaks, || info_span!("leaked"));
        std::mem::forget(span.enter());
    });
    assert!(
        recorder.take().ends_with(&[Told::Exit("leaked".into()), Told::Close("leaked".into())])
    );
    runtime.run(|| with_default(&dispatch, || info!("next")));
    assert_eq!(events(&recorder.take()), [event("next", &[])]);
}

/// A layer that enters a span, and forgets it, when one is closed: the first of a coroutine's own.
struct EntersAtTheEnd(Arc<OnceLock<WeakDispatch>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for EntersAtTheEnd {
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let dispatch = self.0.get().and_then(WeakDispatch::upgrade);
        if let Some(dispatch) = dispatch.filter(|_| label(&id, &context).starts_with("coroutine")) {
            tracing::dispatcher::with_default(&dispatch, || {
                let span = info_span!("late");
                std::mem::forget(span.enter());
            });
        }
    }
}

#[test]
fn what_a_subscriber_enters_at_the_end_of_a_coroutine_is_left_there() {
    let recorder = Recorder::default();
    let own = Arc::new(OnceLock::new());
    let layers = tracing_subscriber::registry().with(recorder.clone());
    let dispatch = Dispatch::new(Follow::new(layers.with(EntersAtTheEnd(own.clone()))));
    own.set(dispatch.downgrade()).unwrap();
    runtime(1).run(|| {
        with_default(&dispatch, || pirn::spawn(|| ())).join().unwrap();
        with_default(&dispatch, || info!("next"));
    });
    let told = recorder.take();
    for one in [Told::Enter("late".into()), Told::Exit("late".into()), Told::Close("late".into())] {
        assert!(told.contains(&one), "{one:?}: {told:?}");
    }
    assert_eq!(events(&told), [event("next", &[])]);
}

#[test]
fn panics_and_cancellations_leave_their_spans() {
    let recorder = Recorder::default();
    let dispatch = recorder.dispatch();
    runtime(1).run(|| {
        let panics = dispatch.clone();
        let panicking = pirn::spawn(move || {
            with_default(&panics, || {
                let _span = info_span!("panics").entered();
                pirn::thread::yield_now();
                std::panic::resume_unwind(Box::new("meant"));
            });
        });
        let waits = dispatch.clone();
        let waiting = pirn::spawn(move || {
            with_default(&waits, || {
                let _span = info_span!("cancelled").entered();
                let _says = Says;
                pirn::thread::park();
                pirn::thread::park();
            });
        });
        assert!(panicking.join().is_err());
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is::<pirn::Cancelled>());
        with_default(&dispatch, || info!("outside"));
    });
    struct Says;
    impl Drop for Says {
        fn drop(&mut self) {
            // Parks while it unwinds, too.
            pirn::thread::sleep(Duration::from_millis(1));
            info!("unwinds");
        }
    }
    let told = recorder.take();
    let expected = [event("unwinds", &["cancelled"]), event("outside", &[])];
    assert_eq!(events(&told), expected);
    for name in ["panics", "cancelled"] {
        assert!(told.contains(&Told::Close(name.into())), "{name}: {told:?}");
    }
}

#[test]
fn a_subscriber_that_panics_at_a_switch_ends_nothing() {
    let recorder = Recorder::default();
    let dispatch = recorder.dispatch();
    let told = recorder.clone();
    runtime(1).run(move || {
        with_default(&dispatch, || {
            let _span = info_span!("mine").entered();
            // One exit, and one entry.
            told.panics.store(2, Ordering::SeqCst);
            pirn::thread::yield_now();
            assert_eq!(told.panics.load(Ordering::SeqCst), 0);
            pirn::thread::yield_now();
            info!("unharmed");
        });
    });
    assert_eq!(events(&recorder.take()), [event("unharmed", &["mine"])]);
}

/// A layer that waits in pirn, and logs, when it is told of entries and exits.
struct Waits(pirn::sync::Mutex<u64>);

impl<S: Subscriber> Layer<S> for Waits {
    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        pirn::thread::sleep(Duration::from_micros(50));
        *self.0.lock().unwrap() += 1;
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        *self.0.lock().unwrap() += 1;
        pirn::thread::yield_now();
        pirn::thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn a_subscriber_that_waits_at_a_switch_keeps_the_thread() {
    let recorder = Recorder::default();
    let waits = Waits(pirn::sync::Mutex::new(0));
    let layers = tracing_subscriber::registry().with(recorder.clone()).with(waits);
    let dispatch = Dispatch::new(Follow::new(layers));
    runtime(2).run(|| {
        let all: Vec<_> = (0..20)
            .map(|number| {
                let dispatch = dispatch.clone();
                pirn::spawn(move || {
                    with_default(&dispatch, || {
                        let name = number.to_string();
                        let _span = info_span!("span", number).entered();
                        for _ in 0..5 {
                            pirn::thread::yield_now();
                            pirn::thread::sleep(Duration::from_micros(10));
                            info!("{name}");
                        }
                    });
                })
            })
            .collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    let events = events(&recorder.take());
    assert_eq!(events.len(), 100);
    for (message, around) in events {
        assert_eq!(around, [format!("span number={message}")]);
    }
}

#[test]
fn the_span_of_a_coroutine_is_a_child_of_its_spawners_and_is_closed_before_join_returns() {
    let recorder = Recorder::default();
    let dispatch = recorder.dispatch();
    runtime(2).run(|| {
        with_default(&dispatch, || {
            let _request = info_span!("request").entered();
            let named = dispatch.clone();
            let build = pirn::thread::Builder::new().name("named".into());
            let child = build.spawn(move || {
                let id = pirn::thread::current().name().map(str::to_owned);
                with_default(&named, || info!("{}", id.unwrap()));
            });
            child.unwrap().join().unwrap();
            let told = recorder.take();
            let Some(Told::New(own)) =
                told.iter().find(|one| matches!(one, Told::New(name) if name.contains("name=")))
            else {
                panic!("{told:?}");
            };
            assert!(own.starts_with("coroutine id=") && own.contains(r#"name="named""#), "{own}");
            assert!(own.contains(&format!("spawned_at={}:", file!())), "{own}");
            let expected = Told::Event("named".into(), vec![own.clone(), "request".into()]);
            assert!(told.contains(&expected), "{told:?}");
            assert!(told.contains(&Told::Close(own.clone())), "{told:?}");
        });
    });
}

#[test]
fn a_default_dispatcher_of_a_coroutine_is_not_its_neighbours() {
    let (ours, theirs) = (Recorder::default(), Recorder::default());
    let (first, second) = (ours.dispatch(), theirs.dispatch());
    runtime(1).run(|| {
        let other = pirn::spawn(move || {
            with_default(&second, || {
                for _ in 0..10 {
                    pirn::thread::yield_now();
                    info!("theirs");
                }
            });
        });
        let caught = catch_unwind(AssertUnwindSafe(|| {
            with_default(&first, || {
                for _ in 0..5 {
                    pirn::thread::yield_now();
                    info!("ours");
                }
                std::panic::resume_unwind(Box::new(()));
            });
        }));
        assert!(caught.is_err());
        info!("nobody's");
        other.join().unwrap();
    });
    assert_eq!(events(&ours.take()), vec![event("ours", &[]); 5]);
    assert_eq!(events(&theirs.take()), vec![event("theirs", &[]); 10]);
}

#[test]
fn plain_threads_are_as_ever() {
    let recorder = Recorder::default();
    let dispatch = recorder.dispatch();
    with_default(&dispatch, || {
        let _span = info_span!("thread").entered();
        pirn::thread::sleep(Duration::from_millis(1));
        info!("inside");
    });
    assert!(dispatch.downcast_ref::<tracing_subscriber::Registry>().is_some());
    let told = recorder.take();
    assert_eq!(events(&told), [event("inside", &["thread"])]);
    assert_eq!(told.iter().filter(|one| matches!(one, Told::Enter(_))).count(), 1);
}

/// A small generator of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Enters and leaves spans at random, and waits; each event says the spans that it is to be in.
fn wander(random: &mut Random, around: &mut Vec<String>, depth: u64) {
    for _ in 0..3 {
        match random.below(6) {
            0 => pirn::thread::yield_now(),
            1 => pirn::thread::sleep(Duration::from_micros(random.below(200))),
            2 | 3 if depth < 5 => {
                let number = random.0;
                let _span = info_span!("span", number).entered();
                around.insert(0, format!("span number={number}"));
                wander(random, around, depth + 1);
                around.remove(0);
            }
            _ => info!("{}", around.join(",")),
        }
    }
}

#[test]
fn hundreds_of_coroutines_on_four_workers_have_each_their_own_spans() {
    for seed in 1..=20_u64 {
        let recorder = Recorder::default();
        let dispatch = recorder.dispatch();
        runtime(4).run(|| {
            let spawn = |number: u64| {
                let dispatch = dispatch.clone();
                pirn::spawn(move || {
                    with_default(&dispatch, || {
                        let mut random = Random(seed << 32 | (number + 1));
                        for _ in 0..5 {
                            wander(&mut random, &mut Vec::new(), 0);
                        }
                    });
                })
            };
            let all: Vec<_> = (0..300).map(spawn).collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
        let told = recorder.take();
        let mut balance = HashMap::new();
        for one in &told {
            match one {
                Told::Enter(name) => *balance.entry(name).or_insert(0) += 1,
                Told::Exit(name) => *balance.entry(name).or_insert(0) -= 1,
                _ => {}
            }
        }
        assert!(balance.values().all(|&n| n == 0), "each entry has its exit");
        let events = events(&told);
        assert!(events.len() > 1000);
        for (message, around) in events {
            assert_eq!(around.join(","), message, "seed {seed}");
        }
    }
}

#[test]
fn lines_of_json_carry_the_spans_of_their_coroutine() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    let dispatch = Dispatch::new(Follow::new(tracing_subscriber::registry().with(layer)));
    runtime(1).run(|| {
        let all = [1, 2, 3].map(|number| {
            let dispatch = dispatch.clone();
            pirn::spawn(move || {
                with_default(&dispatch, || {
                    let _span = info_span!("request", number).entered();
                    pirn::thread::yield_now();
                    info!(of = number, "line");
                });
            })
        });
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    for number in 1..=3 {
        let own = format!(r#""message":"line","of":{number}"#);
        let line = text.lines().find(|line| line.contains(&own)).unwrap();
        let span = format!(r#""span":{{"number":{number},"name":"request"}}"#);
        assert!(line.contains(&span), "{line}");
    }
}
