//! From a seed to a program.

use crate::program::*;
use crate::world::{PERMITS, RANKS, ROUTES};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;

/// How many composed operations a program has at most.
const SIZE: usize = 60;
/// How deep they are nested.
const DEPTH: u8 = 5;

pub(crate) fn generate(seed: u64) -> Program {
    let mut random = StdRng::seed_from_u64(seed);
    // In some programs nobody is cut short: there, nothing hides a wake that is lost.
    let rough = random.random_range(0..3) > 0;
    let mut generator = Generator { random, rough, left: SIZE, transient: 1 };
    let place = Place { depth: DEPTH, floor: 0, masked: false, tiny: false };
    let tasks = (0..generator.within(2..7))
        .map(|_| {
            let root = match generator.within(0..6) {
                0 => Root::Elsewhere,
                1 => Root::Thread,
                _ => Root::Runtime,
            };
            (root, generator.body(place))
        })
        .collect();
    let ending = match generator.within(0..6) {
        0 if rough => Ending::Cancel(generator.time(3_000)),
        1 if rough => Ending::DropRuntime(generator.time(3_000)),
        _ => Ending::Wait,
    };
    Program { tasks, ending }
}

/// Where in a program something is to stand, which says what it may be.
#[derive(Clone, Copy)]
struct Place {
    depth: u8,
    /// Which resources may be asked for: those from here on.
    floor: usize,
    /// In a shield or a destructor, or what was spawned there: it may be that children are cancelled, and
    /// their parent is not.
    masked: bool,
    /// On a small stack, or where nothing may be bound to a thread.
    tiny: bool,
}

impl Place {
    fn inner(self) -> Place {
        Place { depth: self.depth - 1, ..self }
    }

    fn masked(self) -> Place {
        Place { masked: true, ..self.inner() }
    }
}

struct Generator {
    random: StdRng,
    /// Whether there are panics and cancellations.
    rough: bool,
    left: usize,
    transient: usize,
}

impl Generator {
    fn within(&mut self, range: std::ops::Range<usize>) -> usize {
        self.random.random_range(range)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.within(0..n) == 0
    }

    fn roughly(&mut self, n: usize) -> bool {
        self.rough && self.one_in(n)
    }

    fn time(&mut self, micros: usize) -> Duration {
        Duration::from_micros(self.within(0..micros) as u64)
    }

    fn pause(&mut self) -> Pause {
        match self.within(0..12) {
            0..4 => Pause::Yield,
            4 | 5 => Pause::Sleep(self.time(200)),
            6 => Pause::Park(self.time(200)),
            7 => Pause::Spin(self.within(0..2_000) as u32),
            8 => Pause::Blocking,
            _ => Pause::No,
        }
    }

    fn body(&mut self, place: Place) -> Body {
        self.ops(place).into()
    }

    fn ops(&mut self, place: Place) -> Vec<Op> {
        (0..self.within(1..4)).map(|_| self.op(place)).collect()
    }

    /// The body of one that is cancelled, if `ends`, and so may wait for that.
    fn cut_body(&mut self, place: Place, ends: bool) -> Body {
        let mut ops = self.ops(place);
        if ends && self.one_in(2) {
            let endless =
                [Endless::Sleep, Endless::Park, Endless::Recv, Endless::Acquire, Endless::Join];
            ops.push(Op::Endless(endless[self.within(0..endless.len())]));
        }
        ops.into()
    }

    fn op(&mut self, place: Place) -> Op {
        if place.depth == 0 || self.left == 0 {
            return match self.roughly(8) {
                true => Op::Panic,
                false => Op::Pause(self.pause()),
            };
        }
        self.left -= 1;
        let kinds = if place.tiny { 6 } else { 24 };
        match self.within(0..kinds) {
            0..4 => self.child(place),
            4 | 5 => Op::Pause(self.pause()),
            6..10 => self.hold(place),
            10..12 => self.inside(place),
            12 => Op::Late(self.body(place.inner()), self.body(place.masked())),
            13..15 => Op::Together(self.together(place)),
            15 => Op::Repeat(self.within(2..6) as u8, self.body(place.inner())),
            16..20 => Op::Traffic(self.traffic(place)),
            20 if !place.masked => Op::Barrier(self.within(2..5) as u8, self.within(1..6) as u8),
            21 if self.transient > 0 => self.transient(place),
            _ => Op::PingPong(self.start(), self.within(1..10) as u8),
        }
    }

    fn start(&mut self) -> Start {
        match self.within(0..12) {
            0 => Start::Small,
            1 => Start::Migrating,
            2 => Start::Local,
            3 => Start::Elsewhere,
            4 => Start::Thread,
            _ => Start::Spawn,
        }
    }

    /// The place of what is started so.
    fn started(start: Start, place: Place) -> Place {
        let tiny = place.tiny || matches!(start, Start::Small | Start::Migrating);
        Place { tiny, ..place.inner() }
    }

    fn child(&mut self, place: Place) -> Op {
        let start = if place.tiny { Start::Spawn } else { self.start() };
        let (between, end) = match self.within(0..10) {
            // Spawned and joined at once: the child is called.
            0..4 => (Pause::No, End::Join),
            4..6 => (self.pause(), End::Join),
            6 => (self.pause(), End::Drop),
            7 | 8 if self.rough => (self.pause(), End::CancelAndJoin),
            _ if self.rough => (self.pause(), End::CancelAndDrop),
            _ => (Pause::Yield, End::Join),
        };
        let cancelled = matches!(end, End::CancelAndJoin | End::CancelAndDrop);
        // Where the parent does not wait in between, and so cannot be cut short.
        let ends = cancelled && matches!(between, Pause::No | Pause::Yield | Pause::Spin(_));
        let ends = ends && !matches!(start, Start::Thread);
        let body = self.cut_body(Self::started(start, place), ends);
        let child = Op::Child(Child { start, body, between, end });
        match self.one_in(6) {
            true => Op::Repeat(self.within(2..20) as u8, [child].into()),
            false => child,
        }
    }

    fn hold(&mut self, place: Place) -> Op {
        let rank = self.within(0..RANKS).max(place.floor);
        let hold = match rank {
            0 => Hold::Token(self.take(), self.pass()),
            1 => Hold::Permits(self.within(1..PERMITS + 1) as u32, self.patience()),
            2 => Hold::Coin(self.one_in(3).then(|| self.time(300))),
            3 if self.one_in(2) => Hold::Write { downgrade: self.one_in(3) },
            3 => Hold::Read,
            4 => Hold::Lock { attempt: self.one_in(4) },
            _ => return Op::Pause(self.pause()),
        };
        let inner = Place { floor: rank + 1, ..place.inner() };
        let hold = Op::Hold(hold, self.body(inner));
        match self.one_in(2) {
            true => Op::Repeat(self.within(2..12) as u8, [hold].into()),
            false => hold,
        }
    }

    fn patience(&mut self) -> Patience {
        match self.within(0..5) {
            0 => Patience::None,
            1 => Patience::Until(self.time(300)),
            2 => Patience::Owned,
            _ => Patience::Endless,
        }
    }

    fn take(&mut self) -> Take {
        match self.within(0..6) {
            0 => Take::Timeout(self.time(300)),
            1 => Take::After(self.time(300)),
            2 => Take::Ready,
            3 => Take::Async,
            4 => Take::Slow(self.pause()),
            _ => Take::Recv,
        }
    }

    fn pass(&mut self) -> Pass {
        let route = self.within(0..ROUTES.len()) as u8;
        match self.within(0..7) {
            0 => Pass::Home,
            1 => Pass::Timeout(route, self.time(300)),
            2 => Pass::Either(self.time(300)),
            3 => Pass::Async(route),
            4 => Pass::Slow(self.pause()),
            _ => Pass::Route(route),
        }
    }

    fn inside(&mut self, place: Place) -> Op {
        let (inside, place) = match self.within(0..10) {
            0..2 if self.rough => (Inside::Timeout(self.time(1_500)), place.inner()),
            2 if self.rough => (Inside::Token(self.time(1_500)), place.inner()),
            3..5 if self.rough => (Inside::Cancelled(self.pause()), place.inner()),
            5 => (Inside::Shield, place.masked()),
            6 => (Inside::InPlace, place.inner()),
            7 => (Inside::Blocking, place.masked()),
            8 => (Inside::Elsewhere, place.inner()),
            _ => (Inside::Caught, place.inner()),
        };
        let ends = matches!(inside, Inside::Timeout(_) | Inside::Token(_) | Inside::Cancelled(_));
        // On a plain thread, nothing ends early in a destructor.
        Op::Inside(inside, self.cut_body(place, ends && !place.masked))
    }

    fn together(&mut self, place: Place) -> Together {
        let kind = match self.within(0..5) {
            0 | 1 => Kind::Scope,
            2 => Kind::TryScope,
            3 if self.one_in(2) => Kind::FailFast,
            3 => Kind::FirstOk,
            _ if self.rough => Kind::Dropped,
            _ => Kind::Scope,
        };
        let first_fails = self.roughly(3);
        let members = (0..self.within(1..4)).map(|number| {
            let fails = if number == 0 { first_fails } else { self.roughly(3) };
            // By its parent, or since the first one ends them all.
            let ends = match kind {
                Kind::Scope => fails,
                Kind::TryScope | Kind::FailFast => number > 0 && first_fails,
                Kind::FirstOk => number > 0 && !first_fails,
                Kind::Dropped => true,
            };
            Member { body: self.cut_body(place.inner(), ends), fails }
        });
        let members = members.collect();
        Together { kind, members, own: self.body(place.inner()) }
    }

    fn traffic(&mut self, place: Place) -> Traffic {
        let capacities: Vec<_> = (0..self.within(1..3))
            .map(|_| [Some(0), Some(0), Some(1), Some(3), None][self.within(0..5)])
            .collect();
        let channels = capacities.len();
        let producers =
            (0..self.within(1..4)).map(|_| self.party(place, channels, Self::send_way)).collect();
        let consumers =
            (0..self.within(1..4)).map(|_| self.party(place, channels, Self::recv_way)).collect();
        Traffic { capacities, producers, consumers }
    }

    fn party<Way>(
        &mut self,
        place: Place,
        channels: usize,
        way: impl FnOnce(&mut Generator, bool) -> Way,
    ) -> Party<Way> {
        let several = channels > 1 && self.one_in(2);
        let first = self.within(0..channels);
        let start = self.start();
        let body = match self.one_in(4) {
            true => self.body(Self::started(start, place)),
            false => [].into(),
        };
        Party {
            start,
            channels: if several { (0..channels).collect() } else { vec![first] },
            way: way(self, several),
            messages: if self.one_in(3) { self.within(0..6) } else { self.within(6..30) },
            pause: self.pause(),
            body,
            cut: self.roughly(4).then(|| self.pause()),
        }
    }

    fn send_way(&mut self, several: bool) -> SendWay {
        match self.within(if several { 5 } else { 0 }..8) {
            0 | 1 => SendWay::Send,
            2 => SendWay::Try,
            3 => SendWay::Timeout(self.time(100)),
            4 if self.rough => SendWay::Limited(self.time(100)),
            4 => SendWay::Async,
            5 => SendWay::Select,
            6 => SendWay::SelectTimeout(self.time(100)),
            _ => SendWay::Slow(self.pause()),
        }
    }

    fn recv_way(&mut self, several: bool) -> RecvWay {
        match self.within(if several { 6 } else { 0 }..10) {
            0 => RecvWay::Recv,
            1 => RecvWay::Iter,
            2 => RecvWay::Try,
            3 => RecvWay::Timeout(self.time(100)),
            4 if self.rough => RecvWay::Limited(self.time(100)),
            4 | 5 => RecvWay::Async,
            6 => RecvWay::Select,
            7 => RecvWay::SelectTimeout(self.time(100)),
            8 => RecvWay::Ready,
            _ => RecvWay::Slow(self.pause()),
        }
    }

    fn transient(&mut self, place: Place) -> Op {
        self.transient -= 1;
        Op::Transient(Transient {
            workers: self.within(1..3),
            spawned: (0..self.within(0..4)).map(|_| self.body(place.inner())).collect(),
            run: self.one_in(2).then(|| self.body(place.inner())),
            pause: self.pause(),
            shutdown: self.one_in(2),
        })
    }
}
