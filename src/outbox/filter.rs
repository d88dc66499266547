//! What a channel hears, and where it begins.

use std::{collections::HashSet, sync::Arc};

use crate::{
    ids::{GroupKey, HubName},
    message::{Message, Source},
};

/// Which of the waiting items this channel may hear.
#[derive(Clone, Debug, Default)]
pub struct ChannelFilter {
    /// Only what these hubs say; everything when absent. Groups are not asked: a group may be joined on
    /// any hub.
    pub hubs: Option<Vec<HubName>>,
    /// Not what is said to these groups, although the connection is a member.
    pub muted: HashSet<Arc<GroupKey>>,
}

impl ChannelFilter {
    /// True if the channel could hear the message. What it is deaf to by its hubs need not wait for it, whereas a group
    /// that is muted may be heard again before it is written.
    pub(super) fn listens_to(&self, message: &Message) -> bool {
        match &message.source {
            Source::Group(_) => true,
            Source::Connection | Source::User | Source::Hub => {
                self.hubs.as_ref().is_none_or(|hubs| hubs.contains(&message.call().hub))
            }
        }
    }

    pub(super) fn shows(&self, message: &Message) -> bool {
        match &message.source {
            Source::Group(key) => self.muted.is_empty() || !self.muted.contains(key),
            Source::Connection | Source::User | Source::Hub => self.listens_to(message),
        }
    }
}

/// Where a transport that attaches begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// With whatever waits.
    Waiting,
    /// After what its client has seen; the number is a cursor of this outbox.
    From(u64),
    /// With what comes next.
    Tail,
}
