//! Wakes that cross from one home to another: many pushers, one owner.
//!
//! An intrusive Treiber stack (R. K. Treiber, *Systems Programming: Coping with Parallelism*,
//! 1986) that is only ever emptied as a whole, so it has no ABA problem and needs no allocation.
//! The owner reverses what it took: first pushed, first run.

use crate::primitive::sync::atomic::{AtomicPtr, Ordering};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// An owned handle that can be linked into an [`Inbox`].
///
/// # Safety
///
/// `into_raw` gives up ownership of a node that stays valid and in place until `from_raw` takes it
/// back, and `link` names a field of that node which nobody else uses meanwhile.
#[expect(unsafe_code, reason = "an intrusive list rests on its nodes' promise to stay put")]
pub(crate) unsafe trait Linked: Send {
    type Node;

    fn into_raw(self) -> NonNull<Self::Node>;

    /// # Safety
    ///
    /// `node` came from `into_raw` and is taken back once.
    unsafe fn from_raw(node: NonNull<Self::Node>) -> Self;

    /// # Safety
    ///
    /// `node` came from `into_raw` and has not been taken back.
    unsafe fn link<'a>(node: NonNull<Self::Node>) -> &'a AtomicPtr<Self::Node>;
}

/// See the module's description.
pub(crate) struct Inbox<T: Linked> {
    head: AtomicPtr<T::Node>,
    owns: PhantomData<T>,
}

impl<T: Linked> Inbox<T> {
    pub(crate) fn new() -> Self {
        Inbox { head: AtomicPtr::new(ptr::null_mut()), owns: PhantomData }
    }

    /// Adds an item. The item may be taken, run and freed by the owner before this returns.
    pub(crate) fn push(&self, item: T) {
        let node = item.into_raw();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: until the exchange below succeeds, the node is this function's own.
            #[expect(unsafe_code, reason = "the room of the intrusive list")]
            unsafe { T::link(node) }.store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                node.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// Takes everything, oldest first. For the owner alone: with two takers the order between
    /// their batches is lost, though no item is.
    pub(crate) fn take_all(&self) -> Batch<T> {
        let mut node = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        let mut reversed = ptr::null_mut();
        while let Some(current) = NonNull::new(node) {
            // SAFETY: the swap has made the whole chain this function's own.
            #[expect(unsafe_code, reason = "the room of the intrusive list")]
            let link = unsafe { T::link(current) };
            node = link.load(Ordering::Relaxed);
            link.store(reversed, Ordering::Relaxed);
            reversed = current.as_ptr();
        }
        Batch { next: reversed, owns: PhantomData }
    }
}

impl<T: Linked> Drop for Inbox<T> {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}

/// What [`Inbox::take_all`] took, oldest first.
pub(crate) struct Batch<T: Linked> {
    next: *mut T::Node,
    owns: PhantomData<T>,
}

impl<T: Linked> Iterator for Batch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let node = NonNull::new(self.next)?;
        // SAFETY: the chain is this batch's own, and each node is taken back once.
        #[expect(unsafe_code, reason = "the room of the intrusive list")]
        unsafe {
            self.next = T::link(node).load(Ordering::Relaxed);
            Some(T::from_raw(node))
        }
    }
}

impl<T: Linked> Drop for Batch<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "a node for the tests")]
pub(crate) mod testing {
    use super::*;

    /// A boxed number that can be linked.
    pub(crate) struct Item(pub(crate) Box<ItemNode>);

    pub(crate) struct ItemNode {
        pub(crate) value: usize,
        link: AtomicPtr<ItemNode>,
    }

    impl Item {
        pub(crate) fn new(value: usize) -> Item {
            Item(Box::new(ItemNode { value, link: AtomicPtr::new(ptr::null_mut()) }))
        }
    }

    // SAFETY: a box keeps its node in place, and `link` is used by the inbox alone.
    unsafe impl Linked for Item {
        type Node = ItemNode;

        fn into_raw(self) -> NonNull<ItemNode> {
            NonNull::from(Box::leak(self.0))
        }

        unsafe fn from_raw(node: NonNull<ItemNode>) -> Self {
            // SAFETY: the caller hands back what `into_raw` leaked.
            Item(unsafe { Box::from_raw(node.as_ptr()) })
        }

        unsafe fn link<'a>(node: NonNull<ItemNode>) -> &'a AtomicPtr<ItemNode> {
            // SAFETY: the caller says that the node is alive.
            unsafe { &(*node.as_ptr()).link }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::testing::Item;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn first_in_first_out_and_dropped_when_forgotten() {
        let inbox = Inbox::new();
        for value in 0..5 {
            inbox.push(Item::new(value));
        }
        let mut batch = inbox.take_all();
        assert_eq!(batch.next().map(|item| item.0.value), Some(0));
        assert_eq!(batch.next().map(|item| item.0.value), Some(1));
        drop(batch);
        assert!(inbox.is_empty());
        inbox.push(Item::new(9));
    }

    #[test]
    fn each_pusher_keeps_its_order() {
        let inbox = Arc::new(Inbox::new());
        let pushers: Vec<_> = (0..4)
            .map(|pusher| {
                let inbox = inbox.clone();
                std::thread::spawn(move || {
                    for turn in 0..10_000 {
                        inbox.push(Item::new(pusher * 10_000 + turn));
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        while next.iter().sum::<usize>() < 40_000 {
            for item in inbox.take_all() {
                let (pusher, turn) = (item.0.value / 10_000, item.0.value % 10_000);
                assert_eq!(next[pusher], turn);
                next[pusher] += 1;
            }
        }
        for pusher in pushers {
            pusher.join().unwrap();
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::testing::Item;
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn nothing_is_lost() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::new());
            let pushers: Vec<_> = (0..2)
                .map(|value| {
                    let inbox = inbox.clone();
                    loom::thread::spawn(move || inbox.push(Item::new(value)))
                })
                .collect();
            let mut seen = 0;
            seen += inbox.take_all().count();
            for pusher in pushers {
                pusher.join().unwrap();
            }
            seen += inbox.take_all().count();
            assert_eq!(seen, 2);
        });
    }
}
