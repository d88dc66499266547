//! The requests for channels, and what a session does when one is attached.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{INITIALIZED, OwnEffect, Session, SessionEffects, channel::Channel, groups_token};
use crate::{
    classic::{
        cursor::Cursor,
        frames::{ClassicFramer, FrameFormat},
        query::{ConnectKind, EndpointHubs},
    },
    connection::{AttachChannel, ChannelAttached, ChannelDecision, ChannelSetup, ChannelState, Effect, RejoinPlan},
    ids::HubName,
    outbox::{FrameFields, Resume, Unsent},
    transport::Transport,
};

/// A request for a channel.
#[derive(Clone, Debug)]
pub(crate) struct ChannelRequest {
    pub(crate) connect_kind: ConnectKind,
    pub(crate) frame_format: FrameFormat,
    /// The client sends a start request, which runs OnConnected.
    pub(crate) sends_start: bool,
    /// The hubs that the channel receives from.
    pub(crate) hubs: Vec<HubName>,
    /// The hubs that the client can call over this channel.
    pub(crate) endpoint_hubs: Arc<EndpointHubs>,
    pub(crate) cursor: Option<String>,
    pub(crate) groups_token: Option<String>,
    /// When the credentials of the request expire, if that ends the connection.
    pub(crate) expires: Option<Instant>,
}

/// The client has changed to a stream while this poll was on its way. The bytes are the response to the poll.
#[derive(Debug)]
pub(crate) struct StalePoll(pub(crate) Bytes);

/// The knowledge about a client's position in the message sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResumePosition {
    /// The client presented a valid cursor.
    Known,
    /// The client presented no cursor.
    Unspecified,
    /// The cursor is of another sequence, or messages after it are no longer kept: the client has missed messages.
    Lost,
}

/// True for the next poll of a connection.
fn is_next_poll(attach: &AttachChannel<Session>) -> bool {
    attach.request.connect_kind == ConnectKind::Other && attach.transport.is_poll()
}

/// True if the client must rejoin its groups first. A new connection ignores the groups token of its client. The next
/// poll of a known connection is in its groups already. A second connect, over another transport, rejoins the groups of
/// the token and the durable groups.
fn needs_rejoin(attach: &AttachChannel<Session>, has_had_channel: bool) -> bool {
    match attach.request.connect_kind {
        ConnectKind::Connect => has_had_channel,
        ConnectKind::Reconnect => true,
        ConnectKind::Other => !has_had_channel || !is_next_poll(attach),
    }
}

/// The connection was created again in this process for a client that had it before.
fn is_recreated(attached: &ChannelAttached<Session>) -> bool {
    attached.is_first && attached.is_rejoined
}

impl Session {
    pub(super) fn decide(
        &self,
        attach: &AttachChannel<Self>,
        channels: &ChannelState,
        tail: u64,
    ) -> ChannelDecision<Self> {
        let resume = self.resume_point(attach.request.cursor.as_deref(), channels.has_had_channel()).0;
        if is_next_poll(attach) && channels.has_stream() {
            let cursor = if let Resume::From(cursor) = resume { cursor } else { tail };
            let unchanged = Unsent { cursor, fields: FrameFields::default() };
            return ChannelDecision::Refuse(StalePoll(self.framer(&attach.request).empty_frame(&unchanged)));
        }
        if self.is_aborted_by_hub || !needs_rejoin(attach, channels.has_had_channel()) {
            return ChannelDecision::Attach;
        }
        ChannelDecision::Rejoin(RejoinPlan {
            token: attach.request.groups_token.clone(),
            resume,
            joins_durable: attach.request.connect_kind == ConnectKind::Connect,
        })
    }

    pub(super) fn setup(&self, request: &ChannelRequest, channels: &ChannelState) -> ChannelSetup {
        ChannelSetup {
            resume: self.resume_point(request.cursor.as_deref(), channels.has_had_channel()).0,
            framer: Arc::new(self.framer(request)),
            hubs: Some(request.hubs.clone()),
            token: request.groups_token.clone(),
        }
    }

    fn framer(&self, request: &ChannelRequest) -> ClassicFramer {
        ClassicFramer {
            frame_format: request.frame_format.clone(),
            epoch: Arc::clone(&self.epoch),
            long_poll_delay: self.settings.long_poll_delay,
        }
    }

    /// The position where a new channel starts if its client presents this cursor, and the reliability of that
    /// position.
    pub(super) fn resume_point(&self, cursor: Option<&str>, has_had_channel: bool) -> (Resume, ResumePosition) {
        match cursor.map(Cursor::parse) {
            _ if self.is_aborted_by_hub => (Resume::Tail, ResumePosition::Unspecified),
            None if has_had_channel => (Resume::Tail, ResumePosition::Unspecified),
            None => (Resume::Waiting, ResumePosition::Unspecified),
            Some(Some(Cursor { epoch, sequence })) if *epoch == *self.epoch => {
                (Resume::From(sequence), ResumePosition::Known)
            }
            Some(_) => (Resume::Tail, ResumePosition::Lost),
        }
    }

    fn position(&self, attached: &ChannelAttached<Self>) -> ResumePosition {
        match self.resume_point(attached.request.cursor.as_deref(), !attached.is_first).1 {
            _ if attached.has_gap => ResumePosition::Lost,
            position => position,
        }
    }

    /// A channel was attached.
    pub(super) fn on_attached(&mut self, attached: &ChannelAttached<Self>, now: Instant) -> SessionEffects {
        let request = &attached.request;
        let awaits_connected = request.connect_kind == ConnectKind::Connect && !request.sends_start;
        let position = self.position(attached);
        self.channel = Some(Channel::new(attached, &self.settings, now));
        let counted = count(attached, position);
        if self.is_aborted_by_hub {
            return counted.then(self.on_aborted());
        }
        self.init_pending |= awaits_connected;
        let mut effects = counted
            .then(self.first_frame(attached, position))
            .then(self.send_pending_init())
            .then(groups_token::on_attached(attached));
        if is_recreated(attached) {
            effects.append(self.on_groups_restored(false));
        }
        effects.then(if awaits_connected {
            self.start_state.run_connected()
        } else {
            self.start_state.restore_groups()
        })
    }

    /// The effects of a new channel: its first frame, if one is due, and OnReconnected of the hubs.
    fn first_frame(&self, attached: &ChannelAttached<Self>, position: ResumePosition) -> SessionEffects {
        let connect_kind = attached.request.connect_kind;
        let is_next_poll = attached.channel.transport == Transport::LongPolling && connect_kind == ConnectKind::Other;
        match connect_kind {
            ConnectKind::Connect if self.init_pending => SessionEffects::none(),
            ConnectKind::Connect => super::set_init(INITIALIZED).into(),
            ConnectKind::Reconnect | ConnectKind::Other => {
                let frame = (position != ResumePosition::Known).then(|| super::set_init(b""));
                let reconnected = (!is_next_poll || is_recreated(attached))
                    .then_some(Effect::RunReconnected { has_gap: position == ResumePosition::Lost });
                frame.into_iter().chain(reconnected).collect()
            }
        }
    }
}

fn count(attached: &ChannelAttached<Session>, position: ResumePosition) -> SessionEffects {
    let gap = (position == ResumePosition::Lost).then_some(Effect::Own(OwnEffect::CountGap));
    let is_recreated = is_recreated(attached);
    let is_reconnect = is_recreated || attached.request.connect_kind == ConnectKind::Reconnect;
    gap.into_iter().chain(is_reconnect.then_some(Effect::CountReconnect { is_recreated })).collect()
}
