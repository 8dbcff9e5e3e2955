//! [`SingleFlight`].

use crate::sync::{Event, Mutex};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, PoisonError};

/// Does for several callers at once what would be the same work for each: Go's `singleflight`.
///
/// While a call for a key is in flight, others for that key wait for it and get a clone of its
/// value. Nothing is kept after that: it is no cache.
///
/// # Examples
///
/// ```
/// use pirn::sync::{Arc, SingleFlight};
///
/// let flights = Arc::new(SingleFlight::new());
/// let callers: Vec<_> = (0..8)
///     .map(|_| {
///         let flights = flights.clone();
///         pirn::spawn(move || flights.run("answer", || 42))
///     })
///     .collect();
/// assert!(callers.into_iter().all(|caller| caller.join().unwrap() == 42));
/// ```
pub struct SingleFlight<K, V> {
    flights: Mutex<HashMap<K, Arc<Flight<V>>>>,
}

struct Flight<V> {
    /// `None` once it has landed means that it has failed.
    value: Mutex<Option<V>>,
    landed: Event,
}

/// Ends a flight, however its work ends.
struct Pilot<'a, K: Eq + Hash, V> {
    flights: &'a SingleFlight<K, V>,
    key: &'a K,
    flight: Arc<Flight<V>>,
}

impl<K: Eq + Hash, V> Drop for Pilot<'_, K, V> {
    fn drop(&mut self) {
        /// Tells those who wait, also if a key's `Hash` or `Eq` panics.
        struct Land<'a>(&'a Event);

        impl Drop for Land<'_> {
            fn drop(&mut self) {
                self.0.set();
            }
        }

        let _land = Land(&self.flight.landed);
        self.flights.end(self.key, &self.flight);
    }
}

impl<K: Eq + Hash, V> SingleFlight<K, V> {
    /// Without flights.
    #[must_use]
    pub fn new() -> SingleFlight<K, V> {
        SingleFlight { flights: Mutex::new(HashMap::new()) }
    }

    /// Forgets the flight for `key`, if there is one: those who wait for it still get its value,
    /// but the next caller starts another.
    pub fn forget(&self, key: &K) {
        let removed = self.lock().remove_entry(key);
        drop(removed);
    }

    /// Takes a flight out, unless it was forgotten.
    fn end(&self, key: &K, flight: &Arc<Flight<V>>) {
        let mut flights = self.lock();
        if flights.get(key).is_some_and(|other| Arc::ptr_eq(other, flight)) {
            let removed = flights.remove_entry(key);
            drop(flights);
            drop(removed);
        }
    }

    fn lock(&self) -> crate::sync::MutexGuard<'_, HashMap<K, Arc<Flight<V>>>> {
        // A user's `Hash` or `Eq` that panics leaves the map as it was.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    /// The value of `work`, of this call's or of one that is in flight for the same key.
    ///
    /// If the caller whose work it is panics or is cancelled, the next one that waits does its own.
    ///
    /// # Panics
    ///
    /// If `work` does. A `work` that waits for its own key waits for ever.
    pub fn run(&self, key: K, work: impl FnOnce() -> V) -> V {
        loop {
            let mut flights = self.lock();
            // One that has landed and is still here could not be taken out: `Hash` or `Eq` panicked.
            let in_flight = |flight: &&Arc<Flight<V>>| !flight.landed.is_set();
            let Some(flight) = flights.get(&key).filter(in_flight).cloned() else {
                let flight = Arc::new(Flight { value: Mutex::new(None), landed: Event::new() });
                let left_over = flights.insert(key.clone(), flight.clone());
                drop(flights);
                drop(left_over);
                let pilot = Pilot { flights: self, key: &key, flight };
                let value = work();
                *value_of(&pilot.flight) = Some(value.clone());
                return value;
            };
            drop(flights);
            flight.landed.wait();
            let value = value_of(&flight).clone();
            if let Some(value) = value {
                return value;
            }
        }
    }
}

fn value_of<V>(flight: &Flight<V>) -> crate::sync::MutexGuard<'_, Option<V>> {
    // A user's `Clone` that panics leaves the value as it was.
    flight.value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq + Hash, V> Default for SingleFlight<K, V> {
    fn default() -> SingleFlight<K, V> {
        SingleFlight::new()
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").finish_non_exhaustive()
    }
}
