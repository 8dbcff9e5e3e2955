//! Steps of the wall clock change nothing: no sleep and no timeout looks at it.
//!
//! This binary has a `clock_gettime` of its own, which std, the allocator and everything else in
//! the process call. It shifts the wall clock by as much as a test likes, and leaves the others.

#![expect(unsafe_code, reason = "stands in for functions of libc")]

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Seconds by which the wall clock is off.
static SHIFT: AtomicI64 = AtomicI64::new(0);
static ASKED: AtomicU64 = AtomicU64::new(0);

fn real(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the caller's pointer, as given to `clock_gettime`.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int }
}

fn is_wall_clock(clock: libc::clockid_t) -> bool {
    [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE, libc::CLOCK_TAI].contains(&clock)
}

/// Stands in for libc's.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    let outcome = real(clock, time);
    if outcome == 0 && is_wall_clock(clock) {
        ASKED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the system call has just written it.
        unsafe { (*time).tv_sec += SHIFT.load(Ordering::Relaxed) };
    }
    outcome
}

/// Stands in for libc's.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(
    time: *mut libc::timeval,
    _zone: *mut libc::c_void,
) -> libc::c_int {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place of this function's own.
    let outcome = unsafe { clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    // SAFETY: the caller's pointer, if there is one.
    if let Some(time) = unsafe { time.as_mut() } {
        *time = libc::timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 };
    }
    outcome
}

/// Stands in for libc's.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(out: *mut libc::time_t) -> libc::time_t {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place of this function's own.
    unsafe { clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    // SAFETY: the caller's pointer, if there is one.
    if let Some(out) = unsafe { out.as_mut() } {
        *out = now.tv_sec;
    }
    now.tv_sec
}

const HOUR: i64 = 3600;

/// Steps the clock forth and back until it is told to stop.
struct Stepper {
    stop: &'static AtomicBool,
    thread: Option<std::thread::JoinHandle<()>>,
}

static STOP: AtomicBool = AtomicBool::new(false);
static STEPS: AtomicU64 = AtomicU64::new(0);

impl Stepper {
    fn start() -> Stepper {
        STOP.store(false, Ordering::Relaxed);
        STEPS.store(0, Ordering::Relaxed);
        let thread = std::thread::spawn(|| {
            while !STOP.load(Ordering::Relaxed) {
                for shift in [HOUR, 0, -HOUR, 24 * HOUR, -24 * HOUR] {
                    SHIFT.store(shift, Ordering::Relaxed);
                    STEPS.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_micros(700));
                }
            }
            SHIFT.store(0, Ordering::Relaxed);
        });
        Stepper { stop: &STOP, thread: Some(thread) }
    }

    fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("stopped once").join().unwrap();
    }
}

/// Both directions of being wrong: woken early, and not woken for an hour.
fn takes_as_long_as_it_should(what: &str, duration: Duration, wait: impl FnOnce()) {
    let start = Instant::now();
    wait();
    let took = start.elapsed();
    assert!(took >= duration, "{what}: {took:?} instead of {duration:?}");
    assert!(took < duration + Duration::from_secs(120), "{what}: {took:?}");
}

fn the_fake_is_in_effect() {
    let before = SystemTime::now();
    let start = Instant::now();
    SHIFT.store(HOUR, Ordering::Relaxed);
    let ahead = SystemTime::now().duration_since(before).unwrap();
    assert!(ahead >= Duration::from_secs(3600), "{ahead:?}");
    SHIFT.store(-HOUR, Ordering::Relaxed);
    let behind = before.duration_since(SystemTime::now()).unwrap();
    assert!(behind > Duration::from_secs(3590), "{behind:?}");
    SHIFT.store(0, Ordering::Relaxed);
    assert!(start.elapsed() < Duration::from_secs(60), "the monotonic clock must not step");
    assert!(ASKED.load(Ordering::Relaxed) >= 3);
}

fn waits(workers: usize) {
    use std::io::{ErrorKind, Read};

    let duration = Duration::from_millis(60);
    let runtime = pirn::Builder::new().workers(workers).build().unwrap();
    runtime.run(|| {
        let sleepers: Vec<_> = (0..100)
            .map(|number| {
                pirn::spawn(move || {
                    let duration = Duration::from_millis(number);
                    takes_as_long_as_it_should("sleep", duration, || pirn::thread::sleep(duration));
                    takes_as_long_as_it_should("sleep_until", duration, || {
                        pirn::thread::sleep_until(Instant::now() + duration);
                    });
                    takes_as_long_as_it_should("park_timeout", duration, || {
                        pirn::thread::park_timeout(duration);
                    });
                })
            })
            .collect();
        let reader = pirn::spawn(move || {
            let listener = pirn::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = pirn::net::TcpStream::connect(address).unwrap();
            let (_peer, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(duration)).unwrap();
            for _ in 0..3 {
                takes_as_long_as_it_should("a read", duration, || {
                    let kind = stream.read(&mut [0]).unwrap_err().kind();
                    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
                });
            }
        });
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        reader.join().unwrap();
    });
    // Plain threads.
    takes_as_long_as_it_should("a thread's sleep", duration, || pirn::thread::sleep(duration));
    takes_as_long_as_it_should("a thread's park", duration, || {
        pirn::thread::park_timeout(duration);
    });
    // The bounded wait for a runtime's end.
    let (sent, received) = std::sync::mpsc::channel();
    let open = std::sync::Arc::new(AtomicBool::new(false));
    let theirs = open.clone();
    let runaway = runtime.spawn(move || {
        sent.send(()).unwrap();
        while !theirs.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    });
    received.recv().unwrap();
    takes_as_long_as_it_should("a shutdown", duration, || {
        runtime.shutdown(duration).unwrap_err();
    });
    open.store(true, Ordering::Relaxed);
    runaway.join().unwrap();
}

/// One test, since there is one wall clock.
#[test]
fn steps_of_the_wall_clock_change_nothing() {
    the_fake_is_in_effect();
    for workers in [1, 2, 4, 8] {
        let stepper = Stepper::start();
        // On a busy machine the clock may step seldom.
        while STEPS.load(Ordering::Relaxed) < 50 {
            waits(workers);
        }
        stepper.stop();
    }
    // One step, far, in the middle of each wait, forth and back.
    for shift in [HOUR, -HOUR] {
        let runtime = pirn::Builder::new().workers(2).build().unwrap();
        let duration = Duration::from_millis(50);
        let sleeper = runtime.spawn(move || {
            takes_as_long_as_it_should("sleep", duration, || pirn::thread::sleep(duration));
        });
        runtime.run(|| pirn::thread::sleep(Duration::from_millis(10)));
        SHIFT.store(shift, Ordering::Relaxed);
        sleeper.join().unwrap();
        SHIFT.store(0, Ordering::Relaxed);
    }
}
