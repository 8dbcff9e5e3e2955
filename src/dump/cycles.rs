//! Who waits for whom, as far as locks say: rings of waits never end.

use super::{Dump, Held, LockWait, Party};
use std::collections::HashMap;

struct Wait<'a> {
    party: Party,
    waits_for: &'a str,
    held_by: &'a [Held],
}

pub(super) fn of(dump: &Dump) -> Vec<Vec<LockWait>> {
    let coroutines = dump.coroutines().filter_map(|one| {
        let waits_for = one.waits_for.as_deref()?;
        Some(Wait { party: Party::Coroutine(one.id), waits_for, held_by: &one.held_by })
    });
    let threads = dump.threads.iter().map(|one| Wait {
        party: Party::Thread(one.id, one.name.clone()),
        waits_for: &one.waits_for,
        held_by: &one.held_by,
    });
    let all: Vec<_> = coroutines.chain(threads).filter(|one| !one.held_by.is_empty()).collect();
    let places: HashMap<_, _> = all.iter().enumerate().map(|(at, one)| (&one.party, at)).collect();
    let target = |at: usize, edge: usize| {
        let held: &Held = all[at].held_by.get(edge)?;
        Some(places.get(&held.by).copied())
    };
    let link = |path: &[usize], at: usize| {
        let (this, next) = (&all[path[at]], &all[path[(at + 1) % path.len()]].party);
        let held = this.held_by.iter().find(|held| held.by == *next)?;
        Some(LockWait {
            party: this.party.clone(),
            waits_for: this.waits_for.to_owned(),
            locked_at: held.locked_at,
        })
    };
    let ring = |path: Vec<usize>| (0..path.len()).filter_map(|at| link(&path, at)).collect();
    rings(all.len(), target).into_iter().map(ring).collect()
}

/// Rings in the graph of so many nodes, at least one of each knot. `target(node, n)` is where the
/// node's n-th edge leads, perhaps out of the graph; `None`: there are no more.
///
/// A depth-first search, with a stack of its own since a path may be as long as there are nodes.
fn rings(nodes: usize, target: impl Fn(usize, usize) -> Option<Option<usize>>) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        /// On the path, at that place.
        OnPath(usize),
        Done,
    }
    let mut marks = vec![Mark::New; nodes];
    let mut found = Vec::new();
    for start in 0..nodes {
        if marks[start] != Mark::New {
            continue;
        }
        // Each with its next edge.
        let mut path = vec![(start, 0)];
        marks[start] = Mark::OnPath(0);
        while let Some((node, next)) = path.last_mut() {
            let (from, edge) = (*node, *next);
            *next += 1;
            match target(from, edge) {
                None => {
                    marks[from] = Mark::Done;
                    path.pop();
                }
                Some(None) => {}
                Some(Some(to)) => match marks[to] {
                    Mark::New => {
                        marks[to] = Mark::OnPath(path.len());
                        path.push((to, 0));
                    }
                    Mark::OnPath(place) => {
                        found.push(path[place..].iter().map(|step| step.0).collect());
                    }
                    Mark::Done => {}
                },
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings_of(edges: &[&[usize]]) -> Vec<Vec<usize>> {
        rings(edges.len(), |at, n| edges[at].get(n).map(|&to| (to < edges.len()).then_some(to)))
    }

    #[test]
    fn rings_are_found_and_nothing_else() {
        const OUTSIDE: usize = 99;
        assert!(rings_of(&[&[1], &[2], &[OUTSIDE]]).is_empty());
        assert!(rings_of(&[&[1, 2], &[3], &[3], &[]]).is_empty());
        assert_eq!(rings_of(&[&[0]]), [[0]]);
        assert_eq!(rings_of(&[&[2], &[0], &[1]]), [[0, 2, 1]]);
        // A tail that leads into a ring, and a second ring elsewhere.
        assert_eq!(rings_of(&[&[1], &[2], &[3], &[1], &[5], &[4]]), [vec![1, 2, 3], vec![4, 5]]);
        // One of several readers closes the ring.
        assert_eq!(rings_of(&[&[OUTSIDE, 1, 2], &[], &[0]]), [[0, 2]]);
    }
}
