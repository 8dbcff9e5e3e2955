#![doc = include_str!("../../docs/inspect.md")]

mod answer;
mod request;
mod server;
mod socket;
mod survey;
mod sys;

use crate::dump::{COMMON_THREADS, CoroutineState};
use crate::sched::Shared;
use netpoll::{Poller, Waker};
use server::Server;
use socket::Place;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

/// Of the protocol.
const VERSION: u64 = 1;

const STATES: [CoroutineState; 5] = [
    CoroutineState::Unstarted,
    CoroutineState::Ready,
    CoroutineState::Running,
    CoroutineState::Parked,
    CoroutineState::Moving,
];

/// A runtime's metrics as JSON.
type MetricsToJson = fn(&Shared) -> String;

/// A socket at which the process can be inspected, until the last who has this drops it.
pub(crate) struct Inspector {
    place: Place,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// The sockets of this process. Locked while one is opened, so that a path is opened once.
static OPEN: Mutex<Vec<(PathBuf, Weak<Inspector>)>> = Mutex::new(Vec::new());

/// What is to be removed when the process exits. Apart from the other, which is locked while a thread
/// is waited for.
static PLACES: Mutex<Vec<Place>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the socket, or finds the one that this process has opened there.
pub(crate) fn open(path: &Path, metrics: MetricsToJson) -> io::Result<Arc<Inspector>> {
    let mut path = std::path::absolute(path)?;
    if path.is_dir() {
        path.push(format!("pirn-{}.sock", std::process::id()));
    }
    let mut open = lock(&OPEN);
    open.retain(|(_, inspector)| inspector.strong_count() > 0);
    let known = open.iter().find(|(other, _)| *other == path);
    if let Some(inspector) = known.and_then(|(_, inspector)| inspector.upgrade()) {
        return Ok(inspector);
    }
    let poller = Poller::new()?;
    let (listener, place) = socket::listen(&path)?;
    let inspector =
        start(poller, listener, place.clone(), metrics).inspect_err(|_| place.remove())?;
    open.push((path, Arc::downgrade(&inspector)));
    Ok(inspector)
}

fn start(
    poller: Poller,
    listener: std::os::unix::net::UnixListener,
    place: Place,
    metrics: MetricsToJson,
) -> io::Result<Arc<Inspector>> {
    let (waker, stop) = (poller.waker(), Arc::new(AtomicBool::new(false)));
    let server = Server::new(poller, listener, stop.clone(), metrics)?;
    let thread =
        thread::Builder::new().name("pirn-inspect".into()).spawn(move || server.serve())?;
    COMMON_THREADS.fetch_add(1, Ordering::Release);
    let mut places = lock(&PLACES);
    if places.is_empty() {
        register_for_exit();
    }
    places.push(place.clone());
    Ok(Arc::new(Inspector { place, stop, waker, thread: Mutex::new(Some(thread)) }))
}

fn register_for_exit() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);

    extern "C" fn remove_all() {
        // Whoever holds it is about to remove one, or to add one that stays: it is stale from now on.
        if let Ok(places) = PLACES.try_lock() {
            places.iter().for_each(Place::remove);
        }
    }
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        sys::at_exit(remove_all);
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let woken = self.waker.wake();
        if let Some(thread) = lock(&self.thread).take()
            && woken.is_ok()
        {
            let _panicked = thread.join();
            COMMON_THREADS.fetch_sub(1, Ordering::Release);
        }
        let mut places = lock(&PLACES);
        places.retain(|place| *place != self.place);
        self.place.remove();
    }
}
