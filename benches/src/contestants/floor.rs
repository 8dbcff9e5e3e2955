//! The bare means: a stack switch, a page fault.

use super::Figures;
use crate::race::warm;
use crate::table::{millis, nanos_each};
use crate::tree::fib;
use crate::{cpu, memory};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use std::hint::black_box;

pub(super) fn work(_workers: usize, work: &str, numbers: &[u64]) -> Figures {
    match (work, numbers) {
        ("yield", &[switches]) => warm(work, numbers, || Some(yields(switches))),
        ("spawn", &[count]) => warm(work, numbers, || Some(spawns(count))),
        ("fib", &[n, _]) => warm(work, numbers, || {
            Some(millis(|| {
                black_box(fib(black_box(n)));
            }))
        }),
        ("parked", &[count, _]) => Some(touched_pages(count)),
        _ => None,
    }
}

fn yields(switches: u64) -> f64 {
    let mut pair = [(); 2].map(|()| {
        Coroutine::<(), (), ()>::new(move |yielder, ()| {
            for _ in 0..switches / 2 {
                yielder.suspend(());
            }
        })
    });
    nanos_each(switches, || {
        while let [CoroutineResult::Yield(()), CoroutineResult::Yield(())] =
            [pair[0].resume(()), pair[1].resume(())]
        {}
    })
}

fn spawns(count: u64) -> f64 {
    let mut stack = Some(DefaultStack::new(64 * 1024).expect("a stack"));
    nanos_each(count, || {
        for _ in 0..count {
            let taken = stack.take().expect("given back below");
            let mut coroutine = Coroutine::<(), (), ()>::with_stack(taken, |_, ()| ());
            coroutine.resume(());
            stack = Some(coroutine.into_stack());
        }
    })
}

/// A parked coroutine has one page of its own, at least.
fn touched_pages(count: u64) -> Vec<f64> {
    const PAGE: usize = 4096;
    let (before, cpu_before) = (memory::now(), cpu::nanos());
    let mut bytes = 0.0;
    let nanos = nanos_each(count, || {
        let mut pages = vec![0_u8; count as usize * PAGE];
        pages.chunks_mut(PAGE).for_each(|page| page[0] = 1);
        bytes = memory::each_since(before, count);
        drop(black_box(pages));
    });
    let cpu = (cpu::nanos() - cpu_before) as f64 / count as f64;
    vec![nanos / 1e3, cpu / 1e3, bytes]
}
