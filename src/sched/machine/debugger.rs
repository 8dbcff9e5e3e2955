//! What `tools/pirn-gdb.py` reads: machines, and the shape of coroutines, without type information.
//!
//! A debugger that looks at a release build, or at a core file, has the memory and the sections of
//! the program, and no more. So there is a section of its own with one static in it, whose layout
//! is C's and has a version. It leads to a list of machines. Each entry has the addresses of what its
//! machine and its processor keep anyway: nothing is written for a debugger while coroutines run.
//!
//! ```text
//!  .pirn.gdb        the machines' own stacks
//!   Root.first ---> Entry -----------------> Entry ---> null
//!   Root.header       |  current: &Cell<*Header>
//!   Root.reasons      |  residents: &Table, of blocks of Headers; what is odd there
//!                     |  is free
//! ```
//!
//! One that was called by its joiner is no resident before it first leaves its stack. As long as it runs in
//! the call, it has its joiner for `Root.header.caller`, where `Root.started` leads to.
//!
//! Two layouts that are not this crate's are found out by the script. Of a place in the source, by
//! a sample whose parts it is told. Of a suspended coroutine: of the words of its switch that lie in
//! its stack below the way back to its machine, one never changes and is where it began; the other
//! is the stack pointer, or none while it runs.
//!
//! Whoever changes the layout of [`Root`] or [`Entry`] counts [`VERSION`] up, there and in the script.

#![expect(unsafe_code, reason = "a static of addresses in a section of its own")]

use super::Machine;
use crate::coroutine::{Header, Shape};
use crate::park::{ParkRequest, WaitReason};
use crate::sched::residents::{BLOCK, Table};
use crate::sched::shared::Shared;
use crate::stack::Class;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const VERSION: u32 = 4;

/// Where the script begins.
#[repr(C)]
struct Root {
    magic: [u8; 8],
    version: u32,
    size: u32,
    first: AtomicPtr<Entry<'static>>,
    header: Shape,
    class_count: u32,
    reason_count: u32,
    class_sizes: *const u64,
    /// By the first word of a [`WaitReason`].
    reasons: *const Text,
    /// The reason whose payload is a descriptor and what it is waited for, counted from the next.
    descriptor: u32,
    read: u32,
    /// The reason whose payload is a number.
    select: u32,
    /// From here on, payloads are addresses.
    send: u32,
    /// A place in the source, and what is in it.
    place: *const Location<'static>,
    place_file: Text,
    place_line: u32,
    place_column: u32,
    migrating: u32,
    /// Where a request has its reason.
    reason: u32,
    /// Where a header has the address of the rest.
    started: u32,
    /// How many places a block of residents has.
    block: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    start: *const u8,
    len: usize,
}

impl Text {
    const fn of(text: &str) -> Text {
        Text { start: text.as_ptr(), len: text.len() }
    }
}

// SAFETY: but for the first, which is atomic, its pointers are to constants.
unsafe impl Sync for Root {}

#[used]
#[cfg_attr(
    all(unix, not(target_vendor = "apple")),
    // SAFETY: no other section has this name, and what reads it looks for the magic.
    unsafe(link_section = ".pirn.gdb")
)]
static ROOT: Root = Root {
    magic: *b"pirn-gdb",
    version: VERSION,
    size: size_of::<Root>() as u32,
    first: AtomicPtr::new(ptr::null_mut()),
    header: Shape::HEADER,
    class_count: CLASS_SIZES.len() as u32,
    reason_count: REASONS.0.len() as u32,
    class_sizes: CLASS_SIZES.as_ptr(),
    reasons: REASONS.0.as_ptr(),
    descriptor: tag(&WaitReason::ALL[10]),
    read: tag(&WaitReason::Read),
    select: tag(&WaitReason::Select(0)),
    send: tag(&WaitReason::Send(0)),
    place: ptr::from_ref(PLACE),
    place_file: Text::of(PLACE.file()),
    place_line: PLACE.line(),
    place_column: PLACE.column(),
    migrating: cfg!(feature = "migrating") as u32,
    reason: offset_of!(ParkRequest, reason) as u32,
    started: Shape::STARTED,
    block: BLOCK as u32,
};

const PLACE: &Location<'static> = Location::caller();

static CLASS_SIZES: [u64; Class::ALL.len()] = {
    let mut sizes = [0; Class::ALL.len()];
    let mut index = 0;
    while index < sizes.len() {
        assert!(Class::ALL[index] as usize == index);
        sizes[index] = Class::ALL[index].size() as u64;
        index += 1;
    }
    sizes
};

struct Texts<const N: usize>([Text; N]);

// SAFETY: texts that are constants.
unsafe impl<const N: usize> Sync for Texts<N> {}

static REASONS: Texts<{ WaitReason::ALL.len() }> = {
    assert!(matches!(WaitReason::ALL[10], WaitReason::Descriptor(_)));
    let mut texts = [Text::of(""); WaitReason::ALL.len()];
    let mut index = 0;
    while index < texts.len() {
        assert!(tag(&WaitReason::ALL[index]) as usize == index);
        texts[index] = Text::of(WaitReason::ALL[index].kind());
        index += 1;
    }
    Texts(texts)
};

/// The first word of a reason, which says what it is.
const fn tag(reason: &WaitReason) -> u32 {
    // SAFETY: an enum that is represented by a `usize` begins with it.
    (unsafe { *ptr::from_ref(reason).cast::<usize>() }) as u32
}

/// The list is changed under this lock.
static LINKS: Mutex<()> = Mutex::new(());

/// Keeps machines that begin from going on, until it is dropped.
#[cfg(test)]
pub(in crate::sched) fn hold_beginners() -> std::sync::MutexGuard<'static, ()> {
    LINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the one that calls what runs on this thread, as a debugger finds it.
#[cfg(test)]
pub(in crate::sched) fn caller_of_running() -> Option<u64> {
    let running = crate::sched::current_coroutine()?;
    // SAFETY: the caller runs on it, at its home.
    let started = unsafe { running.as_ref().resident().started() };
    // SAFETY: whoever calls it waits for that.
    unsafe { started.caller.get().as_ref() }.map(|caller| caller.id)
}

/// A machine, for a debugger.
#[repr(C)]
pub(super) struct Entry<'a> {
    next: AtomicPtr<Entry<'static>>,
    /// Names the runtime.
    runtime: *const Shared,
    runtime_name: Text,
    number: u64,
    /// The number of its thread at the system's; 0 if the system does not say.
    thread: u64,
    current: *const Cell<Option<NonNull<Header>>>,
    residents: *const Table,
    ready: *const Cell<*mut Header>,
    next_start: *const AtomicPtr<Header>,
    resident_count: *const AtomicUsize,
    spawned: *const AtomicU64,
    finished: *const AtomicU64,
    /// The same for all machines of a runtime.
    spawned_outside: *const AtomicU64,
    retired_live: *const AtomicU64,
    machine: PhantomData<&'a Machine>,
}

/// Takes an entry out of the list when dropped.
pub(super) struct Linked<'a>(&'a Entry<'a>);

impl<'a> Entry<'a> {
    pub(super) fn new(machine: &'a Machine, thread: u64) -> Entry<'a> {
        let (shared, processor) = (&machine.shared, &machine.processor);
        Entry {
            next: AtomicPtr::new(ptr::null_mut()),
            runtime: Arc::as_ptr(shared),
            runtime_name: Text::of(&shared.config.name),
            number: processor.number as u64,
            thread,
            current: &raw const machine.current,
            residents: machine.residents.table(),
            ready: machine.ready.first_place(),
            next_start: processor.next_start_place(),
            resident_count: &raw const processor.counters.residents,
            spawned: &raw const processor.counters.spawned,
            finished: &raw const processor.counters.finished,
            spawned_outside: &raw const *shared.spawned_outside,
            retired_live: &raw const shared.retired_live,
            machine: PhantomData,
        }
    }

    /// Puts it into the list.
    pub(super) fn link(&'a self) -> Linked<'a> {
        let _links = LINKS.lock().unwrap_or_else(PoisonError::into_inner);
        self.next.store(ROOT.first.load(Ordering::Relaxed), Ordering::Relaxed);
        ROOT.first.store(ptr::from_ref(self).cast_mut().cast(), Ordering::Release);
        Linked(self)
    }
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        let _links = LINKS.lock().unwrap_or_else(PoisonError::into_inner);
        let ours: *mut Entry<'static> = ptr::from_ref(self.0).cast_mut().cast();
        let mut place = &ROOT.first;
        // SAFETY: an entry that is in the list is alive: its guard takes it out, under this lock.
        while let Some(entry) = unsafe { place.load(Ordering::Relaxed).as_ref() } {
            if ptr::eq(entry, ours) {
                place.store(entry.next.load(Ordering::Relaxed), Ordering::Release);
                return;
            }
            place = &entry.next;
        }
    }
}
