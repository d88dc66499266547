//! The messages that a channel receives, and the position where it starts.

use std::{collections::HashSet, sync::Arc};

use crate::{
    ids::{GroupKey, HubName},
    message::{Message, Source},
};

/// Selects the messages that a channel receives.
#[derive(Clone, Debug, Default)]
pub struct ChannelFilter {
    /// The hubs whose messages the channel receives; `None` means all hubs. Group messages ignore this list, because a
    /// group can be joined on any hub.
    pub hubs: Option<Vec<HubName>>,
    /// Groups whose messages the channel does not receive, although the connection is a member.
    pub filtered_groups: HashSet<Arc<GroupKey>>,
}

impl ChannelFilter {
    /// True if the channel receives all messages.
    pub(super) fn passes_all(&self) -> bool {
        self.hubs.is_none() && self.filtered_groups.is_empty()
    }

    /// True if the hubs do not exclude the message. A message that fails this test is not queued. Messages of filtered
    /// groups are queued, because the group may be unfiltered before they are written.
    pub(super) fn passes_hub_filter(&self, message: &Message) -> bool {
        match &message.source {
            Source::Group(_) => true,
            Source::Connection | Source::User | Source::Hub => {
                self.hubs.as_ref().is_none_or(|hubs| hubs.contains(&message.call().hub))
            }
        }
    }

    /// True if the channel receives the message.
    pub(super) fn passes(&self, message: &Message) -> bool {
        match &message.source {
            Source::Group(key) => self.filtered_groups.is_empty() || !self.filtered_groups.contains(key),
            Source::Connection | Source::User | Source::Hub => self.passes_hub_filter(message),
        }
    }
}

/// The position where a new channel starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At the first entry that was not sent.
    Waiting,
    /// At this cursor of the outbox, after the entries that the client has received.
    From(u64),
    /// At the first message that the client has not acknowledged.
    Unacknowledged,
    /// At the next entry that is pushed.
    Tail,
}
