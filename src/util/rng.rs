//! The random order in which machines look at each other's queues.

use std::cell::Cell;

/// Marsaglia's xorshift64* (*Xorshift RNGs*, 2003; multiplier by Vigna, 2014): cheap, never zero.
#[derive(Debug)]
pub(crate) struct Rng(Cell<u64>);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
    }

    /// 64 random bits.
    #[inline]
    pub(crate) fn bits(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&self, n: usize) -> usize {
        // Lemire's multiply-shift instead of a division.
        (((self.bits() >> 32) * n as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_its_range_evenly() {
        let rng = Rng::new(7);
        let mut seen = [0_u32; 5];
        for _ in 0..50_000 {
            seen[rng.below(5)] += 1;
        }
        assert!(seen.iter().all(|&count| (9_000..11_000).contains(&count)), "{seen:?}");
    }
}
