//! One comparison of all connected users, in batches.

use std::time::Duration;

use tokio::time::Instant;

use super::Reconciled;
use crate::ids::UserId;

/// The minimum pause between two batches: at most ten queries per second, each for up to 1,000 users.
pub(super) const MIN_PAUSE: Duration = Duration::from_millis(100);

/// The users that are still to be compared, and the pace.
pub(super) struct Pass {
    users: Vec<UserId>,
    batch: usize,
    is_urgent: bool,
    pause: Duration,
    began: Instant,
    reconciled: Reconciled,
}

impl Pass {
    /// Spreads the batches of `users` evenly over `window`, with at least [`MIN_PAUSE`] between two of them.
    pub(super) fn new(users: Vec<UserId>, batch: usize, window: Duration) -> Self {
        let batches = u32::try_from(users.len().div_ceil(batch)).unwrap_or(u32::MAX).max(1);
        let pause = (window / batches).max(MIN_PAUSE);
        Self {
            users,
            batch,
            is_urgent: window.is_zero(),
            pause,
            began: Instant::now(),
            reconciled: Reconciled::default(),
        }
    }

    /// Whether it takes as little time as possible.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// The users to compare next; none after the last ones.
    pub(super) fn next_batch(&mut self) -> Vec<UserId> {
        self.users.split_off(self.users.len().saturating_sub(self.batch))
    }

    pub(super) fn has_more(&self) -> bool {
        !self.users.is_empty()
    }

    /// The pause before the next batch.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn add(&mut self, reconciled: Reconciled) {
        self.reconciled += reconciled;
    }

    /// The changes of all batches so far.
    pub(super) fn reconciled(&self) -> Reconciled {
        self.reconciled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(count: usize) -> Vec<UserId> {
        (0..count).map(|number| number.to_string().into()).collect()
    }

    fn pause_ms(count: usize, window_ms: u64) -> u128 {
        Pass::new(users(count), 1_000, Duration::from_millis(window_ms)).pause().as_millis()
    }

    #[test]
    fn every_user_is_in_one_batch() {
        let mut pass = Pass::new(users(2_500), 1_000, Duration::ZERO);
        let mut batches = Vec::new();
        while pass.has_more() {
            batches.push(pass.next_batch());
        }
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        let mut all = batches.concat();
        all.sort_unstable();
        let mut expected = users(2_500);
        expected.sort_unstable();
        assert_eq!(all, expected);
        assert!(pass.next_batch().is_empty());
    }

    #[test]
    fn batches_are_spread_over_the_window() {
        assert_eq!(pause_ms(5_000, 60_000), 12_000);
        assert_eq!(pause_ms(5_001, 60_000), 10_000);
        assert_eq!(pause_ms(0, 60_000), 60_000);
        assert_eq!(pause_ms(5_000, 0), 100);
        assert_eq!(pause_ms(1_000_000, 60_000), 100);
    }
}
