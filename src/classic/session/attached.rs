//! A channel as its session is told of it.

use std::sync::Arc;

use crate::{
    classic::query::{ConnectKind, EndpointHubs, Transport},
    pipeline::TokenGroups,
};

/// A channel that has been attached.
#[derive(Debug)]
pub(crate) struct ChannelAttached {
    pub(crate) number: u32,
    pub(crate) transport: Transport,
    pub(crate) arrival: ConnectKind,
    /// The client asks for its OnConnected itself.
    pub(crate) asks_for_start: bool,
    /// The hubs that can be called over it.
    pub(crate) callable: Arc<EndpointHubs>,
    /// The token that it presented.
    pub(crate) token: Option<String>,
    /// The groups of that token, if it was asked what they are worth.
    pub(crate) claimed: Option<TokenGroups>,
    pub(crate) place: ResumePosition,
    /// The connection is new to this process, although its client is not.
    pub(crate) is_fresh: bool,
    /// What the client should know had not been said on the channel before.
    pub(crate) has_unsaid: bool,
}

/// Where a client is in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumePosition {
    /// Here.
    Known,
    /// It does not say.
    Unsaid,
    /// Nobody knows any more: it has missed what there was.
    Lost,
}
