//! The pace of calls that serve many requests. In a storm of requests, calls wait for more of them, so that few calls serve
//! all of them.
//!
//! It is pure: the caller passes the time.

use std::time::Duration;

use tokio::time::Instant;

/// The time between the starts of two calls, for each request of the first one. At more than 200 requests per second the
/// batches grow, up to those of the maximum time; below, a request rarely waits.
const INTERVAL_PER_REQUEST: Duration = Duration::from_millis(5);

/// The part of the time limit of a call that its requests wait for others at most: a twenty-fifth, so 200 ms by default.
/// More requests in a batch would save few calls.
const MAX_PART_OF_DEADLINE: u32 = 25;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct BatchPacing {
    max_interval: Duration,
    max_batch: usize,
    /// The earliest start of the next call.
    next: Option<Instant>,
}

impl BatchPacing {
    /// The pace of calls with this time limit, each for at most `max_batch` requests.
    pub(crate) fn new(deadline: Duration, max_batch: usize) -> Self {
        Self { max_interval: deadline / MAX_PART_OF_DEADLINE, max_batch, next: None }
    }

    /// Records a call that starts now and serves `requests`.
    pub(crate) fn record(&mut self, now: Instant, requests: usize) {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        self.next = Some(now + INTERVAL_PER_REQUEST.saturating_mul(requests).min(self.max_interval));
    }

    /// How long the next call waits for more requests, if `waiting` requests wait for it. A full batch does not wait.
    pub(crate) fn pause(&self, now: Instant, waiting: usize) -> Duration {
        let next = self.next.filter(|_| waiting < self.max_batch);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BATCH: usize = 5_000;

    fn pacing() -> BatchPacing {
        BatchPacing::new(Duration::from_secs(5), MAX_BATCH)
    }

    #[test]
    fn call_waits_as_the_previous_batch_was_large() {
        let (start, mut pacing) = (Instant::now(), pacing());
        assert_eq!(pacing.pause(start, 1), Duration::ZERO);
        for (requests, pause) in [(1, 5), (10, 50), (40, 200), (100_000, 200)] {
            pacing.record(start, requests);
            let pauses = [0, 3, 1_000].map(|later| pacing.pause(start + Duration::from_millis(later), 1));
            assert_eq!(pauses, [pause, pause - 3, 0].map(Duration::from_millis), "{requests}");
        }
    }

    #[test]
    fn full_batch_does_not_wait() {
        let (start, mut pacing) = (Instant::now(), pacing());
        pacing.record(start, MAX_BATCH);
        assert!(pacing.pause(start, MAX_BATCH - 1) > Duration::ZERO);
        assert_eq!([MAX_BATCH, MAX_BATCH + 1].map(|waiting| pacing.pause(start, waiting)), [Duration::ZERO; 2]);
    }

    /// The batch of each call has the requests of the time between the calls.
    #[test]
    fn batches_grow_in_a_storm_only() {
        for (per_second, largest) in [(10, 1), (100, 1), (1_000, 200), (20_000, 4_000)] {
            let (mut now, mut pacing, mut batch) = (Instant::now(), pacing(), 1);
            for _ in 0..50 {
                pacing.record(now, batch);
                let pause = pacing.pause(now, batch);
                now += pause;
                batch = Ord::max(1, per_second * usize::try_from(pause.as_millis()).unwrap() / 1_000);
            }
            assert_eq!(batch, largest, "{per_second} per second");
        }
    }
}
