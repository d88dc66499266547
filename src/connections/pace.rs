//! Spreads the durable changes that one client causes over time.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A client may make as many changes at once as in this time.
const BURST: Duration = Duration::from_secs(1);

/// The durable changes of one client.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The time of the next change of a client that makes its changes evenly.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// Reserves `count` changes that are made together, at `rate` changes per second. Returns the time at which they may
    /// begin: changes that follow wait for them.
    pub(crate) fn reserve(&self, now: Instant, rate: NonZeroUsize, count: usize) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.map_or(now, |next| next.max(now));
        *next = Some(due + Duration::from_secs(1).mul_f64(count as f64 / rate.get() as f64));
        now + due.saturating_duration_since(now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_beyond_a_burst_keep_to_the_rate() {
        let (pace, now, rate) = (Pace::default(), Instant::now(), NonZeroUsize::new(10).unwrap());
        let delays: Vec<_> = (0..14).map(|_| (pace.reserve(now, rate, 1) - now).as_millis()).collect();
        assert_eq!(delays[..11], [0; 11]);
        assert_eq!(delays[11..], [100, 200, 300]);
    }

    #[test]
    fn pause_allows_another_burst() {
        let (pace, now, rate) = (Pace::default(), Instant::now(), NonZeroUsize::new(10).unwrap());
        (0..50).for_each(|_| assert!(pace.reserve(now, rate, 1) >= now));
        let later = now + Duration::from_secs(5);
        let delays: Vec<_> = (0..12).map(|_| (pace.reserve(later, rate, 1) - later).as_millis()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100]);
    }

    #[test]
    fn changes_made_together_delay_the_next_ones() {
        let (pace, now, rate) = (Pace::default(), Instant::now(), NonZeroUsize::new(10).unwrap());
        let delays = [30, 1, 1].map(|count| (pace.reserve(now, rate, count) - now).as_millis());
        assert_eq!(delays, [0, 2_000, 2_100]);
    }
}
