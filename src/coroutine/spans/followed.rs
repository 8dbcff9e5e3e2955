//! The spans of `tracing` in which a coroutine is, and the dispatchers that it has made its own.
//!
//! A subscriber keeps the spans that are entered per thread, and `tracing` the default dispatcher. So
//! a coroutine that switches away leaves them, the innermost first, and enters them again when it
//! runs on. What has been entered is noted here, by [`crate::tracing::Follow`].
//!
//! Leaving and entering calls the subscriber on the coroutine's own stack, before the switch and
//! after it. A lock of a channel may be held there, and a wait is half done; so what parks in those
//! calls keeps its thread ([`Spans::left_for`] says `false`). Their panics end there, and no
//! cancellation is delivered to them.
//!
//! Each note holds a reference to its span. So what is entered again is always there, whoever has
//! dropped the last handle while the coroutine was away.

use crate::coroutine::execution::{contained, with_spans};
use crate::park;
use crate::sched;
use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::Location;
use std::sync::Arc;
use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing::level_filters::LevelFilter;
use tracing::span::{Id, Span};
use tracing::{Level, Subscriber};

/// Who is told of a span.
pub(crate) type Told = Arc<dyn Subscriber + Send + Sync>;

/// A type that only a subscriber which follows coroutines says to be.
pub(crate) struct Follows;

/// See the module's description.
pub(crate) struct Spans {
    /// Something is entered, so a switch has to do with it.
    entered: Cell<bool>,
    followed: RefCell<Option<Box<Followed>>>,
}

#[derive(Default)]
struct Followed {
    /// The number that was taken for the coroutine when its span was made.
    number: Option<u64>,
    /// The span of the coroutine itself.
    own: Option<Span>,
    /// The innermost last.
    entries: Vec<Entry>,
    /// The subscriber is being called on behalf of the runtime: nobody switches.
    calling: bool,
}

enum Entry {
    Span {
        told: Told,
        /// A reference.
        id: Id,
    },
    Default {
        dispatch: Dispatch,
        /// While it is this thread's default.
        guard: Option<DefaultGuard>,
    },
}

/// Calls a subscriber on behalf of the runtime.
fn call(f: impl FnOnce()) {
    contained(|| park::shielded(f));
}

impl Entry {
    fn leave(&mut self) {
        match self {
            Entry::Span { told, id } => call(|| told.exit(id)),
            // May drop the last reference to what was the default before.
            Entry::Default { guard, .. } => call(|| drop(guard.take())),
        }
    }

    fn enter_again(&mut self) {
        match self {
            Entry::Span { told, id } => call(|| told.enter(id)),
            Entry::Default { dispatch, guard } => *guard = Some(dispatcher::set_default(dispatch)),
        }
    }

    /// Leaves for good.
    fn end(mut self) {
        self.leave();
        call(|| match self {
            Entry::Span { told, id } => {
                let _last = told.try_close(id);
            }
            Entry::Default { dispatch, .. } => drop(dispatch),
        });
    }
}

impl Spans {
    fn new(followed: Option<Box<Followed>>) -> Spans {
        Spans { entered: Cell::new(false), followed: RefCell::new(followed) }
    }

    /// Makes the span of a coroutine that is being spawned: a child of its spawner's. `number` gives
    /// the coroutine's number, if it is needed before the coroutine is there.
    #[inline]
    pub(crate) fn at_spawn(
        name: Option<&str>,
        spawned_at: &'static Location<'static>,
        number: impl FnOnce() -> u64,
    ) -> Spans {
        if LevelFilter::current() < Level::DEBUG {
            return Spans::new(None);
        }
        Spans::with_own(name, spawned_at, number)
    }

    #[cold]
    #[inline(never)]
    fn with_own(
        name: Option<&str>,
        spawned_at: &'static Location<'static>,
        number: impl FnOnce() -> u64,
    ) -> Spans {
        // Another subscriber would keep the span on the thread when the coroutine leaves.
        if !dispatcher::get_default(|dispatch| dispatch.is::<Follows>()) {
            return Spans::new(None);
        }
        let number = number();
        let mut own = Span::none();
        // The spawner is in the middle of a spawn, where a migrating one must not be moved.
        without_switching(|| {
            own = tracing::debug_span!(
                target: "pirn", "coroutine", id = number, name, spawned_at = %spawned_at
            );
        });
        Spans::new(Some(Box::new(Followed {
            number: Some(number),
            own: Some(own),
            ..Followed::default()
        })))
    }

    /// The number that was taken for the coroutine at its spawn, if one was.
    #[inline]
    pub(crate) fn number(&self) -> Option<u64> {
        self.followed.borrow().as_ref().and_then(|followed| followed.number)
    }

    /// Whether there is anything to end.
    #[inline]
    pub(crate) fn are_used(&self) -> bool {
        self.followed.borrow().is_some()
    }

    /// Enters the coroutine's own span. On its own stack, at its start.
    #[inline]
    pub(crate) fn begin(&self) {
        if self.are_used() {
            self.enter_own();
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_own(&self) {
        let own = self.with(|followed| followed.own.clone());
        call(|| {
            // The subscriber's wrapper notes it here, like any other.
            own.iter().for_each(|own| {
                own.with_subscriber(|(id, dispatch)| dispatch.enter(id));
            });
        });
    }

    /// Leaves what is still entered, whose guards were forgotten, and the coroutine's own span.
    ///
    /// All that is dropped has been taken out first: its drop may call the subscriber, which may
    /// enter spans of its own here. Those are left in the next round.
    #[cold]
    #[inline(never)]
    pub(crate) fn end(&self) {
        loop {
            let (own, entries) = self.with(|all| (all.own.take(), mem::take(&mut all.entries)));
            if own.is_none() && entries.is_empty() {
                break;
            }
            without_switching(|| {
                entries.into_iter().rev().for_each(Entry::end);
                call(|| drop(own));
            });
        }
        self.entered.set(false);
        drop(self.followed.take());
    }

    /// Whether something is entered, so that a switch has to do with it.
    #[inline]
    pub(crate) fn are_entered(&self) -> bool {
        self.entered.get()
    }

    /// Calls `switch`, which switches away and back if it says so, with nothing entered on this thread
    /// meanwhile. `false`: nobody is to switch here, and `switch` was perhaps not called.
    #[inline]
    pub(crate) fn left_for(&self, switch: impl FnOnce() -> bool) -> bool {
        if !self.entered.get() {
            return switch();
        }
        let Some(left) = self.leave() else { return false };
        let switched = switch();
        self.enter_again(left);
        switched
    }

    #[cold]
    #[inline(never)]
    fn leave(&self) -> Option<Vec<Entry>> {
        let mut left = self.with(|followed| {
            let begins = !mem::replace(&mut followed.calling, true);
            begins.then(|| mem::take(&mut followed.entries))
        })?;
        left.iter_mut().rev().for_each(Entry::leave);
        Some(left)
    }

    #[cold]
    #[inline(never)]
    fn enter_again(&self, mut left: Vec<Entry>) {
        left.iter_mut().for_each(Entry::enter_again);
        self.with(|followed| {
            // What a call has entered and not left.
            left.append(&mut followed.entries);
            followed.entries = left;
            followed.calling = false;
            self.entered.set(!followed.entries.is_empty());
        });
    }

    fn with<R>(&self, f: impl FnOnce(&mut Followed) -> R) -> R {
        f(self.followed.borrow_mut().get_or_insert_default())
    }

    fn push(&self, entry: Entry) {
        self.with(|followed| followed.entries.push(entry));
        self.entered.set(true);
    }

    /// Takes out the innermost that `is` one.
    fn take_last(&self, is: impl Fn(&Entry) -> bool) -> Option<Entry> {
        self.with(|followed| {
            let index = followed.entries.iter().rposition(is)?;
            let entry = followed.entries.remove(index);
            self.entered.set(followed.calling || !followed.entries.is_empty());
            Some(entry)
        })
    }
}

/// Tells a subscriber that its caller enters a span, and notes it if that is a coroutine.
pub(crate) fn enter(told: &Told, id: &Id) {
    // A subscriber that parked in here would have half of an entry on its thread.
    without_switching(|| {
        told.enter(id);
        if sched::in_coroutine() {
            let id = told.clone_span(id);
            with_spans(|spans| spans.push(Entry::Span { told: Arc::clone(told), id }));
        }
    });
}

/// Tells a subscriber that its caller leaves a span: the latest time that it has entered it, as the
/// registry of `tracing-subscriber` has it, whatever it has entered since.
pub(crate) fn exit(told: &Told, id: &Id) {
    let same = |entry: &Entry| {
        matches!(entry, Entry::Span { told: other, id: entered }
            if entered == id && Arc::ptr_eq(told, other))
    };
    let noted = with_spans(|spans| spans.take_last(same)).flatten();
    without_switching(|| told.exit(id));
    if let Some(Entry::Span { told, id }) = noted {
        let _last = told.try_close(id);
    }
}

/// Calls `f` with that dispatcher for the default of the running coroutine, or of the thread.
pub(crate) fn with_default<T>(dispatch: &Dispatch, f: impl FnOnce() -> T) -> T {
    /// Ends it on the way out, also by a panic.
    struct Ends;

    impl Drop for Ends {
        fn drop(&mut self) {
            let is_default = |entry: &Entry| matches!(entry, Entry::Default { .. });
            let entry = with_spans(|spans| spans.take_last(is_default));
            // Sets the default that was before.
            drop(entry);
        }
    }

    let noted = with_spans(|spans| {
        let guard = Some(dispatcher::set_default(dispatch));
        spans.push(Entry::Default { dispatch: dispatch.clone(), guard });
    });
    if noted.is_none() {
        return dispatcher::with_default(dispatch, f);
    }
    let _ends = Ends;
    f()
}

/// Calls `f` with every wait in it keeping the thread.
fn without_switching(f: impl FnOnce()) {
    struct Ends(bool);

    impl Drop for Ends {
        fn drop(&mut self) {
            with_spans(|spans| {
                spans.with(|followed| followed.calling = self.0);
                let entered = spans.with(|followed| !followed.entries.is_empty());
                spans.entered.set(self.0 || entered);
            });
        }
    }

    let before = with_spans(|spans| {
        spans.entered.set(true);
        spans.with(|followed| mem::replace(&mut followed.calling, true))
    });
    let _ends = before.map(Ends);
    f();
}
