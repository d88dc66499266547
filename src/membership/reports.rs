//! What the membership actor reports to other parts of the process.

use tokio::sync::{mpsc, watch};

use super::NodeName;
use crate::store::LastSeen;

/// The maximum number of renewals whose lost users wait. Their handlers can take minutes, and a renewal happens every 10 s.
const MAX_WAITING_RENEWALS: usize = 16;

/// The users whose connections have ended with their process, as renewals find them.
pub(crate) type LostUsers = mpsc::Receiver<Vec<LastSeen>>;

/// Where the actor reports to. It outlives the actor.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    pub(super) node_name: watch::Sender<NodeName>,
    lost_users: mpsc::Sender<Vec<LastSeen>>,
}

impl Reports {
    /// Returns also where the reports arrive: whether this process holds the name of its node, and the lost users.
    pub(crate) fn new() -> (Self, watch::Receiver<NodeName>, LostUsers) {
        let (node_name, names) = watch::channel(NodeName::default());
        let (lost_users, lost) = mpsc::channel(MAX_WAITING_RENEWALS);
        (Self { node_name, lost_users }, names, lost)
    }

    /// Reports lost users. Returns the number of users that are not reported, because too many wait.
    pub(super) fn report_lost(&self, users: Vec<LastSeen>) -> u64 {
        if users.is_empty() {
            return 0;
        }
        match self.lost_users.try_send(users) {
            Err(mpsc::error::TrySendError::Full(users)) => users.len() as u64,
            // Closed: no hub handles presence.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn users() -> Vec<LastSeen> {
        vec![LastSeen { user: "ann".into(), at: SystemTime::UNIX_EPOCH }]
    }

    #[test]
    fn lost_users_beyond_the_limit_are_counted() {
        let (reports, _, mut lost) = Reports::new();
        assert_eq!((0..MAX_WAITING_RENEWALS).map(|_| reports.report_lost(users())).sum::<u64>(), 0);
        assert_eq!(reports.report_lost(users()), 1);
        assert_eq!(lost.try_recv(), Ok(users()));
        assert_eq!(reports.report_lost(users()), 0);
        drop(lost);
        assert_eq!(reports.report_lost(users()), 0, "no hub handles presence");
    }
}
