//! How long things took.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Longer ones count as this, in nanoseconds: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// A collection of durations that knows its quantiles to three digits.
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Latency {
        Latency(Histogram::new_with_max(LONGEST, 3).expect("the bounds are in order"))
    }

    pub(crate) fn record(&mut self, durations: &[Duration]) {
        for duration in durations {
            let nanoseconds = duration.as_nanos().try_into().unwrap_or(u64::MAX);
            self.0.saturating_record(nanoseconds);
        }
    }

    /// `quantile` is from 0 to 1.
    pub(crate) fn at(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }
}
