//! The report to a client that has presented a rejoin token: the groups that it is in, and what it has lost.
//!
//! Wire: the argument of the client method [`REJOINED_METHOD`] is an object.
//!
//! ```json
//! {"groups": {"chat": ["lobby"]}, "more": 0, "refused": null, "lost": 0, "revoked": 0}
//! ```

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::RejoinError;
use crate::ids::{GroupKey, HubName};

/// Wire: the client method that receives the report. The colon prevents a clash with application methods.
pub(crate) const REJOINED_METHOD: &str = "hubcast:rejoined";

/// The maximum length of the names in a report, in bytes. Together with the names of a token it stays far below the
/// limit of an outbox.
const MAX_NAMES_BYTES: usize = 32 * 1024;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RejoinReport {
    /// The groups that the client is in, by hub. A hub without groups is listed too.
    groups: BTreeMap<HubName, Vec<Arc<str>>>,
    /// The number of groups that the client is in and that `groups` lacks, because their names are too long in total.
    more: usize,
    /// The code of the reason for which the token was refused; `null` if it was accepted.
    refused: Option<&'static str>,
    /// The number of groups that the client was in and is not put back into, because its token could not list them.
    lost: usize,
    /// The number of groups that the client was in and is not put back into, because the tokens of the group are revoked.
    revoked: usize,
}

/// The losses of a client that has presented a rejoin token.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    /// The reason for which its token was refused.
    pub(crate) refusal: Option<RejoinError>,
    /// The number of groups that an accepted token could not list.
    pub(crate) unlisted: usize,
    /// The number of groups that an accepted token did not restore, because the tokens of the group are revoked.
    pub(crate) revoked: usize,
}

impl RejoinReport {
    /// The report to a client that is restored into `groups` of these hubs.
    pub(crate) fn new(
        hubs: &[HubName],
        groups: impl IntoIterator<Item = Arc<GroupKey>>,
        Losses { refusal, unlisted, revoked }: Losses,
    ) -> Self {
        let mut report = Self {
            groups: hubs.iter().map(|hub| (hub.clone(), Vec::new())).collect(),
            more: 0,
            refused: refusal.map(RejoinError::code),
            lost: unlisted,
            revoked,
        };
        let mut capacity = MAX_NAMES_BYTES;
        for group in groups {
            report.add(&group, &mut capacity);
        }
        report
    }

    fn add(&mut self, group: &GroupKey, capacity: &mut usize) {
        match capacity.checked_sub(group.name.len()) {
            Some(rest) => {
                *capacity = rest;
                self.groups.entry(group.hub.clone()).or_default().push(group.name.as_str().into());
            }
            None => self.more += 1,
        }
    }

    /// The hubs that the client has connected to.
    pub(crate) fn hubs(&self) -> impl Iterator<Item = &HubName> {
        self.groups.keys()
    }

    /// True if the client was in groups that it is not put back into, although its token was accepted.
    pub(crate) fn has_lost_groups(&self) -> bool {
        self.lost > 0 || self.revoked > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Arc<GroupKey> {
        GroupKey::new(&"chat".into(), &name.into())
    }

    #[test]
    fn report_lists_groups_by_hub() {
        let losses = Losses { unlisted: 2, revoked: 1, ..Losses::default() };
        let report = RejoinReport::new(&["chat".into(), "news".into()], [group("a"), group("b")], losses);
        let json = r#"{"groups":{"chat":["a","b"],"news":[]},"more":0,"refused":null,"lost":2,"revoked":1}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), json);
        assert!(report.has_lost_groups());
    }

    #[test]
    fn names_beyond_the_limit_are_counted() {
        let long = "x".repeat(MAX_NAMES_BYTES - 1);
        let report = RejoinReport::new(&[], [group(&long), group("ab"), group("c")], Losses::default());
        assert_eq!((report.groups[&HubName::from("chat")].len(), report.more), (2, 1));
        assert!(!report.has_lost_groups());
    }
}
