//! Histograms of durations.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The resolution of the sum. With it, the sum of 100,000 concurrent durations overflows after 213 days of each.
const TICK: Duration = Duration::from_nanos(100);

/// A histogram of durations with fixed buckets. A recorded duration costs two atomic additions and takes no lock.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The upper bounds of the buckets in seconds, ascending. A last bucket without a bound follows.
    bounds: &'static [f64],
    /// The number of durations in each bucket.
    counts: Box<[AtomicU64]>,
    ticks: AtomicU64,
}

/// The state of a histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistogramSnapshot {
    /// The upper bound of each bucket in seconds, and the number of durations in it.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// The sum of all durations in seconds.
    pub(crate) sum: f64,
}

impl HistogramSnapshot {
    /// The number of durations.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), ticks: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        let ticks = u64::try_from(duration.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.ticks.fetch_add(ticks, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "a sum in seconds needs no exact tick")]
        let sum = self.ticks.load(Ordering::Relaxed) as f64 * TICK.as_secs_f64();
        HistogramSnapshot { buckets: bounds.zip(counts).collect(), sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_counts_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[0.5, 2.0]);
        for millis in [0, 499, 500, 501, 2_000, 2_001, 90_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets, [(0.5, 3), (2.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((snapshot.count(), (snapshot.sum * 1000.0).round()), (7, 95_501.0));
    }
}
