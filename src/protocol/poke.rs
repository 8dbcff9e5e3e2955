//! Says to a thread that there is something to look at before its next wait: a scope that is over.
//!
//! ```text
//!   whoever ends a scope            the thread that waits
//!   says that the scope is over     heeds: takes the poke, if there is one
//!   pokes                           looks at its scopes
//!   full fence                      opens a wait
//!   claims the wait, if it is open  full fence
//!                                   looks for a poke
//! ```
//!
//! To heed is a read-modify-write: a plain store might stand in the thread's store buffer while it looks
//! at its scopes, and then undo a poke for one that it has not seen to be over. So is a poke: who heeds
//! one sees what was written before those that it has overwritten, too.
//!
//! Coroutines have the same in a bit of their [status](super::status).

use crate::primitive::sync::atomic::{AtomicBool, Ordering};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Poke(AtomicBool);

impl Poke {
    pub(crate) fn new() -> Self {
        Poke(AtomicBool::new(false))
    }

    /// Said after what there is to look at has been written.
    pub(crate) fn say(&self) {
        self.0.swap(true, Ordering::Release);
    }

    /// Said by the thread before it looks.
    pub(crate) fn heed(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }

    /// Whether there is something new since then. Asked when the wait is open, behind a fence.
    pub(crate) fn is_said(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::protocol::park_word::ParkWord;
    use loom::sync::Arc;
    use loom::sync::atomic::fence;

    /// A scope that ends is seen before the wait, or ends it.
    #[test]
    fn no_wait_outlasts_its_scope() {
        loom::model(|| {
            let shared = Arc::new((Poke::new(), ParkWord::new(), AtomicBool::new(false)));
            let theirs = shared.clone();
            let canceller = loom::thread::spawn(move || {
                let (poke, word, over) = &*theirs;
                over.store(true, Ordering::Release);
                poke.say();
                fence(Ordering::SeqCst);
                word.claim_current()
            });
            let (poke, word, over) = &*shared;
            // Another one's, which may overwrite that one.
            poke.say();
            poke.heed();
            let seen = over.load(Ordering::Acquire) || {
                let seq = word.begin();
                fence(Ordering::SeqCst);
                poke.is_said() && word.retract(seq)
            };
            let ended = canceller.join().unwrap();
            assert!(seen || ended, "the wait goes on");
        });
    }
}
