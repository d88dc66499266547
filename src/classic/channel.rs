//! What requests ask of a classic connection: a channel, its OnConnected, a call, its end.

use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, ready};
use tokio::{sync::oneshot, time::Instant};

use super::{
    frames::{ClassicFramer, Shape},
    message::Call,
    query::{ConnectKind, EndpointHubs, Transport},
    session::{ChannelAttached, Incoming, ResumePosition, Session, StartError, To, TooManyInvocations},
};
use crate::{
    connection::{ConnectError, Connection, GroupAdjustment, RejoinOutcome, RejoinRequest},
    hub::{Hub, Request},
    ids::HubName,
    outbox::{ChannelFilter, FrameFields, OutboxReader, Resume, Unsent},
    pipeline::TokenGroups,
    transport::SocketHandle,
};

/// A request for a channel.
#[derive(Message)]
#[rtype(result = "AttachResult")]
pub(super) struct AttachChannel {
    pub(super) arrival: ConnectKind,
    pub(super) transport: Transport,
    pub(super) shape: Shape,
    pub(super) asks_for_start: bool,
    /// The hubs that the channel listens to.
    pub(super) hubs: Vec<Arc<Hub>>,
    /// The hubs that can be called over it.
    pub(super) callable: Arc<EndpointHubs>,
    pub(super) request: Arc<Request>,
    pub(super) cursor: Option<String>,
    pub(super) token: Option<String>,
    pub(super) socket: Option<SocketHandle>,
}

/// What became of a request for a channel.
pub(super) type AttachResult = Result<(OutboxReader, ClassicFramer), AttachError>;

/// Why there is no channel.
#[derive(Debug)]
pub(super) enum AttachError {
    /// The connection has ended; the next one of its name may be asked.
    Ended,
    /// Its client has gone over to a stream, and this poll was under way meanwhile; this is its answer.
    Late(Bytes),
    /// The client is not let in.
    Refused(ConnectError),
}

impl AttachChannel {
    /// True if the client has to be put back into its groups first. A connection that begins is put into
    /// none by a token, whatever its client presents; one that merely polls on is in them. One that begins a
    /// second time, over another transport, is in what its token lists and in what is stored.
    fn returns(&self, is_known: bool) -> bool {
        match self.arrival {
            ConnectKind::Connect => is_known,
            ConnectKind::Reconnect => true,
            ConnectKind::Other => !is_known || !self.is_poll(),
        }
    }

    fn is_poll(&self) -> bool {
        self.arrival == ConnectKind::Other && self.transport == Transport::LongPolling
    }
}

impl Handler<AttachChannel> for Connection<Session> {
    type Result = ResponseActFuture<Self, AttachResult>;

    /// One after the other, in the order of their coming: the last one is the channel that stays.
    fn handle(&mut self, open: AttachChannel, _: &mut Self::Context) -> Self::Result {
        let turn = Arc::clone(self.session.turns()).lock_owned();
        Box::pin(turn.into_actor(self).then(|turn, this, _| {
            this.open_channel(open).map(move |channel, _, _| {
                drop(turn);
                channel
            })
        }))
    }
}

impl Connection<Session> {
    fn open_channel(&mut self, open: AttachChannel) -> ResponseActFuture<Self, AttachResult> {
        if self.state.has_ended() {
            return Box::pin(actix::fut::ready(Err(AttachError::Ended)));
        }
        if open.is_poll() && self.session.has_stream() {
            return Box::pin(actix::fut::ready(Err(AttachError::Late(self.standing(&open)))));
        }
        self.state.turn_to(&open.hubs, &open.request);
        if self.session.is_dismissed() || !open.returns(self.session.has_had_channel()) {
            return Box::pin(actix::fut::ready(open).map(|open, this: &mut Self, ctx| this.attach(open, None, ctx)));
        }
        let rejoined = self.rejoin(self.comeback(&open));
        Box::pin(rejoined.map(move |returned, this, ctx| match returned {
            _ if this.state.has_ended() => Err(AttachError::Ended),
            Ok(returned) => this.attach(open, Some(returned), ctx),
            Err(refused) => Err(AttachError::Refused(refused)),
        }))
    }

    /// What a client that returns is put back into: what it cannot have heard of yet counts too.
    fn comeback(&self, open: &AttachChannel) -> RejoinRequest {
        let correct: Box<GroupAdjustment> = match self.session.place(open.cursor.as_deref()).0 {
            Resume::From(cursor) => {
                let memberships = self.state.memberships.clone();
                Box::new(move |claimed| memberships.correct(claimed, cursor))
            }
            Resume::Tail | Resume::Waiting => Box::new(|claimed| claimed),
        };
        RejoinRequest {
            token: open.token.clone(),
            durable: self.state.memberships.durable(),
            joins_durable: open.arrival == ConnectKind::Connect || !self.session.has_had_channel(),
            correct,
        }
    }

    /// A frame that leaves a client where it is, as far as that is known.
    fn standing(&self, open: &AttachChannel) -> Bytes {
        let cursor = match self.session.place(open.cursor.as_deref()).0 {
            Resume::From(at) => at,
            Resume::Tail | Resume::Waiting => self.state.handle().outbox.tail(),
        };
        self.frames(open).last(&Unsent { cursor, fields: FrameFields::default() })
    }

    fn frames(&self, open: &AttachChannel) -> ClassicFramer {
        ClassicFramer {
            shape: open.shape.clone(),
            epoch: Arc::clone(self.session.epoch()),
            pause: self.session.pause(),
        }
    }

    fn attach(
        &mut self,
        open: AttachChannel,
        returned: Option<RejoinOutcome>,
        ctx: &mut Context<Self>,
    ) -> AttachResult {
        let has_unsaid = self.state.handle().outbox.has_news();
        let (resume, place) = self.session.place(open.cursor.as_deref());
        let frames = self.frames(&open);
        let view = ChannelFilter { hubs: Some(names_of(&open.hubs)), muted: self.state.memberships.muted() };
        let (feed, has_gap) = self.state.handle().outbox.attach(resume, view, Arc::new(frames.clone()));
        let place = if has_gap { ResumePosition::Lost } else { place };
        let is_fresh = returned.is_some() && !self.session.has_had_channel();
        let claimed = returned.map(|returned| claims_of(returned, &open.hubs));
        if let Some(claimed) = &claimed {
            self.state.hear_restored(&claimed.clone().all());
        }
        self.take_note(&open, place, is_fresh);
        let attached = ChannelAttached {
            number: feed.channel(),
            transport: open.transport,
            arrival: open.arrival,
            asks_for_start: open.asks_for_start,
            callable: open.callable,
            claimed,
            token: open.token,
            place,
            is_fresh,
            has_unsaid,
        };
        self.socket = open.socket;
        // Who is held sent over a channel that this one replaces.
        self.release();
        let effects = self.session.attached(&attached, Instant::now());
        self.carry_out(effects, ctx);
        Ok((feed, frames))
    }

    fn take_note(&mut self, open: &AttachChannel, place: ResumePosition, is_fresh: bool) {
        self.state.handle().about.set_transport(open.transport.name());
        if place == ResumePosition::Lost {
            self.state.services().metrics.gaps.count();
        }
        if is_fresh || open.arrival == ConnectKind::Reconnect {
            self.state.resume(is_fresh);
        }
    }
}

/// What a channel listens to.
pub(super) fn names_of(hubs: &[Arc<Hub>]) -> Vec<HubName> {
    hubs.iter().map(|hub| hub.name().clone()).collect()
}

/// The groups that a client's token lists, as far as its channel listens to their hubs.
fn claims_of(returned: RejoinOutcome, hubs: &[Arc<Hub>]) -> TokenGroups {
    let RejoinOutcome { groups, claims } = returned;
    let Some(claims) = claims else { return TokenGroups::default() };
    let mut claimed = claims.groups().unwrap_or(TokenGroups { joined: groups, durable: Vec::new() });
    for list in [&mut claimed.joined, &mut claimed.durable] {
        list.retain(|key| hubs.iter().any(|hub| *hub.name() == key.hub));
        list.sort();
    }
    claimed
}

/// A request for OnConnected; it is answered when that is done.
#[derive(Message)]
#[rtype(result = "Result<(), StartError>")]
pub(super) struct Start {
    pub(super) hubs: Vec<Arc<Hub>>,
    pub(super) request: Arc<Request>,
}

impl Handler<Start> for Connection<Session> {
    type Result = LocalBoxFuture<'static, Result<(), StartError>>;

    fn handle(&mut self, start: Start, ctx: &mut Self::Context) -> Self::Result {
        let (waiter, answer) = oneshot::channel();
        if !self.state.has_ended() && !self.session.is_dismissed() {
            if self.session.is_unstarted() {
                self.state.turn_to(&start.hubs, &start.request);
            }
            let effects = self.session.start(waiter);
            self.carry_out(effects, ctx);
        }
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(StartError::ended())) })
    }
}

/// A call that a request brings; its answer is the request's.
#[derive(Message)]
#[rtype(result = "Result<Box<[u8]>, TooManyInvocations>")]
pub(super) struct Send {
    /// The hub, as it is registered.
    pub(super) hub: HubName,
    pub(super) call: Call,
    pub(super) request: Arc<Request>,
}

impl Handler<Send> for Connection<Session> {
    type Result = LocalBoxFuture<'static, Result<Box<[u8]>, TooManyInvocations>>;

    fn handle(&mut self, Send { hub, call, request }: Send, ctx: &mut Self::Context) -> Self::Result {
        let (to, answer) = oneshot::channel();
        if self.state.has_ended() || self.session.is_dismissed() {
            return Box::pin(ready(Err(TooManyInvocations)));
        }
        match self.session.call(Incoming { hub, call, to: To::Request(to), request: Some(request) }) {
            Ok(effects) => self.carry_out(effects, ctx),
            Err(not_taken) => return Box::pin(ready(Err(not_taken))),
        }
        Box::pin(async move { answer.await.map_err(|_| TooManyInvocations) })
    }
}

/// The client says good-bye.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Handler<Stop> for Connection<Session> {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        if !self.state.has_ended() {
            let effects = self.session.stopped();
            self.carry_out(effects, ctx);
        }
    }
}
