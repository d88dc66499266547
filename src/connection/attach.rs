//! The attachment of channels to a connection.
//!
//! Order: the requests for channels of one connection are served one after another, in the order of their arrival, so
//! that the channel of the last one remains.

use std::{collections::VecDeque, sync::Arc};

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::{
    Channel, ConnectError, Connection, Dialect, Event, GroupAdjustment, RejoinOutcome, RejoinRequest,
    memberships::Memberships,
};
use crate::{
    hub::{Hub, Identity, Request},
    ids::HubName,
    outbox::{ChannelFilter, Framer, OutboxReader, Resume},
    pipeline::TokenGroups,
    transport::{SocketHandle, Transport},
};

/// The maximum number of requests for a channel of one connection that wait for an earlier one. A further request is
/// refused. A client waits for its last request before it sends another, or gives it up.
const MAX_WAITING: usize = 16;

/// Attaches a channel to a connection.
#[derive(Debug)]
pub(crate) struct AttachChannel<D: Dialect> {
    pub(crate) transport: Transport,
    /// The socket of the channel. `None` if requests of other clients may follow on it.
    pub(crate) socket: Option<SocketHandle>,
    /// The context from now on. `None` keeps that of the connection.
    pub(crate) context: Option<RequestContext>,
    /// The identity of the client from now on, apart from its user. `None` keeps that of the connection.
    pub(crate) identity: Option<Identity>,
    pub(crate) request: D::ChannelRequest,
}

impl<D: Dialect> Message for AttachChannel<D> {
    type Result = Result<OutboxReader, AttachError<D>>;
}

/// What hooks and hub methods know of the request of the current channel.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// The hubs that the client receives from.
    pub(crate) hubs: Vec<Arc<Hub>>,
    pub(crate) request: Arc<Request>,
}

/// Why no channel was attached.
#[derive(Debug)]
pub(crate) enum AttachError<D: Dialect> {
    /// The connection has ended.
    Ended,
    /// Too many requests for a channel wait.
    Busy,
    /// The session refuses the channel.
    Refused(D::ChannelRefusal),
    /// The groups of the client could not be restored.
    NotAdmitted(ConnectError),
}

/// What a session decides about a request for a channel.
#[derive(Debug)]
pub(crate) enum ChannelDecision<D: Dialect> {
    Attach,
    /// Restores the groups of the client first.
    Rejoin(RejoinPlan),
    Refuse(D::ChannelRefusal),
}

/// How the groups of a client are restored before its channel is attached.
#[derive(Clone, Debug)]
pub(crate) struct RejoinPlan {
    pub(crate) token: Option<String>,
    /// The position of the client. If it is known, the groups of the token are adjusted by the joins and leaves that
    /// the client cannot know yet.
    pub(crate) resume: Resume,
    /// Whether to join the durable groups too, although the connection is not new to this process.
    pub(crate) joins_durable: bool,
}

/// How a channel is set up.
pub(crate) struct ChannelSetup {
    pub(crate) resume: Resume,
    pub(crate) framer: Arc<dyn Framer>,
    /// The hubs that the channel receives from; `None` for all.
    pub(crate) hubs: Option<Vec<HubName>>,
    /// The groups token that the client has presented.
    pub(crate) token: Option<String>,
}

/// A channel that has been attached, as its session sees it.
#[derive(Debug)]
pub(crate) struct ChannelAttached<D: Dialect> {
    pub(crate) channel: Channel,
    pub(crate) request: D::ChannelRequest,
    /// It is the first channel of the connection in this process.
    pub(crate) is_first: bool,
    /// The groups of the client were restored.
    pub(crate) is_rejoined: bool,
    /// The client has missed messages that are no longer kept.
    pub(crate) has_gap: bool,
    /// The previous channel did not send the last groups token.
    pub(crate) has_unsent_token: bool,
    /// The client presented the last groups token that was sent, or none was sent.
    pub(crate) has_current_token: bool,
}

/// The answer to a request for a channel.
type Answer<D> = oneshot::Sender<Result<OutboxReader, AttachError<D>>>;

/// The requests for channels that wait for an earlier one.
pub(super) struct AttachQueue<D: Dialect> {
    waiting: VecDeque<(AttachChannel<D>, Answer<D>)>,
    is_attaching: bool,
}

impl<D: Dialect> AttachQueue<D> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), is_attaching: false }
    }

    /// True while a request for a channel is served.
    pub(super) fn is_attaching(&self) -> bool {
        self.is_attaching
    }
}

impl<D: Dialect> Handler<AttachChannel<D>> for Connection<D> {
    type Result = LocalBoxFuture<'static, Result<OutboxReader, AttachError<D>>>;

    fn handle(&mut self, attach: AttachChannel<D>, ctx: &mut Self::Context) -> Self::Result {
        let (answer, attached) = oneshot::channel();
        if !self.attach_queue.is_attaching {
            self.decide_attach(attach, answer, ctx);
        } else if self.attach_queue.waiting.len() < MAX_WAITING {
            self.attach_queue.waiting.push_back((attach, answer));
        } else {
            reply(answer, Err(AttachError::Busy));
        }
        Box::pin(async move { attached.await.unwrap_or(Err(AttachError::Ended)) })
    }
}

impl<D: Dialect> Connection<D> {
    fn attach_next(&mut self, ctx: &mut Context<Self>) {
        while !self.attach_queue.is_attaching
            && let Some((attach, answer)) = self.attach_queue.waiting.pop_front()
        {
            self.decide_attach(attach, answer, ctx);
        }
        if self.attach_queue.waiting.is_empty() {
            // Four requests occupy 600 bytes, and most connections never have another that waits.
            self.attach_queue.waiting = VecDeque::new();
        }
    }

    fn decide_attach(&mut self, attach: AttachChannel<D>, answer: Answer<D>, ctx: &mut Context<Self>) {
        if self.state.has_ended() {
            return self.attach_after_end(&attach, answer);
        }
        if let Some(identity) = attach.identity.as_ref() {
            self.state.refresh_identity(identity);
        }
        match self.session.decide_channel(&attach, &self.channels, self.state.handle().outbox.tail()) {
            ChannelDecision::Refuse(refusal) => reply(answer, Err(AttachError::Refused(refusal))),
            ChannelDecision::Attach => {
                self.set_context(attach.context.as_ref());
                let reader = self.attach(attach, None, ctx);
                reply(answer, Ok(reader));
            }
            ChannelDecision::Rejoin(plan) => {
                self.set_context(attach.context.as_ref());
                self.rejoin_and_attach(attach, plan, answer, ctx);
            }
        }
    }

    /// A connection that has ended serves only polls, if it waits for them.
    fn attach_after_end(&mut self, attach: &AttachChannel<D>, answer: Answer<D>) {
        if !self.waits_for_polls || !attach.transport.is_poll() {
            return reply(answer, Err(AttachError::Ended));
        }
        let ChannelSetup { resume, framer, .. } = self.session.channel_setup(attach, &self.channels);
        let (reader, _) = self.state.handle().outbox.attach(resume, ChannelFilter::default(), framer);
        self.channels.attach(Channel { number: reader.channel(), transport: attach.transport });
        reply(answer, Ok(reader));
    }

    fn rejoin_and_attach(
        &mut self,
        attach: AttachChannel<D>,
        plan: RejoinPlan,
        answer: Answer<D>,
        ctx: &mut Context<Self>,
    ) {
        self.attach_queue.is_attaching = true;
        let rejoined = self.rejoin(self.rejoin_request(plan));
        ctx.spawn(rejoined.map(|outcome, this, ctx| {
            let attached = match outcome {
                _ if this.state.has_ended() => Err(AttachError::Ended),
                Ok(outcome) => Ok(this.attach(attach, Some(outcome), ctx)),
                Err(error) => Err(AttachError::NotAdmitted(error)),
            };
            reply(answer, attached);
            this.attach_queue.is_attaching = false;
            this.attach_next(ctx);
            this.set_timer(ctx);
        }));
    }

    fn rejoin_request(&self, RejoinPlan { token, resume, joins_durable }: RejoinPlan) -> RejoinRequest {
        let is_new = !self.channels.has_had_channel();
        RejoinRequest {
            token,
            durable: self.state.memberships.durable(),
            current: (!is_new).then(|| self.state.token_groups()),
            joins_durable: joins_durable || is_new,
            adjust: adjustment(&self.state.memberships, resume),
        }
    }

    fn set_context(&mut self, context: Option<&RequestContext>) {
        if let Some(context) = context {
            self.state.set_context(context);
        }
    }

    /// Attaches a channel, which replaces the current one.
    fn attach(
        &mut self,
        attach: AttachChannel<D>,
        rejoined: Option<RejoinOutcome>,
        ctx: &mut Context<Self>,
    ) -> OutboxReader {
        let setup = self.session.channel_setup(&attach, &self.channels);
        let has_unsent_token = self.state.handle().outbox.has_unsent_groups_token();
        let filter = ChannelFilter { hubs: setup.hubs, filtered_groups: self.state.memberships.filtered() };
        let (reader, has_gap) = self.state.handle().outbox.attach(setup.resume, filter, setup.framer);
        let is_rejoined = rejoined.is_some();
        let report = rejoined.as_ref().and_then(|outcome| outcome.token.as_ref().map(|token| token.report.clone()));
        if let Some(outcome) = rejoined {
            self.record_rejoin(outcome, setup.token.as_deref());
        }
        let channel = Channel { number: reader.channel(), transport: attach.transport };
        let attached = ChannelAttached {
            channel,
            request: attach.request,
            is_first: !self.channels.has_had_channel(),
            is_rejoined,
            has_gap,
            has_unsent_token,
            has_current_token: self.state.is_current_token(setup.token.as_deref()),
        };
        self.begin_channel(channel, attach.socket);
        self.handle_event(Event::Attached(attached), ctx);
        self.report_rejoin(report, ctx);
        reader
    }

    fn record_rejoin(&mut self, outcome: RejoinOutcome, token: Option<&str>) {
        if let Some((issuer, token)) = self.state.token_issuer.as_ref().zip(outcome.token.as_ref()) {
            issuer.keep_unchecked(token.is_unchecked);
        }
        let claims = outcome.token.as_ref().and_then(|token| token.claims.as_ref());
        if let Some((issuer, claims)) = self.state.token_issuer.as_ref().zip(claims) {
            issuer.record_accepted(claims);
        }
        let claimed = claimed_groups(outcome, self.state.hubs());
        self.state.record_presented_token(token, &claimed);
        self.state.record_restored(&claimed.all());
    }

    fn begin_channel(&mut self, channel: Channel, socket: Option<SocketHandle>) {
        self.channels.attach(channel);
        self.socket = socket;
        self.state.record_channel(D::transport_name(channel.transport));
        // Paused reads belong to the channel that this one replaces.
        self.resume_reads();
    }
}

fn reply<D: Dialect>(answer: Answer<D>, attached: Result<OutboxReader, AttachError<D>>) {
    // The request may have been cancelled. Then the reader is dropped, which ends the channel.
    let _ = answer.send(attached);
}

fn adjustment(memberships: &Memberships, resume: Resume) -> Box<GroupAdjustment> {
    match resume {
        Resume::From(cursor) => {
            let changes = memberships.changes_since(cursor);
            Box::new(move |claimed| changes.apply(claimed))
        }
        Resume::Tail | Resume::Waiting | Resume::Unacknowledged => Box::new(|claimed| claimed),
    }
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
