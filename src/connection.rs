//! The actor of one logical connection, for every dialect.
//!
//! A [`Connection`] runs hub methods and hooks for its client, keeps the client's group memberships, ends once and
//! cleans up on every exit path. All decisions are made by the session of the client's dialect ([`Dialect`]): the actor
//! passes it an [`Event`] and applies the [`Effect`]s that it returns.
//!
//! A connection is started for the first request that needs it. Requests find it by its token ([`Registry`]) and attach
//! channels to it ([`AttachChannel`]). It lives until it ends, and it may outlive a channel ([`ChannelState`]). It uses
//! hubs, groups, membership and pipeline; the endpoints of its dialect use it. Its handlers never wait for anything but
//! memory. Of the transport it knows only the handle that closes the socket.

use std::sync::Arc;

use actix::prelude::*;
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};

use crate::{
    connections::{Command, ConnectionSnapshot, DurableSnapshot},
    group::Generation,
    outbox::OutboxEvent,
    transport::SocketHandle,
};

mod admission;
mod attach;
mod calls;
mod channel;
mod dialect;
mod dispatcher;
mod effects;
mod ending;
mod endpoint_services;
mod group_ops;
mod groups_token;
mod hooks;
mod logging;
mod memberships;
mod registry;
mod rejoin;
mod restore_slots;
mod state;
mod stored_lists;
mod traffic;

use attach::AttachQueue;
pub(crate) use attach::{
    AttachChannel, AttachError, ChannelAttached, ChannelDecision, ChannelSetup, RejoinPlan, RequestContext,
};
pub(crate) use channel::{Channel, ChannelState};
pub(crate) use dialect::{ClientFault, ConnectError, Dialect, Effect, Encoding, Ending, Event, Invoke, Reason};
pub(crate) use dispatcher::{Action, CallRefusal, DispatchLimits, Dispatcher, IncomingCall, PendingCall, Request};
pub(crate) use effects::Effects;
pub(crate) use endpoint_services::EndpointServices;
use group_ops::{GroupOp, PendingGroupOps};
pub(crate) use groups_token::{TokenEncoder, TokenPlace, TokenSchedule};
pub(crate) use registry::{Registry, RegistryEntry};
use rejoin::{GroupAdjustment, RejoinOutcome, RejoinRequest};
pub use rejoin::{OnStoreFailure, RejoinSettings};
pub(crate) use rejoin::{RejoinService, TokenOutcome};
pub(crate) use restore_slots::RestoreSlots;
pub(crate) use state::NewConnection;
use state::{CleanupGuard, ConnectionState};
pub(crate) use stored_lists::StoredLists;
use traffic::PostTurns;
pub(crate) use traffic::{BeginPost, ClientRequest, PostError, PostTurn, PostedData};

/// The capacity of the mailbox of a connection. Senders wait while it is full.
const MAILBOX_CAPACITY: usize = 64;

/// See the module's documentation.
pub(crate) struct Connection<D: Dialect> {
    session: D,
    shared: D::Shared,
    state: CleanupGuard,
    channels: ChannelState,
    attach_queue: AttachQueue<D>,
    /// The timer for the next deadline, with the time that it is set for.
    timer: Option<(Instant, SpawnHandle)>,
    /// The timer that checks whether the client takes queued messages.
    progress_check: Option<SpawnHandle>,
    /// Closes the socket of the current channel.
    socket: Option<SocketHandle>,
    /// Transports that do not read on until the session can take more.
    paused_reads: Vec<oneshot::Sender<()>>,
    /// Requests with data that wait until the session can take more.
    paused_posts: Vec<oneshot::Sender<()>>,
    /// Created for the first request with data, because a client with a WebSocket sends none.
    post_turns: Option<Arc<PostTurns>>,
    /// The connection has ended. Polls may fetch what is still queued, and posted data is ignored.
    waits_for_polls: bool,
    /// The number of restores of the client's groups that are in progress.
    restores_in_progress: u32,
    /// Group operations that wait for an earlier operation on the same group.
    pending_ops: PendingGroupOps,
    /// The turn of a result or an item to be queued in the outbox.
    send_turns: Arc<Semaphore>,
}

impl<D: Dialect> Connection<D> {
    /// Starts the actor of a connection. It is registered in the directory with [`Effect::RestoreGroups`].
    pub(crate) fn spawn(new: NewConnection, session: D, shared: D::Shared) -> Addr<Self> {
        Self::create(move |ctx| Self::new(ConnectionState::new(new, ctx.address(), &session), session, shared))
    }

    /// As [`Connection::spawn`], but the connection is in the directory when this returns. Returns `None`, and starts
    /// nothing, if a connection with the same id is still there.
    pub(crate) fn spawn_registered(new: NewConnection, session: D, shared: D::Shared) -> Option<Addr<Self>> {
        let ctx = Context::new();
        let mut state = ConnectionState::new(new, ctx.address(), &session);
        state.register().ok()?;
        Some(ctx.run(Self::new(state, session, shared)))
    }

    fn new(state: ConnectionState, session: D, shared: D::Shared) -> Self {
        let expires = session.time_without_channel(None).map(|time| Instant::now() + time);
        Self {
            session,
            shared,
            state: CleanupGuard(state),
            channels: ChannelState::new(expires),
            attach_queue: AttachQueue::new(),
            timer: None,
            progress_check: None,
            socket: None,
            paused_reads: Vec::new(),
            paused_posts: Vec::new(),
            post_turns: None,
            waits_for_polls: false,
            restores_in_progress: 0,
            pending_ops: PendingGroupOps::new(),
            send_turns: Arc::new(Semaphore::new(1)),
        }
    }

    /// Passes an event to the session and applies the effects that it returns. After the end of the connection only
    /// [`Event::Tick`] is passed on.
    fn handle_event(&mut self, event: Event<D>, ctx: &mut Context<Self>) {
        if self.state.has_ended() && !matches!(event, Event::Tick) {
            return;
        }
        let effects = self.session.on(event, Instant::now());
        self.apply_effects(effects, ctx);
    }

    fn apply_effects(&mut self, effects: Effects<D>, ctx: &mut Context<Self>) {
        for effect in effects {
            self.apply(effect, ctx);
        }
        if self.state.has_ended() || self.session.can_read_on() {
            self.resume_reads();
            self.resume_posts();
        }
        self.set_timer(ctx);
    }

    /// Lets transports read on, either because the session can take more or because the connection has ended. In the
    /// latter case their input is ignored, and they read on to notice the end of their channels.
    fn resume_reads(&mut self) {
        for paused in self.paused_reads.drain(..) {
            // The transport may have gone with its socket.
            let _ = paused.send(());
        }
    }

    fn apply(&mut self, effect: Effect<D>, ctx: &mut Context<Self>) {
        match effect {
            Effect::Send(bytes) => drop(self.state.handle().outbox.push_private(bytes)),
            Effect::SetEncoding(encoding) => self.set_encoding(encoding),
            Effect::Own(own) => D::apply(own, self.state.handle(), &self.shared),
            Effect::SetContext(context) => self.state.set_context(&context),
            Effect::CountReconnect { is_recreated } => self.state.count_reconnect(is_recreated),
            Effect::SendGroupsToken(sends) => self.send_groups_token(sends),
            Effect::Report(fault) => self.state.log_fault(&fault),
            Effect::RestoreGroups => self.restore(ctx),
            Effect::RunConnected => self.run_connected(ctx),
            Effect::RunReconnected { has_gap } => self.run_reconnected(has_gap, ctx),
            Effect::Invoke(invoke) => self.invoke(invoke, ctx),
            Effect::ClientResult(id, result) => self.complete_client_result(&id, result, ctx),
            Effect::AwaitUpload(capacity) => Self::await_upload(capacity, ctx),
            Effect::RefreshGroupsToken => self.refresh_groups_token(ctx),
            Effect::End(ending) => self.end(&ending, ctx),
        }
    }

    /// Order: the format is in use before the connection is registered, so that it misses no message afterwards.
    fn set_encoding(&self, Encoding { form, framer, token }: Encoding) {
        self.state.services().router.formats().include(form.format);
        self.state.set_token_encoder(token);
        self.state.handle().outbox.set_encoding(form, framer);
    }

    fn send_groups_token(&self, sends: bool) {
        let (outbox, token) = (&self.state.handle().outbox, self.state.token_field().filter(|_| sends));
        match D::TOKEN_PLACE {
            TokenPlace::Field => outbox.set_groups_token(token),
            TokenPlace::Message => {
                let _ = outbox.set_deferred(token);
            }
        }
    }

    /// Sets the timer for the next deadline. A timer that is set for an earlier time stays: when it fires, the next
    /// deadline is determined again.
    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let Some(deadline) = self.deadline() else { return };
        match self.timer {
            Some((set_for, _)) if set_for <= deadline => return,
            Some((_, later)) => drop(ctx.cancel_future(later)),
            None => {}
        }
        let handle = ctx.run_later(deadline.saturating_duration_since(Instant::now()), |this, ctx| {
            this.timer = None;
            this.on_timer(ctx);
        });
        self.timer = Some((deadline, handle));
    }

    /// The next deadline of the session or of the time without a channel, which stands still while one is attached.
    fn deadline(&self) -> Option<Instant> {
        let is_abandoned = !self.state.has_ended() && !self.attach_queue.is_attaching();
        let abandoned = self.channels.deadline().filter(|_| is_abandoned);
        self.session.deadline().into_iter().chain(abandoned).min()
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        if !self.attach_queue.is_attaching() && self.channels.take_expired(Instant::now()) {
            self.handle_event(Event::Abandoned, ctx);
        }
        self.handle_event(Event::Tick, ctx);
    }

    fn snapshot(&self) -> ConnectionSnapshot {
        ConnectionSnapshot {
            groups: self.state.memberships.members().cloned().collect(),
            calls: self.session.calls(),
            phase: if self.state.has_ended() { "ended" } else { self.session.phase() },
        }
    }
}

impl<D: Dialect> Connection<D> {
    /// Whether the client is admitted, and none of its groups is being restored.
    fn has_settled_groups(&self) -> bool {
        self.state.is_admitted() && !self.state.has_ended() && self.restores_in_progress == 0
    }

    fn durable_snapshot(&self) -> Option<DurableSnapshot> {
        let hubs = || self.state.hubs().iter().map(|hub| hub.name().clone()).collect();
        let snapshot = || DurableSnapshot { hubs: hubs(), groups: self.state.memberships.durable_and_declined() };
        self.has_settled_groups().then(snapshot)
    }
}

impl<D: Dialect> Actor for Connection<D> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
        ctx.add_stream(self.state.handle().outbox.events());
        self.set_timer(ctx);
    }
}

impl<D: Dialect> Handler<Command> for Connection<D> {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        match command {
            // Dropping the sender of the answer tells the receiver that the connection has ended.
            Command::Join { .. } | Command::Leave { .. } | Command::Disconnect { .. } if self.state.has_ended() => {}
            Command::Join { group, cause, answer } => {
                self.run_group_op(&group, GroupOp::Join { cause, answer: Some(answer) }, ctx);
            }
            Command::Leave { group, cause, answer } => self.run_group_op(&group, GroupOp::Leave { cause, answer }, ctx),
            Command::Disconnect { reconnect, answer } => {
                self.handle_event(Event::Aborted(reconnect), ctx);
                // The caller may have gone.
                let _ = answer.send(());
            }
            Command::ReleaseSlot(number) => self.handle_event(Event::SlotReleased(number), ctx),
            Command::Drain => self.handle_event(Event::Draining, ctx),
            Command::Inspect(answer) => drop(answer.send(self.snapshot())),
            Command::InspectDurable(answer) => drop(self.durable_snapshot().map(|snapshot| answer.send(snapshot))),
            #[cfg(any(test, feature = "testkit"))]
            Command::Crash => panic!("crashed by a test"),
        }
    }
}

impl<D: Dialect> StreamHandler<OutboxEvent> for Connection<D> {
    fn handle(&mut self, event: OutboxEvent, ctx: &mut Self::Context) {
        match event {
            OutboxEvent::ChannelClosed(number) => self.on_channel_closed(number, Event::Closed, ctx),
            OutboxEvent::ChannelLost(number) => self.on_channel_closed(number, Event::Detached, ctx),
            OutboxEvent::Detached(number) => self.on_detached(number, ctx),
            OutboxEvent::Overflowed => self.handle_event(Event::Overflowed, ctx),
            OutboxEvent::Congested => self.watch_progress(ctx),
            OutboxEvent::GroupLost { group, generation } => self.on_group_crashed(&group, Generation(generation), ctx),
        }
    }
}

#[cfg(test)]
mod tests;
