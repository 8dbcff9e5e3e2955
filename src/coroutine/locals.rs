//! What a coroutine keeps for `coroutine_local!`: values by key, in the order in which they came.
//!
//! Few coroutines have any, and those have few, so a list that is searched from its end serves. It
//! lives with the coroutine's resident part: only the coroutine itself ever looks.

use std::any::Any;
use std::rc::Rc;

/// Names a `coroutine_local!` declaration: the address of its static.
pub(crate) type LocalId = *const ();

/// The value of one key.
pub(crate) enum Local {
    /// Not yet asked for.
    Absent,
    Alive(Rc<dyn Any>),
    /// Its destructor has begun.
    Destroyed,
}

/// See the module's description.
pub(crate) struct Locals {
    /// A destroyed value leaves its key behind.
    entries: Vec<(LocalId, Option<Rc<dyn Any>>)>,
}

impl Locals {
    pub(crate) const fn new() -> Locals {
        Locals { entries: Vec::new() }
    }

    pub(crate) fn get(&self, id: LocalId) -> Local {
        match self.entries.iter().rev().find(|entry| entry.0 == id) {
            Some((_, Some(value))) => Local::Alive(value.clone()),
            Some((_, None)) => Local::Destroyed,
            None => Local::Absent,
        }
    }

    /// Stores a value and returns the one it replaces: that of an initialiser which asked for
    /// itself.
    pub(crate) fn set(&mut self, id: LocalId, value: Rc<dyn Any>) -> Option<Rc<dyn Any>> {
        match self.entries.iter_mut().rev().find(|entry| entry.0 == id) {
            Some((_, old)) => old.replace(value),
            None => {
                self.entries.push((id, Some(value)));
                None
            }
        }
    }

    /// Takes the youngest value for its destruction.
    pub(crate) fn take_last(&mut self) -> Option<Rc<dyn Any>> {
        self.entries.iter_mut().rev().find_map(|entry| entry.1.take())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_go_youngest_first_and_leave_their_keys() {
        let ids = [0_u8; 3];
        let id = |index: usize| (&raw const ids[index]).cast::<()>();
        let mut locals = Locals::new();
        assert!(matches!(locals.get(id(0)), Local::Absent));
        for index in 0..3 {
            assert!(locals.set(id(index), Rc::new(index)).is_none());
        }
        let replaced = locals.set(id(1), Rc::new(10_usize)).and_then(|old| old.downcast().ok());
        assert_eq!(replaced.as_deref(), Some(&1_usize));
        let gone: Vec<usize> = std::iter::from_fn(|| locals.take_last())
            .map(|value| *value.downcast::<usize>().expect("all are of this type"))
            .collect();
        assert_eq!(gone, [2, 10, 0]);
        assert!(matches!(locals.get(id(1)), Local::Destroyed));
    }
}
