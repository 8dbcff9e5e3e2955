//! The token behind `thread::park` and `Thread::unpark`.
//!
//! | value | meaning |
//! |---|---|
//! | `EMPTY` | no token; nobody is parked on it |
//! | `TOKEN` | `unpark` has been called; the next `park` consumes it and returns |
//! | a wait | the owner is parked in the wait of that number |
//!
//! `park` publishes its wait only after it has left its stack, so an unparker that finds it there
//! may resume the owner at once.

use crate::primitive::sync::atomic::{AtomicU64, Ordering};
use crate::protocol::park_word::Seq;

const EMPTY: u64 = 0;
const TOKEN: u64 = 1;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Token(AtomicU64);

impl Token {
    pub(crate) fn new() -> Self {
        Token(AtomicU64::new(EMPTY))
    }

    /// Takes the token if there is one; closes a wait that was published.
    ///
    /// Called before parking, and again by a `park` that is about to return, for any reason: a token that
    /// arrived together with a timeout is consumed by the `park` that timed out, as in std. One that
    /// is cancelled does not return, and leaves it.
    pub(crate) fn consume(&self) -> bool {
        // A load first: the common `park` finds no token, and the cache line stays shared.
        // The swap is an RMW with Acquire: it reads what the unparker wrote before its token.
        self.0.load(Ordering::Relaxed) != EMPTY && self.0.swap(EMPTY, Ordering::Acquire) == TOKEN
    }

    /// Publishes the owner's wait. `false`: a token is there, so the owner must not wait.
    #[must_use = "a token that is there ends the wait"]
    pub(crate) fn publish(&self, wait: Seq) -> bool {
        let wait = wait.to_bits();
        debug_assert!(wait > TOKEN);
        self.0.compare_exchange(EMPTY, wait, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Leaves a token. Returns the wait to end, if the owner was parked.
    #[must_use = "the wait that is returned must be ended"]
    pub(crate) fn give(&self) -> Option<Seq> {
        match self.0.swap(TOKEN, Ordering::AcqRel) {
            EMPTY | TOKEN => None,
            wait => Some(Seq::from_bits(wait)),
        }
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "loom cells are read and written through raw pointers")]
mod models {
    use super::*;
    use crate::protocol::park_word::ParkWord;
    use loom::sync::Arc;

    /// An `unpark` before, during or after `park` is never lost.
    #[test]
    fn unpark_is_not_lost() {
        loom::model(|| {
            let shared = Arc::new((Token::new(), ParkWord::new()));
            let unparker = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    if let Some(wait) = shared.0.give() {
                        assert!(shared.1.claim(wait), "a published wait is open");
                    }
                })
            };
            let (token, word) = &*shared;
            if !token.consume() {
                let seq = word.begin();
                if token.publish(seq) {
                    while word.is_waiting() {
                        loom::thread::yield_now();
                    }
                } else {
                    assert!(word.retract(seq));
                }
                assert!(token.consume());
            }
            unparker.join().unwrap();
        });
    }

    /// A timeout against an `unpark`: whoever wins, one token is either consumed or still there.
    #[test]
    fn timeout_against_unpark() {
        loom::model(|| {
            let shared = Arc::new((Token::new(), ParkWord::new()));
            let unparker = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    if let Some(wait) = shared.0.give() {
                        let _too_late = !shared.1.claim(wait);
                    }
                })
            };
            let (token, word) = &*shared;
            let seq = word.begin();
            let mut got = false;
            if token.publish(seq) {
                // The timer fires.
                if !word.claim(seq) {
                    assert!(!word.is_waiting());
                }
            } else {
                assert!(word.retract(seq));
            }
            got |= token.consume();
            unparker.join().unwrap();
            got |= token.consume();
            assert!(got, "the token was lost");
        });
    }

    /// What the unparker wrote before is seen by the `park` that takes the token, and what the
    /// owner wrote before it published its wait is seen by the unparker that finds it.
    #[test]
    fn a_token_orders_memory() {
        loom::model(|| {
            let shared = Arc::new((
                Token::new(),
                ParkWord::new(),
                loom::cell::UnsafeCell::new(0),
                loom::cell::UnsafeCell::new(0),
            ));
            let unparker = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    let (token, word, to_owner, from_owner) = &*shared;
                    // SAFETY: the model checks that no two accesses to a cell overlap.
                    to_owner.with_mut(|value| unsafe { *value = 7 });
                    if let Some(wait) = token.give() {
                        // SAFETY: as above.
                        from_owner.with(|value| assert_eq!(unsafe { *value }, 9));
                        assert!(word.claim(wait));
                    }
                })
            };
            let (token, word, to_owner, from_owner) = &*shared;
            // SAFETY: as above.
            from_owner.with_mut(|value| unsafe { *value = 9 });
            let seq = word.begin();
            if !token.publish(seq) {
                assert!(word.retract(seq));
            }
            // Whoever resumes the owner orders more; here nothing does but the token.
            while !token.consume() {
                let again = word.begin();
                if token.publish(again) {
                    loom::thread::yield_now();
                } else {
                    assert!(word.retract(again));
                }
            }
            // SAFETY: as above.
            to_owner.with(|value| assert_eq!(unsafe { *value }, 7));
            unparker.join().unwrap();
        });
    }
}
