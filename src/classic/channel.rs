//! The messages of HTTP requests to the actor of a classic connection: attach a channel, start, send, abort.

use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, ready};
use tokio::{sync::oneshot, time::Instant};

use super::{
    frames::{ClassicFramer, FrameFormat},
    message::Call,
    query::{ConnectKind, EndpointHubs, Transport},
    session::{ChannelAttached, IncomingCall, ReplyTarget, ResumePosition, Session, StartError, TooManyInvocations},
};
use crate::{
    connection::{ConnectError, Connection, GroupAdjustment, RejoinOutcome, RejoinRequest},
    hub::{Hub, Request},
    ids::HubName,
    outbox::{ChannelFilter, FrameFields, OutboxReader, Resume, Unsent},
    pipeline::TokenGroups,
    transport::SocketHandle,
};

/// Attaches a channel to the connection.
#[derive(Message)]
#[rtype(result = "AttachResult")]
pub(super) struct AttachChannel {
    pub(super) connect_kind: ConnectKind,
    pub(super) transport: Transport,
    pub(super) frame_format: FrameFormat,
    pub(super) sends_start: bool,
    /// The hubs that the channel receives from.
    pub(super) hubs: Vec<Arc<Hub>>,
    /// The hubs that the client can call over it.
    pub(super) endpoint_hubs: Arc<EndpointHubs>,
    pub(super) request: Arc<Request>,
    pub(super) cursor: Option<String>,
    pub(super) token: Option<String>,
    pub(super) socket: Option<SocketHandle>,
    /// When the credentials of the request expire, if that ends the connection.
    pub(super) expires: Option<Instant>,
}

/// The reader and the framer of an attached channel, or the reason why none was attached.
pub(super) type AttachResult = Result<(OutboxReader, ClassicFramer), AttachError>;

/// The reason why no channel was attached.
#[derive(Debug)]
pub(super) enum AttachError {
    /// The connection has ended. A new connection with the same id may accept the channel.
    Ended,
    /// The client has changed to a stream while this poll was on its way. The bytes are the response to the poll.
    StalePoll(Bytes),
    /// The client was not admitted.
    Refused(ConnectError),
}

impl AttachChannel {
    /// True if the client must rejoin its groups first. A new connection ignores the groups token of its client. The
    /// next poll of a known connection is in its groups already. A second connect, over another transport, rejoins the
    /// groups of the token and the durable groups.
    fn needs_rejoin(&self, has_had_channel: bool) -> bool {
        match self.connect_kind {
            ConnectKind::Connect => has_had_channel,
            ConnectKind::Reconnect => true,
            ConnectKind::Other => !has_had_channel || !self.is_poll(),
        }
    }

    fn is_poll(&self) -> bool {
        self.connect_kind == ConnectKind::Other && self.transport == Transport::LongPolling
    }
}

impl Handler<AttachChannel> for Connection<Session> {
    type Result = ResponseActFuture<Self, AttachResult>;

    /// Order: channels are attached one after another, in the order of their requests, so that the last one remains.
    fn handle(&mut self, attach: AttachChannel, _: &mut Self::Context) -> Self::Result {
        let guard = Arc::clone(self.session.attach_lock()).lock_owned();
        Box::pin(guard.into_actor(self).then(|guard, this, _| {
            this.rejoin_and_attach(attach).map(move |result, _, _| {
                drop(guard);
                result
            })
        }))
    }
}

impl Connection<Session> {
    fn rejoin_and_attach(&mut self, attach: AttachChannel) -> ResponseActFuture<Self, AttachResult> {
        if self.state.has_ended() {
            return Box::pin(actix::fut::ready(Err(AttachError::Ended)));
        }
        if attach.is_poll() && self.session.has_stream() {
            return Box::pin(actix::fut::ready(Err(AttachError::StalePoll(self.unchanged_position_frame(&attach)))));
        }
        self.state.switch_channel(&attach.hubs, &attach.request);
        if self.session.is_aborted_by_hub() || !attach.needs_rejoin(self.session.has_had_channel()) {
            return Box::pin(
                actix::fut::ready(attach).map(|attach, this: &mut Self, ctx| this.attach(attach, None, ctx)),
            );
        }
        let rejoined = self.rejoin(self.rejoin_request(&attach));
        Box::pin(rejoined.map(move |outcome, this, ctx| match outcome {
            _ if this.state.has_ended() => Err(AttachError::Ended),
            Ok(outcome) => this.attach(attach, Some(outcome), ctx),
            Err(error) => Err(AttachError::Refused(error)),
        }))
    }

    /// The rejoin request of a client that reconnects. If its cursor is known, the groups of its token are adjusted by
    /// the joins and leaves that the client cannot know yet.
    fn rejoin_request(&self, attach: &AttachChannel) -> RejoinRequest {
        let adjust: Box<GroupAdjustment> = match self.session.resume_point(attach.cursor.as_deref()).0 {
            Resume::From(cursor) => {
                let changes = self.state.memberships.changes_since(cursor);
                Box::new(move |claimed| changes.apply(claimed))
            }
            Resume::Tail | Resume::Waiting => Box::new(|claimed| claimed),
        };
        RejoinRequest {
            token: attach.token.clone(),
            durable: self.state.memberships.durable(),
            current: self.session.has_had_channel().then(|| self.state.token_groups()),
            joins_durable: attach.connect_kind == ConnectKind::Connect || !self.session.has_had_channel(),
            adjust,
        }
    }

    /// An empty frame with the cursor of the client, as far as that is known.
    fn unchanged_position_frame(&self, attach: &AttachChannel) -> Bytes {
        let cursor = match self.session.resume_point(attach.cursor.as_deref()).0 {
            Resume::From(cursor) => cursor,
            Resume::Tail | Resume::Waiting => self.state.handle().outbox.tail(),
        };
        self.framer(attach).empty_frame(&Unsent { cursor, fields: FrameFields::default() })
    }

    fn framer(&self, attach: &AttachChannel) -> ClassicFramer {
        ClassicFramer {
            frame_format: attach.frame_format.clone(),
            epoch: Arc::clone(self.session.epoch()),
            long_poll_delay: self.session.long_poll_delay(),
        }
    }

    fn attach(
        &mut self,
        attach: AttachChannel,
        rejoined: Option<RejoinOutcome>,
        ctx: &mut Context<Self>,
    ) -> AttachResult {
        let has_unsent_token = self.state.handle().outbox.has_unsent_groups_token();
        let (resume, resume_position) = self.session.resume_point(attach.cursor.as_deref());
        let framer = self.framer(&attach);
        let filter =
            ChannelFilter { hubs: Some(hub_names(&attach.hubs)), filtered_groups: self.state.memberships.filtered() };
        let (reader, has_gap) = self.state.handle().outbox.attach(resume, filter, Arc::new(framer.clone()));
        let resume_position = if has_gap { ResumePosition::Lost } else { resume_position };
        let is_recreated = rejoined.is_some() && !self.session.has_had_channel();
        let report = rejoined.as_ref().and_then(|outcome| outcome.token.as_ref().map(|token| token.report.clone()));
        let is_rejoined = rejoined.is_some();
        if let Some(outcome) = rejoined {
            let claimed = claimed_groups(outcome, &attach.hubs);
            self.state.record_presented_token(attach.token.as_deref(), &claimed);
            self.state.record_restored(&claimed.all());
        }
        self.record_attach(&attach, resume_position, is_recreated);
        let attached = ChannelAttached {
            number: reader.channel(),
            transport: attach.transport,
            connect_kind: attach.connect_kind,
            sends_start: attach.sends_start,
            endpoint_hubs: attach.endpoint_hubs,
            is_rejoined,
            resume_position,
            is_recreated,
            expires: attach.expires,
            has_unsent_token,
            has_current_token: self.state.is_current_token(attach.token.as_deref()),
        };
        self.socket = attach.socket;
        // Paused reads belong to the channel that this one replaces.
        self.resume_reads();
        let effects = self.session.on_attached(&attached, Instant::now());
        self.apply_effects(effects, ctx);
        self.report_rejoin(report, ctx);
        Ok((reader, framer))
    }

    fn record_attach(&mut self, attach: &AttachChannel, resume_position: ResumePosition, is_recreated: bool) {
        self.state.handle().info.set_transport(attach.transport.name());
        if resume_position == ResumePosition::Lost {
            self.state.services().metrics.gaps.increment();
        }
        if is_recreated || attach.connect_kind == ConnectKind::Reconnect {
            self.state.record_resume(is_recreated);
        }
    }
}

/// The names of hubs.
pub(super) fn hub_names(hubs: &[Arc<Hub>]) -> Vec<HubName> {
    hubs.iter().map(|hub| hub.name().clone()).collect()
}

/// The groups in the client's token, limited to the hubs that its channel receives from.
fn claimed_groups(outcome: RejoinOutcome, hubs: &[Arc<Hub>]) -> TokenGroups {
    let RejoinOutcome { groups, token } = outcome;
    let Some(claims) = token.and_then(|token| token.claims) else { return TokenGroups::default() };
    let restored = TokenGroups { joined: groups, durable: Vec::new() };
    let mut claimed = if claims.is_complete() { claims.groups() } else { restored };
    for list in [&mut claimed.joined, &mut claimed.durable] {
        list.retain(|key| hubs.iter().any(|hub| *hub.name() == key.hub));
        list.sort();
    }
    claimed
}

/// Runs OnConnected. The reply is sent when it is done.
#[derive(Message)]
#[rtype(result = "Result<(), StartError>")]
pub(super) struct StartRequest {
    pub(super) hubs: Vec<Arc<Hub>>,
    pub(super) request: Arc<Request>,
}

impl Handler<StartRequest> for Connection<Session> {
    type Result = LocalBoxFuture<'static, Result<(), StartError>>;

    fn handle(&mut self, start: StartRequest, ctx: &mut Self::Context) -> Self::Result {
        let (waiter, response) = oneshot::channel();
        if !self.state.has_ended() && !self.session.is_aborted_by_hub() {
            if self.session.is_unstarted() {
                self.state.switch_channel(&start.hubs, &start.request);
            }
            let effects = self.session.start(waiter);
            self.apply_effects(effects, ctx);
        }
        Box::pin(async move { response.await.unwrap_or_else(|_| Err(StartError::ended())) })
    }
}

/// Invokes a hub method for a send request. The reply is the response body of the request.
#[derive(Message)]
#[rtype(result = "Result<Box<[u8]>, SendError>")]
pub(super) struct SendRequest {
    /// The registered name of the hub.
    pub(super) hub: HubName,
    pub(super) call: Call,
    pub(super) request: Arc<Request>,
}

/// The reason why a send request got no response from its hub. Its client may try again.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    TooManyInvocations(#[from] TooManyInvocations),
    #[error("The connection has ended.")]
    Ended,
}

impl Handler<SendRequest> for Connection<Session> {
    type Result = LocalBoxFuture<'static, Result<Box<[u8]>, SendError>>;

    fn handle(&mut self, SendRequest { hub, call, request }: SendRequest, ctx: &mut Self::Context) -> Self::Result {
        let (reply, response) = oneshot::channel();
        if self.state.has_ended() || self.session.is_aborted_by_hub() {
            return Box::pin(ready(Err(SendError::Ended)));
        }
        let incoming = IncomingCall { hub, call, reply_to: ReplyTarget::Request(reply), request: Some(request) };
        match self.session.call(incoming) {
            Ok(effects) => self.apply_effects(effects, ctx),
            Err(error) => return Box::pin(ready(Err(error.into()))),
        }
        Box::pin(async move { response.await.map_err(|_| SendError::Ended) })
    }
}

/// Ends the connection for the abort request of its client.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct AbortRequest;

impl Handler<AbortRequest> for Connection<Session> {
    type Result = ();

    fn handle(&mut self, _: AbortRequest, ctx: &mut Self::Context) {
        if !self.state.has_ended() {
            let effects = self.session.on_abort_request();
            self.apply_effects(effects, ctx);
        }
    }
}
