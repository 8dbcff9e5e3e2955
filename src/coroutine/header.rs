//! What a coroutine is in memory: one allocation with a header of a fixed shape, followed by its
//! closure or its result.
//!
//! [`Coroutine`] is a counted reference to it. The scheduler owns one reference from spawn to
//! completion; while the coroutine is parked, that reference belongs to whoever claims its wait.

#![expect(unsafe_code, reason = "type erasure by hand: one allocation per coroutine")]

use crate::coroutine::execution;
use crate::coroutine::frames;
use crate::coroutine::locals::Locals;
use crate::coroutine::scope::{Failure, ScopeCount};
use crate::coroutine::spans::Spans;
use crate::coroutine::switch::{Suspender, Switch};
#[cfg(debug_assertions)]
use crate::park::HeldGuards;
use crate::park::{Outcome, ParkRequest, ScopeFrame, Ticket};
use crate::protocol::inbox::Linked;
use crate::protocol::lineage::Lineage;
use crate::protocol::park_word::ParkWord;
use crate::protocol::status::Status;
use crate::protocol::token::Token;
use crate::sched::Processor;
use crate::stack::{Class, Stack};
use crate::timers::TimerKey;
use std::cell::{Cell, UnsafeCell};
use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::task::Waker;

/// What every coroutine has.
///
/// Fields outside [`Resident`] may be used by anyone who holds a reference.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) park: ParkWord,
    pub(crate) status: Status,
    /// Where it lives; null until it starts. Written once, by its home, before its first park.
    home: AtomicPtr<Processor>,
    vtable: &'static Vtable,
    resident: Resident,
    link: AtomicPtr<Header>,
    pub(crate) token: Token,
    /// Who spawned it, and whether its wait is being published.
    pub(crate) lineage: Lineage,
    /// When it was spawned or last began to wait: what its machine's watch took for the time.
    pub(crate) since: AtomicU32,
    pub(crate) id: u64,
    pub(crate) spawned_at: &'static Location<'static>,
    /// Few have one, so it takes one word of all.
    pub(crate) name: Option<Box<Box<str>>>,
    /// Who is to be told of its end, governed by [`Status`].
    pub(crate) joiner: UnsafeCell<Option<Joiner>>,
    /// The scope that waits for it.
    pub(crate) scope: Option<Arc<ScopeCount>>,
}

/// Who waits for the end of a coroutine.
pub(crate) enum Joiner {
    /// A wait in `join`.
    Wait(Ticket),
    /// The task that polls the handle.
    Task(Waker),
}

/// What belongs to the home: used by its machine, or by the coroutine itself while it runs.
pub(crate) struct Resident {
    /// What it has on its stack, from its start to its end; null otherwise.
    started: Cell<*const Started>,
    pub(crate) suspender: Cell<Option<Suspender>>,
    /// Why the last wait ended, written by the claimant before it hands the coroutine over.
    pub(crate) outcome: Cell<Outcome>,
    pub(crate) class: Class,
    /// What it waits for, in its suspended frame: from the opening of the wait until it runs again.
    pub(crate) request: Cell<*const ParkRequest>,
    /// May be resumed by any machine, by its spawner's unsafe promise. Then "home" is wherever it
    /// runs or was claimed, and the header's `home` names the runtime instead of a processor.
    migrating: bool,
    /// The spans that it has entered.
    pub(crate) spans: Spans,
    /// It has parked, and not only for others to end.
    pub(crate) stays: Cell<bool>,
    /// A cancellation has begun to unwind it.
    pub(crate) unwound: Cell<bool>,
    /// How often it has been told that it is cancelled.
    pub(crate) deliveries: Cell<u8>,
}

/// More of what belongs to the home, from the start to the end: it is at the top of the stack, in a page
/// that is there anyway.
///
/// Right below is the way back to the machine, in one cache line with what a switch uses of this: the
/// stack's own top is a multiple of 64.
#[repr(C, align(32))]
pub(crate) struct Started {
    switch: UnsafeCell<Switch>,
    /// The home's timer for this coroutine, which never fires later than the request's deadline.
    pub(crate) timer: Cell<Option<TimerKey>>,
    /// Who has called it and runs it in its own `join`, for debuggers; null if nobody does.
    pub(crate) caller: Cell<*const Header>,
    /// Its place among the residents of its home, once it is one of them.
    pub(crate) place: Cell<u32>,
    /// The innermost of the scopes and shields that it is in.
    pub(crate) frames: Cell<*const ScopeFrame>,
    /// The values of its `coroutine_local!`s, if it has any.
    pub(crate) locals: Cell<Option<Box<Locals>>>,
    /// The guards that it holds.
    #[cfg(debug_assertions)]
    pub(crate) held: HeldGuards,
}

/// Where a debugger finds what it shows, in bytes from the header's start.
#[repr(C)]
pub(crate) struct Shape {
    size: u32,
    park: u32,
    home: u32,
    link: u32,
    lineage: u32,
    id: u32,
    spawned_at: u32,
    name: u32,
    /// In [`Started`].
    switch: u32,
    switch_size: u32,
    suspender: u32,
    request: u32,
    class: u32,
    /// In [`Started`].
    caller: u32,
}

impl Shape {
    pub(crate) const HEADER: Shape = Shape {
        size: size_of::<Header>() as u32,
        park: offset_of!(Header, park) as u32,
        home: offset_of!(Header, home) as u32,
        link: offset_of!(Header, link) as u32,
        lineage: offset_of!(Header, lineage) as u32,
        id: offset_of!(Header, id) as u32,
        spawned_at: offset_of!(Header, spawned_at) as u32,
        name: offset_of!(Header, name) as u32,
        switch: offset_of!(Started, switch) as u32,
        switch_size: size_of::<Switch>() as u32,
        suspender: offset_of!(Header, resident.suspender) as u32,
        request: offset_of!(Header, resident.request) as u32,
        class: offset_of!(Header, resident.class) as u32,
        caller: offset_of!(Started, caller) as u32,
    };

    pub(crate) const STARTED: u32 = offset_of!(Header, resident.started) as u32;
}

pub(crate) struct Vtable {
    /// Runs the closure on the coroutine's own stack and stores or drops what comes of it.
    run: unsafe fn(NonNull<Header>),
    /// Moves the result, if it is there, into the room for a `std::thread::Result<T>` at the address
    /// given.
    take_result: unsafe fn(NonNull<Header>, *mut ()) -> bool,
    /// Frees the allocation, whose stage holds nothing any more.
    dealloc: unsafe fn(NonNull<Header>),
}

/// What a spawn decides about its coroutine.
pub(crate) struct Seed {
    pub(crate) id: u64,
    pub(crate) name: Option<Box<str>>,
    pub(crate) scope: Option<Arc<ScopeCount>>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) class: Class,
    pub(crate) migrating: bool,
    pub(crate) spans: Spans,
    /// The coroutine that spawns it; 0 for a plain thread.
    pub(crate) parent: u64,
    /// The time, as [`Header::since`] has it.
    pub(crate) now: u32,
}

/// A coroutine's closure before it runs, its result after it.
enum Stage<F, T> {
    Closure(F),
    Result(std::thread::Result<T>),
    Empty,
}

/// Writes a struct where it is to stand, field by field: what is put together elsewhere first is
/// copied, with the room that an empty `Option` does not use. All fields must be named; the one after
/// `and` has been written before.
macro_rules! write_fields {
    ($at:expr, $Type:ident {
        $($(#[$meta:meta])* $field:ident: $value:expr,)*
    } $(and $written:ident)?) => {{
        let at: *mut $Type = $at;
        // Does not compile if a field was left out.
        let _all = |one: $Type| {
            let $Type { $($(#[$meta])* $field: _,)* $($written: _,)? } = one;
        };
        $(
            $(#[$meta])*
            (&raw mut (*at).$field).write($value);
        )*
    }};
}

/// The whole allocation.
#[repr(C)]
struct Frame<F, T> {
    header: Header,
    stage: UnsafeCell<Stage<F, T>>,
}

impl<T, F: FnOnce() -> T> Frame<F, T> {
    const VTABLE: Vtable =
        Vtable { run: Self::run, take_result: Self::take_result, dealloc: Self::dealloc };

    unsafe fn run(header: NonNull<Header>) {
        let frame = header.cast::<Self>();
        // SAFETY: the scheduler's reference keeps the frame alive until this function returns.
        let frame = unsafe { frame.as_ref() };
        let stage = frame.stage.get();
        // SAFETY: until completion is published, the stage belongs to the running coroutine.
        let Stage::Closure(body) = (unsafe { &*stage }) else {
            unreachable!("a coroutine runs once");
        };
        // SAFETY: the closure is taken from here, and what is left is overwritten below.
        let result = unsafe { execution::run(&frame.header, ptr::from_ref(body)) };
        let failure = Failure::of(&result);
        // SAFETY: as above; what the stage held has been moved out.
        unsafe { stage.write(Stage::Result(result)) };
        // SAFETY: the coroutine runs, on its home.
        let resident = unsafe { frame.header.resident() };
        // SAFETY: on its stack.
        let has_locals = unsafe { resident.started() }.has_locals();
        if has_locals || resident.spans.are_used() {
            execution::end_locals(&frame.header, || {
                // SAFETY: completion has not been published, and no handle is left to look.
                drop(std::mem::replace(unsafe { &mut *stage }, Stage::Empty));
            });
        }
        let unclaimed = execution::complete(&frame.header, || {
            // SAFETY: completion has not been published, and no handle is left to look.
            drop(std::mem::replace(unsafe { &mut *stage }, Stage::Empty));
        });
        if let Some(scope) = &frame.header.scope {
            scope.one_finished(failure.filter(|_| unclaimed));
        }
    }

    unsafe fn take_result(header: NonNull<Header>, out: *mut ()) -> bool {
        // SAFETY: the caller's reference keeps the frame alive.
        let stage = unsafe { header.cast::<Self>().as_ref() }.stage.get();
        // SAFETY: the caller owns the result, and with it the stage.
        let Stage::Result(result) = (unsafe { &*stage }) else { return false };
        // SAFETY: the caller passes the address of room for the result, which is left here no more.
        unsafe {
            out.cast::<std::thread::Result<T>>().write(move_result(result));
            stage.write(Stage::Empty);
        }
        true
    }

    unsafe fn dealloc(header: NonNull<Header>) {
        let frame = header.cast::<Self>();
        // SAFETY: the last reference is gone, and this is how `Coroutine::new` made the frame.
        unsafe {
            frame.drop_in_place();
            frames::free(frame);
        }
    }
}

/// A counted reference to a coroutine.
pub(crate) struct Coroutine(NonNull<Header>);

// SAFETY: the header's shared fields are atomics, or governed by the protocols named at them; the
// resident part is used at home alone; the stage changes hands as `Status` says, and what it holds
// is `Send` wherever handle and coroutine may be on different threads.
unsafe impl Send for Coroutine {}
// SAFETY: as above.
unsafe impl Sync for Coroutine {}

impl Coroutine {
    /// A coroutine that has not started: the scheduler's reference and the handle's.
    #[inline(always)]
    pub(crate) fn new<F: FnOnce() -> T, T>(seed: Seed, body: F) -> (Coroutine, Coroutine) {
        // Written in place, part by part: what is put together on the stack is copied, and in a debug
        // build once for each function that it goes through.
        let frame = frames::allocate::<Frame<F, T>>().as_ptr();
        // SAFETY: the frame is this function's own, and large enough for its parts.
        unsafe {
            let header = &raw mut (*frame).header;
            write_fields!(
                &raw mut (*header).resident,
                Resident {
                    started: Cell::new(ptr::null()),
                    suspender: Cell::new(None),
                    outcome: Cell::new(Outcome::Woken),
                    class: seed.class,
                    request: Cell::new(ptr::null()),
                    migrating: seed.migrating,
                    spans: seed.spans,
                    stays: Cell::new(false),
                    unwound: Cell::new(false),
                    deliveries: Cell::new(0),
                }
            );
            write_fields!(header, Header {
                park: ParkWord::new(),
                status: Status::new(),
                home: AtomicPtr::new(ptr::null_mut()),
                vtable: const { &Frame::<F, T>::VTABLE },
                link: AtomicPtr::new(ptr::null_mut()),
                token: Token::new(),
                lineage: Lineage::new(seed.id, seed.parent),
                since: AtomicU32::new(seed.now),
                id: seed.id,
                spawned_at: seed.spawned_at,
                name: seed.name.map(Box::new),
                joiner: UnsafeCell::new(None),
                scope: seed.scope,
            } and resident);
            (&raw mut (*frame).stage).write(UnsafeCell::new(Stage::Closure(body)));
        }
        // SAFETY: it is from `NonNull::as_ptr`.
        let header = unsafe { NonNull::new_unchecked(frame) }.cast::<Header>();
        (Coroutine(header), Coroutine(header))
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: a reference keeps the frame alive.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn as_ptr(&self) -> NonNull<Header> {
        self.0
    }

    /// Gives the reference up without dropping it.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// `header` stands for a reference that was given up and is taken back once.
    #[inline]
    pub(crate) unsafe fn from_raw(header: NonNull<Header>) -> Coroutine {
        Coroutine(header)
    }

    /// Drops the scheduler's reference after completion.
    pub(crate) fn release_completed(self) {
        let header = self.into_raw();
        // SAFETY: the reference that was given up above keeps the frame until it is released.
        unsafe {
            if header.as_ref().status.release_completed() {
                (header.as_ref().vtable.dealloc)(header);
            }
        }
    }

    /// Takes the result of a completed coroutine out of its frame.
    ///
    /// # Safety
    ///
    /// - The coroutine's body leaves exactly this `T`.
    /// - It has completed, and the caller owns the result as [`Status`] says.
    pub(crate) unsafe fn take_result<T>(&self) -> Option<std::thread::Result<T>> {
        let mut result = MaybeUninit::<std::thread::Result<T>>::uninit();
        let take = self.header().vtable.take_result;
        // SAFETY: the caller's promise; the address is that of the right room, which is filled if
        // it says so.
        unsafe {
            take(self.0, result.as_mut_ptr().cast()).then(|| move_result(result.assume_init_ref()))
        }
    }
}

/// Reads a result by its parts: where there is little in it, little has just been written there, and to
/// read the whole of it at once would wait until that is over.
///
/// # Safety
///
/// What is there is not used any more.
#[inline]
unsafe fn move_result<T>(from: &std::thread::Result<T>) -> std::thread::Result<T> {
    // SAFETY: the caller gives it away.
    unsafe {
        match from {
            Ok(value) => Ok(ptr::read(value)),
            Err(payload) => Err(ptr::read(payload)),
        }
    }
}

impl Clone for Coroutine {
    fn clone(&self) -> Self {
        self.header().status.acquire_ref();
        Coroutine(self.0)
    }
}

impl Drop for Coroutine {
    #[inline]
    fn drop(&mut self) {
        if self.header().status.release_ref() {
            let dealloc = self.header().vtable.dealloc;
            // SAFETY: this was the last reference.
            unsafe { dealloc(self.0) };
        }
    }
}

impl Header {
    /// The part that belongs to the coroutine's home.
    ///
    /// # Safety
    ///
    /// Called on the thread of its home, or by the only holder of a coroutine that has not
    /// started or whose wait the caller has claimed.
    #[inline]
    pub(crate) unsafe fn resident(&self) -> &Resident {
        &self.resident
    }

    /// What its spawner has called it.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref().map(|name| &**name)
    }

    /// The number of the coroutine that has spawned it; `None` for a plain thread's, or if it is not
    /// known any more.
    pub(crate) fn parent(&self) -> Option<u64> {
        self.lineage.parent_of(self.id)
    }

    pub(crate) fn is_migrating(&self) -> bool {
        self.resident.is_migrating()
    }

    /// The processor where it lives, once it has started.
    #[inline]
    pub(crate) fn home(&self) -> *const Processor {
        self.home.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set_home(&self, home: *const Processor) {
        self.home.store(home.cast_mut(), Ordering::Relaxed);
    }

    /// Runs the body on the current stack. By the pointer to the whole allocation, since the body is
    /// behind the header.
    ///
    /// # Safety
    ///
    /// Called once, on the coroutine's own stack, with the scheduler's reference held.
    pub(crate) unsafe fn run_body(header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        unsafe { (header.as_ref().vtable.run)(header) };
    }
}

impl Resident {
    #[inline]
    pub(crate) fn is_migrating(&self) -> bool {
        cfg!(feature = "migrating") && self.migrating
    }

    /// Where about on its stack it last parked, or where that begins: near to what it touches first when
    /// it runs again. A hint.
    #[inline]
    pub(crate) fn parked_at(&self) -> *const () {
        let request = self.request.get();
        if request.is_null() { self.started.get().cast() } else { request.cast() }
    }

    /// What it waits for, until it runs again.
    ///
    /// # Safety
    ///
    /// Called at its home, which does not use this any more when it has resumed the coroutine.
    #[inline]
    pub(crate) unsafe fn request(&self) -> Option<&ParkRequest> {
        // SAFETY: what is there is in a frame that is suspended until its home resumes it.
        unsafe { self.request.get().as_ref() }
    }

    /// Where on its stack it has what it has started with.
    #[inline]
    pub(crate) fn place_of_started(&self) -> *const Started {
        self.started.get()
    }

    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        !self.started.get().is_null()
    }

    /// What it has on its stack.
    ///
    /// # Safety
    ///
    /// It has started, and its stack has not been taken back; nor is it while this is used.
    #[inline]
    pub(crate) unsafe fn started(&self) -> &Started {
        // SAFETY: the caller's promise.
        unsafe { &*self.started.get() }
    }

    /// Prepares `body` to run on `stack`, and makes room for the rest there.
    pub(crate) fn start(&self, stack: Stack, body: impl FnOnce(Suspender) + 'static) {
        let (switch, place) = Switch::new(stack, body);
        // SAFETY: there is room for this.
        unsafe {
            write_fields!(
                place.as_ptr(),
                Started {
                    switch: UnsafeCell::new(switch),
                    timer: Cell::new(None),
                    caller: Cell::new(ptr::null()),
                    place: Cell::new(0),
                    frames: Cell::new(ptr::null()),
                    locals: Cell::new(None),
                    #[cfg(debug_assertions)]
                    held: HeldGuards::new(),
                }
            );
        }
        self.started.set(place.as_ptr());
    }

    /// Takes the stack back.
    ///
    /// # Safety
    ///
    /// It has started and run to its end, and nothing of what is on its stack is used any more.
    #[inline]
    pub(crate) unsafe fn end(&self) -> Stack {
        let place = self.started.replace(ptr::null()).cast_mut();
        // SAFETY: the caller's promise; what is there is not used after this.
        unsafe {
            (*place).locals.take();
            Switch::take_stack(NonNull::new_unchecked(place), (*place).switch.get())
        }
    }
}

impl Started {
    /// Whether it has used a `coroutine_local!` since the last of them was destroyed.
    #[inline]
    pub(super) fn has_locals(&self) -> bool {
        // SAFETY: nobody changes it in between: a coroutine's values are its own, and it is in this call.
        unsafe { &*self.locals.as_ptr() }.is_some()
    }

    /// # Safety
    ///
    /// Called by the machine that runs the coroutine, with no other use of the switch alive.
    #[expect(clippy::mut_from_ref, reason = "the caller proves that it is the only user")]
    #[inline]
    pub(crate) unsafe fn switch(&self) -> &mut Switch {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.switch.get() }
    }
}

// SAFETY: a reference keeps its frame alive and in place, and a claimed or unstarted coroutine is
// in one queue at a time.
unsafe impl Linked for Coroutine {
    type Node = Header;

    fn into_raw(self) -> NonNull<Header> {
        Coroutine::into_raw(self)
    }

    unsafe fn from_raw(node: NonNull<Header>) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Coroutine::from_raw(node) }
    }

    unsafe fn link<'a>(node: NonNull<Header>) -> &'a AtomicPtr<Header> {
        // SAFETY: the caller says that the node is alive.
        unsafe { &(*node.as_ptr()).link }
    }
}
