//! The groups token of a client: the token that it has, and the token that it gets next.
//!
//! Wire: the groups token (`G`) lists all groups. It is sent when the groups differ from those of the last sent token.
//! A change that is reverted before it is sent needs no new token.

use std::time::Duration;

use tokio::time::Instant;

use super::{ChannelAttached, SessionEffects};
use crate::{
    classic::message,
    connection::{Effect, GroupsChanged},
    pipeline::TokenGroups,
};

/// Groups, and the token that lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GroupsAndToken {
    groups: TokenGroups,
    token: Option<String>,
}

/// The state of the groups token of one client.
#[derive(Debug)]
pub(super) struct GroupsTokenState {
    lifetime: Duration,
    /// The last token that was sent to the client, or that the client has presented.
    known_to_client: GroupsAndToken,
    /// The token that was set for the next frame. Whether it was sent is only known at the next change or attach.
    queued: Option<GroupsAndToken>,
    /// The next token is sent even if the groups have not changed.
    renewal_requested: bool,
    renewal_due: Option<Instant>,
}

impl GroupsTokenState {
    /// `lifetime` is the lifetime of a token. A new token is due after half of it.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            known_to_client: GroupsAndToken::default(),
            queued: None,
            renewal_requested: false,
            renewal_due: None,
        }
    }

    /// The time when a new token is due.
    pub(super) fn renewal_due(&self) -> Option<Instant> {
        self.renewal_due
    }

    /// Requests a new token, if one is due.
    pub(super) fn renew_if_due(&mut self, now: Instant) -> SessionEffects {
        if self.renewal_due.is_none_or(|due| now < due) {
            return SessionEffects::none();
        }
        (self.renewal_due, self.renewal_requested) = (None, true);
        Effect::RefreshGroupsToken.into()
    }

    /// A channel was attached. A token that the previous channel has not sent is sent now, and a token that the client
    /// did not receive is sent again.
    pub(super) fn on_attached(&mut self, attached: &ChannelAttached) -> SessionEffects {
        if let Some(claimed) = &attached.claimed {
            self.known_to_client = GroupsAndToken { groups: claimed.clone(), token: attached.token.clone() };
            self.queued = None;
            return Effect::RefreshGroupsToken.into();
        }
        self.resolve_queued(attached.has_unsent_token);
        let token = self.queued.as_ref().map_or(&self.known_to_client.token, |queued| &queued.token);
        if token.is_some() && *token != attached.token {
            return Effect::SetGroupsToken(token.as_deref().map(message::groups_token_member)).into();
        }
        SessionEffects::none()
    }

    /// Records whether the queued token was sent.
    fn resolve_queued(&mut self, has_unsent_token: bool) {
        match self.queued.take() {
            Some(queued) if has_unsent_token => self.queued = Some(queued),
            Some(queued) => self.known_to_client = queued,
            None => {}
        }
    }

    /// The groups have changed, or a requested token is ready.
    pub(super) fn on_changed(&mut self, changed: GroupsChanged, now: Instant) -> SessionEffects {
        let GroupsChanged { groups, token, has_unsent_token } = changed;
        self.resolve_queued(has_unsent_token);
        self.renewal_due = Some(now + self.lifetime / 2);
        if groups == self.known_to_client.groups && !std::mem::take(&mut self.renewal_requested) {
            self.queued = None;
            return Effect::SetGroupsToken(None).into();
        }
        let member = message::groups_token_member(&token);
        self.queued = Some(GroupsAndToken { groups, token: Some(token) });
        Effect::SetGroupsToken(Some(member)).into()
    }
}
