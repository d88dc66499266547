//! What a client knows of its groups, and what it has yet to be told.
//!
//! Wire: the groups token (`G`) names all groups, and is sent when they have changed since it was last said;
//! what changed and changed back meanwhile is no news.

use std::time::Duration;

use tokio::time::Instant;

use super::{ChannelAttached, Out};
use crate::{
    classic::message,
    connection::{Effect, GroupsChanged},
    pipeline::TokenGroups,
};

/// Groups, and the token for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    groups: TokenGroups,
    token: Option<String>,
}

/// What one client knows of its groups.
#[derive(Debug)]
pub(super) struct GroupsTokenState {
    lifetime: Duration,
    /// What it was told last, or brought itself.
    told: Known,
    /// What it is told with its next frame, or was: that is seen when there is more to tell.
    next: Option<Known>,
    /// A new token is due, although nothing has changed.
    renews: bool,
    renewal_due: Option<Instant>,
}

impl GroupsTokenState {
    /// `lifetime` is how long a token is good; a new one is due at half of it.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, told: Known::default(), next: None, renews: false, renewal_due: None }
    }

    /// When a new token is due.
    pub(super) fn renewal_due(&self) -> Option<Instant> {
        self.renewal_due
    }

    /// Wants a new token, if one is due.
    pub(super) fn renew(&mut self, now: Instant) -> Out {
        if self.renewal_due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        (self.renewal_due, self.renews) = (None, true);
        vec![Effect::Retoken]
    }

    /// A channel is there. What one before it did not say is said now, and a token that the client does not
    /// have is sent again.
    pub(super) fn catch_up(&mut self, attached: &ChannelAttached) -> Out {
        if let Some(claimed) = &attached.claimed {
            self.told = Known { groups: claimed.clone(), token: attached.token.clone() };
            self.next = None;
            return vec![Effect::Retoken];
        }
        self.settle(attached.has_unsaid);
        let token = self.next.as_ref().map_or(&self.told.token, |next| &next.token);
        if token.is_some() && *token != attached.token {
            return vec![Effect::Tell(token.as_deref().map(message::groups))];
        }
        Vec::new()
    }

    /// Takes note of whether the last news has been said.
    fn settle(&mut self, has_unsaid: bool) {
        match self.next.take() {
            Some(next) if has_unsaid => self.next = Some(next),
            Some(next) => self.told = next,
            None => {}
        }
    }

    /// The groups are these now.
    pub(super) fn regrouped(&mut self, regrouped: GroupsChanged, now: Instant) -> Out {
        let GroupsChanged { groups, token, has_unsaid } = regrouped;
        self.settle(has_unsaid);
        self.renewal_due = Some(now + self.lifetime / 2);
        if groups == self.told.groups && !std::mem::take(&mut self.renews) {
            self.next = None;
            return vec![Effect::Tell(None)];
        }
        let news = message::groups(&token);
        self.next = Some(Known { groups, token: Some(token) });
        vec![Effect::Tell(Some(news))]
    }
}
