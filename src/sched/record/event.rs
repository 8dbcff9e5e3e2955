//! What a record says, and how: three words.
//!
//! | word | |
//! |---|---|
//! | 0 | when, by [`Clock`](super::ticks::Clock); or eight bytes of a name |
//! | 1 | the [`Kind`] in eight bits, above them the coroutine's number; for a name, how long it is |
//! | 2 | whatever belongs to the kind |
//!
//! A coroutine that has a name is called by it in each record of its running, right behind that: it
//! may be gone when somebody looks, and the record of its birth overwritten.

#![expect(unsafe_code, reason = "a record holds the address of a location")]

use super::ticks::Scale;
use crate::park::WaitReason;
use std::panic::Location;
use std::ptr;

pub(super) const WORDS: usize = 3;

/// Longer names are cut.
pub(super) const LONGEST_NAME: usize = 64;
/// Bytes of a name in one record.
const PART: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A coroutine begins to run; the address of its spawn's location.
    Run,
    /// It is about to wait; the reason.
    Park,
    /// There was no need to.
    GoOn,
    End,
    /// The machine, or its coroutine, wakes that one.
    Wake,
    /// That one's time is over.
    Timer,
    Spawn,
    /// The machine asks its poller; 1 if it sleeps there.
    Poll,
    /// How many events came.
    Polled,
    /// From the machine of that number.
    Steal,
    Name,
    /// A thread begins with blocking work for a coroutine; what that one says it waits for.
    Job,
}

impl Kind {
    const ALL: [Kind; 12] = [
        Kind::Run,
        Kind::Park,
        Kind::GoOn,
        Kind::End,
        Kind::Wake,
        Kind::Timer,
        Kind::Spawn,
        Kind::Poll,
        Kind::Polled,
        Kind::Steal,
        Kind::Name,
        Kind::Job,
    ];
}

/// Something that happened on a machine.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// In nanoseconds, from a moment that all of the process's records have in common.
    pub(crate) at: u64,
    pub(crate) what: What,
}

/// See [`Kind`].
#[derive(Clone, Debug)]
pub(crate) enum What {
    Run { coroutine: u64, spawned_at: &'static Location<'static>, name: Option<String> },
    Park { coroutine: u64, reason: WaitReason },
    GoOn { coroutine: u64 },
    End { coroutine: u64 },
    Wake { coroutine: u64 },
    Timer { coroutine: u64 },
    Spawn { coroutine: u64 },
    Poll { sleeps: bool },
    Polled { events: u64 },
    Steal { coroutine: u64, from: u64 },
    Job { coroutine: u64, reason: WaitReason },
}

#[inline]
pub(super) fn encode(at: u64, kind: Kind, coroutine: u64, more: u64) -> [u64; WORDS] {
    [at, coroutine << 8 | kind as u64, more]
}

#[inline]
pub(super) fn encode_location(location: &'static Location<'static>) -> u64 {
    ptr::from_ref(location).expose_provenance() as u64
}

/// The records that follow that of a run.
pub(super) fn encode_name(name: &str) -> impl Iterator<Item = [u64; WORDS]> {
    let name = &name.as_bytes()[..name.floor_char_boundary(LONGEST_NAME)];
    name.chunks(PART).map(|part| {
        let mut bytes = [0; PART];
        bytes[..part.len()].copy_from_slice(part);
        let [first, second] =
            [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index])));
        [first, (part.len() as u64) << 8 | Kind::Name as u64, second]
    })
}

/// What the records of one machine say.
pub(super) fn decode(records: &[[u64; WORDS]], scale: &Scale) -> Vec<Event> {
    let mut events = Vec::with_capacity(records.len());
    let mut spoken = Vec::new();
    // Backwards, so that a name is known when its run is come to.
    for &[at, of, more] in records.iter().rev() {
        let kind = Kind::ALL[(of & 0xFF) as usize];
        if kind == Kind::Name {
            let bytes = [at, more].map(u64::to_le_bytes).concat();
            spoken.splice(0..0, bytes.into_iter().take((of >> 8) as usize));
            continue;
        }
        let name = std::mem::take(&mut spoken);
        let name = (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned());
        let what = what(kind, of >> 8, more, name);
        events.push(Event { at: scale.nanos(at), what });
    }
    events.reverse();
    events
}

fn reason(word: u64) -> WaitReason {
    WaitReason::unpack(word).unwrap_or(WaitReason::None)
}

fn what(kind: Kind, coroutine: u64, more: u64, name: Option<String>) -> What {
    match kind {
        Kind::Run => {
            let location = ptr::with_exposed_provenance::<Location<'static>>(more as usize);
            // SAFETY: such records are made with the address of a location that lives for ever, by
            // `encode_location`, and no record is read that is not whole.
            let spawned_at = unsafe { &*location };
            What::Run { coroutine, spawned_at, name }
        }
        Kind::Park => What::Park { coroutine, reason: reason(more) },
        Kind::Job => What::Job { coroutine, reason: reason(more) },
        Kind::GoOn => What::GoOn { coroutine },
        Kind::End => What::End { coroutine },
        Kind::Wake => What::Wake { coroutine },
        Kind::Timer => What::Timer { coroutine },
        Kind::Spawn => What::Spawn { coroutine },
        Kind::Poll => What::Poll { sleeps: more != 0 },
        Kind::Polled => What::Polled { events: more },
        Kind::Steal => What::Steal { coroutine, from: more },
        Kind::Name => unreachable!("a name is part of a run"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_number() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }

    #[test]
    fn a_run_keeps_its_place_and_its_name() {
        let scale = Scale::now();
        let here = Location::caller();
        let run = encode(0, Kind::Run, 7, encode_location(here));
        let names =
            ["", "a", "sixteen bytes ok", "one that takes more than a record: \u{e9}\u{e9}"];
        for expected in names {
            let mut records = vec![[1, 2 << 8 | Kind::Name as u64, 3]];
            records.push(run);
            records.extend(encode_name(expected));
            records.push(encode(0, Kind::Steal, 1 << 40, 3));
            // What is left of a name at the edge of what was lost belongs to nobody.
            let events = decode(&records, &scale);
            let What::Run { coroutine: 7, spawned_at, name } = &events[0].what else { panic!() };
            assert!(std::ptr::eq(*spawned_at, here));
            assert_eq!(name.as_deref().unwrap_or(""), expected);
            assert!(
                matches!(events[1].what, What::Steal { coroutine, from: 3 } if coroutine == 1 << 40)
            );
            assert_eq!(events.len(), 2);
        }
        let long = "\u{e9}".repeat(LONGEST_NAME);
        assert_eq!(encode_name(&long).count(), LONGEST_NAME / PART);
    }
}
