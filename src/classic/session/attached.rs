//! The attach of a channel, as the session sees it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::classic::query::{ConnectKind, EndpointHubs, Transport};

/// A channel that has been attached.
#[derive(Debug)]
pub(crate) struct ChannelAttached {
    pub(crate) number: u32,
    pub(crate) transport: Transport,
    pub(crate) connect_kind: ConnectKind,
    /// The client sends a start request, which runs OnConnected.
    pub(crate) sends_start: bool,
    /// The hubs that the client can call over this channel.
    pub(crate) endpoint_hubs: Arc<EndpointHubs>,
    /// The client was rejoined to its groups.
    pub(crate) is_rejoined: bool,
    pub(crate) resume_position: ResumePosition,
    /// The connection was created again in this process for a client that had it before.
    pub(crate) is_recreated: bool,
    /// When the credentials of its request expire, if that ends the connection.
    pub(crate) expires: Option<Instant>,
    /// The previous channel did not send the last groups token.
    pub(crate) has_unsent_token: bool,
    /// The client presented the last groups token that was sent, or none was sent.
    pub(crate) has_current_token: bool,
}

/// The knowledge about a client's position in the message sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumePosition {
    /// The client presented a valid cursor.
    Known,
    /// The client presented no cursor.
    Unspecified,
    /// The cursor is of another sequence, or messages after it are no longer kept: the client has missed messages.
    Lost,
}
