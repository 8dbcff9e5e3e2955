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
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    /// The thread serves no more, whatever has ended it.
    ended: Arc<AtomicBool>,
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
    let known = open.iter().filter(|(other, _)| *other == path);
    let mut known = known.filter_map(|(_, inspector)| inspector.upgrade());
    if let Some(inspector) = known.find(|one| !one.ended.load(Ordering::Acquire)) {
        return Ok(inspector);
    }
    let poller = Poller::new()?;
    let waker = poller.waker();
    let (listener, place) = socket::listen(&path)?;
    let inspector = serve(place.clone(), waker, |stop| {
        let server = Server::new(poller, listener, stop, metrics, server::SLOW)?;
        Ok(move || server.serve())
    });
    let inspector = inspector.inspect_err(|_| place.remove())?;
    open.push((path, Arc::downgrade(&inspector)));
    Ok(inspector)
}

/// Has a thread serve at that place, by what `prepare` makes.
fn serve<F>(
    place: Place,
    waker: Waker,
    prepare: impl FnOnce(Arc<AtomicBool>) -> io::Result<F>,
) -> io::Result<Arc<Inspector>>
where
    F: FnOnce() -> io::Result<()> + Send + 'static,
{
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let server = prepare(stop.clone())?;
    let theirs = (place.clone(), ended.clone());
    let serve = move || {
        let _serving = Serving::new(theirs);
        // There is nobody to be told of an error: whoever connects finds nobody there.
        let _broken = server();
    };
    // Before the thread, which takes it out again.
    let mut places = lock(&PLACES);
    let thread = thread::Builder::new().name("pirn-inspect".into()).spawn(serve)?;
    if places.is_empty() {
        register_for_exit();
    }
    places.push(place);
    drop(places);
    Ok(Arc::new(Inspector { stop, waker, thread: Mutex::new(Some(thread)), ended }))
}

/// What the thread puts back when it ends.
struct Serving {
    place: Place,
    ended: Arc<AtomicBool>,
}

impl Serving {
    fn new((place, ended): (Place, Arc<AtomicBool>)) -> Serving {
        COMMON_THREADS.fetch_add(1, Ordering::Release);
        Serving { place, ended }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut places = lock(&PLACES);
        places.retain(|place| *place != self.place);
        self.place.remove();
        drop(places);
        self.ended.store(true, Ordering::Release);
        // While the thread is there: too few are no deadlock, and too many could be one that is none.
        COMMON_THREADS.fetch_sub(1, Ordering::Release);
    }
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_puts_everything_back() {
        let folder = std::env::temp_dir().join(format!("pirn-serve-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("s");
        let (listener, place) = socket::listen(&path).unwrap();
        let waker = Poller::new().unwrap().waker();
        let broken = serve(place, waker, |_| {
            Ok(move || {
                drop(listener);
                Err(io::ErrorKind::Other.into())
            })
        });
        let broken = broken.unwrap();
        lock(&OPEN).push((path.clone(), Arc::downgrade(&broken)));
        lock(&broken.thread).take().unwrap().join().unwrap();
        assert!(!path.exists());
        // And the path is free for another, which the end of the first leaves alone.
        let metrics: MetricsToJson = |_| String::new();
        let other = open(&path, metrics).unwrap();
        assert!(!Arc::ptr_eq(&broken, &other));
        drop(broken);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
        std::fs::remove_dir(folder).unwrap();
    }
}
