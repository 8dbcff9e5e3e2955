//! A heap of small entries in which each step touches one cache line.
//!
//! A 4-ary heap, laid out so that the four children of a node are one line (LaMarca and Ladner, "The
//! Influence of Caches on the Performance of Heaps", 1996): a way down asks for as many lines as it
//! has steps, and the compiler can choose among the four without a branch. Lanes that no entry has
//! are later than all, so nothing asks where the last line ends.

use super::{Entry, TimerKey};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Heap {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Line([Entry; ARITY]);

/// Children of a node.
const ARITY: usize = 4;
/// Where the root is, counted in entries: the lanes before it are not used, so that all others fill
/// their lines.
const ROOT: usize = ARITY - 1;

const NOBODY: Entry = Entry { when: u64::MAX, key: TimerKey::NONE };

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    /// The lane of the earliest.
    #[inline]
    fn earliest(&self) -> usize {
        let [a, b, c, d] = &self.0;
        let (left, first) = if b.when < a.when { (1, b.when) } else { (0, a.when) };
        let (right, second) = if d.when < c.when { (3, d.when) } else { (2, c.when) };
        if second < first { right } else { left }
    }
}

impl Heap {
    pub(super) fn new() -> Heap {
        Heap { lines: Vec::new(), len: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn first(&self) -> Option<&Entry> {
        self.lines.first().map(|line| &line.0[ROOT]).filter(|_| self.len > 0)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let place = ROOT + self.len;
        if place / ARITY == self.lines.len() {
            self.lines.push(Line([NOBODY; ARITY]));
        }
        self.len += 1;
        self.sift_up(place, entry);
    }

    /// Takes the earliest.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let first = *self.first()?;
        self.len -= 1;
        let end = ROOT + self.len;
        let last = std::mem::replace(self.at(end), NOBODY);
        if end.is_multiple_of(ARITY) {
            self.lines.pop();
        }
        if self.len > 0 {
            self.sift_down(ROOT, last);
        }
        Some(first)
    }

    /// Keeps those for which `keep` is true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let end = ROOT + self.len;
        let mut kept = ROOT;
        for place in ROOT..end {
            let entry = std::mem::replace(self.at(place), NOBODY);
            if keep(&entry) {
                *self.at(kept) = entry;
                kept += 1;
            }
        }
        self.len = kept - ROOT;
        self.lines.truncate(if self.len == 0 { 0 } else { kept.div_ceil(ARITY) });
        for place in (ROOT..ROOT + self.len.div_ceil(ARITY)).rev() {
            let entry = *self.at(place);
            self.sift_down(place, entry);
        }
    }

    /// Gives back memory that is there for more than so many entries.
    pub(super) fn shrink_to(&mut self, entries: usize) {
        self.lines.shrink_to((ROOT + entries).div_ceil(ARITY));
    }

    #[inline]
    fn at(&mut self, place: usize) -> &mut Entry {
        &mut self.lines[place / ARITY].0[place % ARITY]
    }

    fn sift_up(&mut self, mut place: usize, entry: Entry) {
        while place > ROOT {
            let parent = place / ARITY - 1 + ROOT;
            let above = *self.at(parent);
            if above.when <= entry.when {
                break;
            }
            *self.at(place) = above;
            place = parent;
        }
        *self.at(place) = entry;
    }

    fn sift_down(&mut self, mut place: usize, entry: Entry) {
        // The children of the node that is `n` places behind the root are the line `n + 1`.
        while let Some(children) = self.lines.get(place - ROOT + 1) {
            let lane = children.earliest();
            let child = children.0[lane];
            if child.when >= entry.when {
                break;
            }
            let below = (place - ROOT + 1) * ARITY + lane;
            *self.at(place) = child;
            place = below;
        }
        *self.at(place) = entry;
    }
}
