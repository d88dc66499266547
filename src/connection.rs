//! The actor of one logical connection, for every dialect.
//!
//! A [`Connection`] runs hub methods and hooks for its client, keeps the client's group memberships, ends once and
//! cleans up on every exit path. All decisions are made by the session of the client's dialect ([`Dialect`]): the actor
//! passes it an [`Event`] and applies the [`Effect`]s that it returns.
//!
//! A connection is started with its first channel, or with the first request that needs it. It lives until it ends,
//! and it may outlive a channel. It uses hubs, groups, membership and pipeline; the endpoints of its dialect use it.
//! Its handlers never wait for anything but memory. Of the transport it knows only the handle that closes the socket.

use std::{convert::identity, sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    connections::{Command, ConnectionSnapshot},
    group::Generation,
    hub::CallError,
    outbox::OutboxEvent,
    pipeline::RejoinReport,
    transport::SocketHandle,
};

mod dialect;
mod effects;
mod group_ops;
mod groups_token;
mod hooks;
mod logging;
mod memberships;
mod rejoin;
mod state;
mod traffic;

pub(crate) use dialect::{ClientFault, ConnectError, Dialect, Effect, Ending, Event, Invoke, Reason};
pub(crate) use effects::Effects;
use group_ops::{GroupOp, PendingGroupOps, join_loaded};
pub(crate) use groups_token::{TokenPlace, TokenSchedule};
pub(crate) use rejoin::{GroupAdjustment, RejoinOutcome, RejoinRequest, RejoinService, TokenOutcome};
pub use rejoin::{OnStoreFailure, RejoinSettings};
pub(crate) use state::NewConnection;
use state::{CleanupGuard, ConnectionState};

/// The capacity of the mailbox of a connection. Senders wait while it is full.
const MAILBOX_CAPACITY: usize = 64;

/// The time that a client has to answer a close before its socket is closed anyway. Wire: as ASP.NET Core servers.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The same while the process drains: a client that does not answer must not delay the stop of the process.
const DRAIN_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub(crate) struct Connection<D: Dialect> {
    pub(crate) session: D,
    pub(crate) state: CleanupGuard,
    /// The timer for the deadline of the session, with the time that it is set for.
    timer: Option<(Instant, SpawnHandle)>,
    /// The timer that checks whether the client takes queued messages.
    progress_check: Option<SpawnHandle>,
    /// Closes the socket of the current channel.
    pub(crate) socket: Option<SocketHandle>,
    /// Transports that do not read on until the session can take more.
    paused_reads: Vec<oneshot::Sender<()>>,
    /// The number of restores of the client's groups that are in progress.
    restores_in_progress: u32,
    /// Group operations that wait for an earlier operation on the same group.
    pending_ops: PendingGroupOps,
}

impl<D: Dialect> Connection<D> {
    /// Starts the actor of a connection. It is registered in the directory with [`Effect::Connect`].
    pub(crate) fn spawn(new: NewConnection, socket: Option<SocketHandle>, session: D) -> Addr<Self> {
        Self::create(move |ctx| Self::new(ConnectionState::new(new, ctx.address(), &session), socket, session))
    }

    /// As [`Connection::spawn`], but the connection is in the directory when this returns. Returns `None`, and starts
    /// nothing, if a connection with the same id is still there.
    pub(crate) fn spawn_registered(new: NewConnection, session: D) -> Option<Addr<Self>> {
        let ctx = Context::new();
        let mut state = ConnectionState::new(new, ctx.address(), &session);
        state.register().ok()?;
        Some(ctx.run(Self::new(state, None, session)))
    }

    fn new(state: ConnectionState, socket: Option<SocketHandle>, session: D) -> Self {
        Self {
            session,
            state: CleanupGuard(state),
            timer: None,
            progress_check: None,
            socket,
            paused_reads: Vec::new(),
            restores_in_progress: 0,
            pending_ops: PendingGroupOps::new(),
        }
    }

    /// Passes an event to the session and applies the effects that it returns. After the end of the connection only
    /// [`Event::Tick`] is passed on.
    pub(crate) fn handle_event(&mut self, event: Event<D::PendingInvocation>, ctx: &mut Context<Self>) {
        if self.state.has_ended() && !matches!(event, Event::Tick) {
            return;
        }
        let effects = self.session.on(event, Instant::now());
        self.apply_effects(effects, ctx);
    }

    pub(crate) fn apply_effects(&mut self, effects: Effects<D::PendingInvocation>, ctx: &mut Context<Self>) {
        for effect in effects {
            self.apply(effect, ctx);
        }
        if self.state.has_ended() || !self.session.is_saturated() {
            self.resume_reads();
        }
        self.set_timer(ctx);
    }

    /// Lets transports read on, either because the session can take more or because the connection has ended. In the
    /// latter case their input is ignored, and they read on to notice the end of their channels.
    pub(crate) fn resume_reads(&mut self) {
        for paused in self.paused_reads.drain(..) {
            // The transport may have gone with its socket.
            let _ = paused.send(());
        }
    }

    fn apply(&mut self, effect: Effect<D::PendingInvocation>, ctx: &mut Context<Self>) {
        let outbox = &self.state.handle().outbox;
        match effect {
            Effect::Send(bytes) => drop(outbox.push_private(bytes)),
            Effect::SendFrame(bytes) => drop(outbox.push_raw_frame(bytes)),
            Effect::Reply(request, bytes) => drop(request.send(bytes)),
            Effect::SetInit(bytes) => outbox.update_frame_fields(|fields| fields.init = Some(bytes)),
            Effect::SendGroupsToken(sends) => self.send_groups_token(sends),
            Effect::Report(fault) => self.state.log_fault(&fault),
            Effect::CloseChannel(end) => outbox.close_channel(end),
            Effect::RestoreGroups => self.restore(ctx),
            Effect::RunConnected => self.run_connected(ctx),
            Effect::Connect => self.connect(ctx),
            Effect::RunReconnected { has_gap } => self.run_reconnected(has_gap, ctx),
            Effect::Invoke(invocation, invoke) => self.invoke(invocation, invoke, ctx),
            Effect::RefreshGroupsToken => self.refresh_groups_token(ctx),
            Effect::End(ending) => self.end(&ending, ctx),
            Effect::MarkClientGone => self.state.mark_client_gone(),
            Effect::Terminate => self.terminate(ctx),
        }
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

    fn connect(&mut self, ctx: &mut Context<Self>) {
        if let Err(in_use) = self.state.register() {
            return self.handle_event(Event::Connected(Err(in_use)), ctx);
        }
        self.restores_in_progress += 1;
        let joiner = self.group_joiner(ctx);
        let token = self.state.take_rejoin_token();
        let loaded = self.state.groups_to_restore(token);
        let connected = hooks::connect(loaded, joiner, self.state.hub_contexts());
        let connected = self.state.track_connect(connected);
        ctx.spawn(connected.into_actor(self).map(|connected, this, ctx| {
            this.end_restore();
            let admitted = this.state.admit(connected);
            let (report, outcome) = admitted.map_or_else(|error| (None, Err(error)), |report| (report, Ok(())));
            let is_admitted = outcome.is_ok();
            this.handle_event(Event::Connected(outcome), ctx);
            if is_admitted {
                this.report_rejoin(report, ctx);
                this.refresh_groups_token(ctx);
                this.drain_if_draining(ctx);
            }
        }));
    }

    /// Restores the groups of a client that reconnected. Groups of hubs that the new channel did not request stay
    /// joined, but their messages are filtered out.
    pub(crate) fn rejoin(
        &mut self,
        request: RejoinRequest,
    ) -> impl ActorFuture<Self, Output = Result<RejoinOutcome, ConnectError>> + use<D> {
        self.restores_in_progress += 1;
        let started_at = self.state.handle().outbox.tail();
        let loaded = self.state.groups_to_rejoin(request);
        join_loaded(loaded.into_actor(self)).map(move |outcome, this, _| {
            this.end_restore();
            if let Ok(outcome) = &outcome {
                this.state.memberships.filter_all_except(&outcome.groups, started_at);
            }
            outcome
        })
    }

    /// Passes the outcome of the client's rejoin token to the session.
    pub(crate) fn report_rejoin(&mut self, report: Option<RejoinReport>, ctx: &mut Context<Self>) {
        if let Some(report) = report {
            self.handle_event(Event::Rejoined(report), ctx);
        }
    }

    fn end_restore(&mut self) {
        self.restores_in_progress -= 1;
        if self.restores_in_progress == 0 {
            self.state.memberships.end_restore();
        }
    }

    fn restore(&mut self, ctx: &mut Context<Self>) {
        self.restores_in_progress += 1;
        let loaded = self.state.groups_to_restore(None);
        ctx.spawn(join_loaded(loaded.into_actor(self)).map(|restored, this, ctx| {
            this.end_restore();
            this.state.log_refused(&restored);
            this.state.record_restored(&[]);
            this.handle_event(Event::Restored(restored.map(drop)), ctx);
            this.refresh_groups_token(ctx);
        }));
    }

    fn run_connected(&mut self, ctx: &mut Context<Self>) {
        let connected = hooks::run_connected(self.state.hub_contexts());
        let connected = self.state.track_connect(connected);
        ctx.spawn(connected.into_actor(self).map(|connected, this, ctx| {
            let outcome = this.state.admit(connected.map(|()| None));
            this.handle_event(Event::Connected(outcome.map(drop)), ctx);
            this.drain_if_draining(ctx);
        }));
    }

    /// Drains a connection that was admitted while the process was draining the others.
    fn drain_if_draining(&mut self, ctx: &mut Context<Self>) {
        if self.state.services().drain.has_begun() {
            self.handle_event(Event::Draining, ctx);
        }
    }

    fn run_reconnected(&mut self, has_gap: bool, ctx: &mut Context<Self>) {
        let hub_tasks = &self.state.services().drain.hub_tasks;
        let reconnected =
            hooks::run_to_completion(hub_tasks, hooks::run_reconnected(self.state.hub_contexts(), has_gap), identity);
        ctx.spawn(
            reconnected.into_actor(self).map(|outcome, this, ctx| this.handle_event(Event::Reconnected(outcome), ctx)),
        );
    }

    fn invoke(&mut self, invocation: D::PendingInvocation, invoke: Invoke, ctx: &mut Context<Self>) {
        let services = self.state.services();
        let method = hooks::invoke(self.state.hub(&invoke.hub), Arc::clone(&services.metrics), invoke);
        let returned = hooks::run_to_completion(&services.drain.hub_tasks, method, CallError::Failed);
        let outbox = D::queues_result(&invocation).then(|| Arc::clone(&self.state.handle().outbox));
        let returned = hooks::wait_for_capacity(outbox, returned);
        ctx.spawn(
            returned
                .into_actor(self)
                .map(|result, this, ctx| this.handle_event(Event::Returned(invocation, result), ctx)),
        );
    }

    /// Ends the connection. The actor lives until its last channel has detached, at most
    /// [`CLOSE_HANDSHAKE_TIMEOUT`], or [`DRAIN_CLOSE_TIMEOUT`] while the process drains.
    fn end(&mut self, ending: &Ending, ctx: &mut Context<Self>) {
        if ending.reason == Reason::TooSlow {
            self.close_socket();
        }
        self.pending_ops.clear();
        self.state.end(ending);
        let is_draining = self.state.services().drain.has_begun();
        let limit = if is_draining { DRAIN_CLOSE_TIMEOUT } else { CLOSE_HANDSHAKE_TIMEOUT };
        ctx.run_later(limit, |this, ctx| this.terminate(ctx));
    }

    fn close_socket(&self) {
        if let Some(socket) = &self.socket {
            socket.shut_down();
        }
    }

    fn terminate(&mut self, ctx: &mut Context<Self>) {
        self.close_socket();
        ctx.stop();
    }

    /// Sets the timer for the session's deadline. A timer that is set for an earlier time stays: when it fires, the
    /// session returns its deadline again.
    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let Some(deadline) = self.session.deadline() else { return };
        match self.timer {
            Some((set_for, _)) if set_for <= deadline => return,
            Some((_, later)) => drop(ctx.cancel_future(later)),
            None => {}
        }
        let handle = ctx.run_later(deadline.saturating_duration_since(Instant::now()), |this, ctx| {
            this.timer = None;
            this.handle_event(Event::Tick, ctx);
        });
        self.timer = Some((deadline, handle));
    }

    fn snapshot(&self) -> ConnectionSnapshot {
        ConnectionSnapshot {
            groups: self.state.memberships.members().cloned().collect(),
            calls: self.session.calls(),
            phase: if self.state.has_ended() { "ended" } else { self.session.phase() },
        }
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
            Command::Leave { group, answer } => self.run_group_op(&group, GroupOp::Leave(answer), ctx),
            Command::Disconnect { reconnect, answer } => {
                self.handle_event(Event::Aborted(reconnect), ctx);
                // The caller may have gone.
                let _ = answer.send(());
            }
            Command::Drain => self.handle_event(Event::Draining, ctx),
            Command::Inspect(answer) => drop(answer.send(self.snapshot())),
            #[cfg(any(test, feature = "testkit"))]
            Command::Crash => panic!("crashed by a test"),
        }
    }
}

impl<D: Dialect> StreamHandler<OutboxEvent> for Connection<D> {
    fn handle(&mut self, event: OutboxEvent, ctx: &mut Self::Context) {
        match event {
            OutboxEvent::ChannelClosed(channel) if self.is_current(channel) => self.handle_event(Event::Detached, ctx),
            OutboxEvent::Detached(channel) if self.is_current(channel) => self.detached(ctx),
            // The channel has been replaced.
            OutboxEvent::ChannelClosed(_) | OutboxEvent::Detached(_) => {}
            OutboxEvent::Overflowed => self.handle_event(Event::Overflowed, ctx),
            OutboxEvent::Congested => self.watch_progress(ctx),
            OutboxEvent::GroupLost { group, generation } => self.on_group_crashed(&group, Generation(generation), ctx),
        }
    }
}

impl<D: Dialect> Connection<D> {
    fn is_current(&self, channel: u32) -> bool {
        self.state.handle().outbox.channel() == channel
    }

    fn detached(&mut self, ctx: &mut Context<Self>) {
        // The TCP connection may carry another request next.
        self.socket = None;
        self.handle_event(Event::Detached, ctx);
        if self.state.has_ended() {
            ctx.stop();
        }
    }
}

#[cfg(test)]
mod tests;
