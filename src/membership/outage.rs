//! Outages of the store, for the log: one line when an outage begins, and one when it has ended.
//!
//! They are judged by the renewals of the node and the reading of memberships after each, which happen at intervals and
//! at checks of the store. Clients and hubs can cause any number of other calls. It is pure: the actor passes the time.

use std::time::Duration;

use tokio::time::Instant;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Outage {
    /// The time of the first failure since the last success.
    began_at: Option<Instant>,
}

/// A change of the state of the store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutageStep {
    Began,
    Ended { lasted: Duration },
}

impl Outage {
    /// Follows the result of a check of the store.
    pub(super) fn observe(&mut self, is_success: bool, now: Instant) -> Option<OutageStep> {
        match (self.began_at, is_success) {
            (None, false) => {
                self.began_at = Some(now);
                Some(OutageStep::Began)
            }
            (Some(began_at), true) => {
                self.began_at = None;
                Some(OutageStep::Ended { lasted: now.saturating_duration_since(began_at) })
            }
            (None, true) | (Some(_), false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outage_has_one_begin_and_one_end() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let mut steps = Vec::new();
        for (second, is_success) in [true, false, false, false, true, true, false].into_iter().enumerate() {
            steps.push(outage.observe(is_success, start + Duration::from_secs(second as u64)));
        }
        let ended = OutageStep::Ended { lasted: Duration::from_secs(3) };
        assert_eq!(steps, [None, Some(OutageStep::Began), None, None, Some(ended), None, Some(OutageStep::Began)]);
    }
}
