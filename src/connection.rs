//! One logical connection: what it is to the engine, whichever dialect its client speaks.
//!
//! Role: runs hub methods and hooks for its client, keeps its memberships, ends once and cleans up on every
//! way out. What its client's dialect demands is decided by a session ([`Dialect`]), which is pure; this
//! actor carries out what the session wants ([`Effect`]).
//! Life: from its first channel (or the first request that needs it) until it ends; it may outlive a
//! channel. Neighbours: hubs, groups, membership and pipeline below; endpoints of its dialect above.
//! Never: it does not know a transport, and no handler of it waits for anything but memory.

use std::{convert::identity, sync::Arc, time::Duration};

use actix::prelude::*;
use log::debug;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    connections::{Command, ConnectionSnapshot},
    group::Generation,
    hub::CallError,
    outbox::OutboxEvent,
    transport::SocketHandle,
};

mod dialect;
mod group_ops;
mod hooks;
mod memberships;
mod new_connection;
mod state;
mod traffic;

pub(crate) use dialect::{ConnectError, Dialect, Effect, Effects, Ending, Event, GroupsChanged, Invoke, Reason};
use group_ops::{GroupOp, PendingGroupOps};
pub(crate) use hooks::{GroupAdjustment, RejoinOutcome, RejoinRequest};
pub(crate) use new_connection::{NewConnection, RejoinService};
pub use new_connection::{OnStoreFailure, RejoinSettings};
pub(crate) use state::ConnectionState;

/// How many messages may wait for a connection. Beyond it, whoever asks waits.
const MAILBOX: usize = 64;

/// How long a client has to answer the close of its socket before it is cut. Wire: what ASP.NET Core
/// servers grant.
const FAREWELL: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub(crate) struct Connection<D: Dialect> {
    pub(crate) session: D,
    pub(crate) state: ConnectionState,
    /// The timer that is set, and for when.
    timer: Option<(Instant, SpawnHandle)>,
    /// Looks whether the client takes what waits for it.
    watch: Option<SpawnHandle>,
    /// To cut the present channel with.
    pub(crate) socket: Option<SocketHandle>,
    /// Whoever has sent something, and is answered when the session can take more.
    held: Vec<oneshot::Sender<()>>,
    /// How many attempts to put the client back into its groups are under way.
    restorations: u32,
    /// What waits for its turn, of groups that have not answered yet what they were asked before.
    turns: PendingGroupOps,
}

impl<D: Dialect> Connection<D> {
    /// Starts the actor of a connection; others find it when it is let in.
    pub(crate) fn open(opening: NewConnection, socket: Option<SocketHandle>, session: D) -> Addr<Self> {
        Self::create(move |ctx| Self::new(ConnectionState::new(opening, ctx.address()), socket, session))
    }

    /// As [`Connection::open`], but it can be found as soon as this returns.
    pub(crate) fn open_at_once(opening: NewConnection, session: D) -> Addr<Self> {
        Self::create(move |ctx| {
            let state = ConnectionState::new(opening, ctx.address());
            state.enter();
            Self::new(state, None, session)
        })
    }

    fn new(state: ConnectionState, socket: Option<SocketHandle>, session: D) -> Self {
        Self {
            session,
            state,
            timer: None,
            watch: None,
            socket,
            held: Vec::new(),
            restorations: 0,
            turns: PendingGroupOps::new(),
        }
    }

    /// Tells the session what has happened and does what it wants.
    pub(crate) fn drive(&mut self, event: Event<D::PendingInvocation>, ctx: &mut Context<Self>) {
        if self.state.has_ended() && !matches!(event, Event::Tick) {
            return;
        }
        let effects = self.session.on(event, Instant::now());
        self.carry_out(effects, ctx);
    }

    pub(crate) fn carry_out(&mut self, effects: Effects<D>, ctx: &mut Context<Self>) {
        for effect in effects {
            self.perform(effect, ctx);
        }
        if self.state.has_ended() || !self.session.is_saturated() {
            self.release();
        }
        self.set_timer(ctx);
    }

    /// Has transports read on: the session can take more, or nothing that they read counts any more, and they should
    /// see how their channels end.
    pub(crate) fn release(&mut self) {
        for held in self.held.drain(..) {
            // Whoever waited may have gone with its socket.
            let _ = held.send(());
        }
    }

    fn perform(&mut self, effect: Effect<D::PendingInvocation>, ctx: &mut Context<Self>) {
        let outbox = &self.state.handle().outbox;
        match effect {
            Effect::Send(bytes) => drop(outbox.push_own(bytes)),
            Effect::Frame(bytes) => drop(outbox.push_frame(bytes)),
            Effect::Reply(waiting, bytes) => drop(waiting.send(bytes)),
            Effect::Open(bytes) => outbox.change_asides(|fields| fields.opening = Some(bytes)),
            Effect::Tell(news) => outbox.tell_client(news),
            Effect::HangUp(end) => outbox.hang_up(end),
            Effect::Restore => self.restore(ctx),
            Effect::Welcome => self.welcome(ctx),
            Effect::Connect => self.connect(ctx),
            Effect::Reconnect { has_gap } => self.reconnect(has_gap, ctx),
            Effect::Invoke(ticket, invoke) => self.invoke(ticket, invoke, ctx),
            Effect::Retoken => self.tell_groups(ctx),
            Effect::End(ending) => self.end(&ending, ctx),
            Effect::Forsake => self.state.forsake(),
            Effect::Cut => self.cut(ctx),
        }
    }

    fn connect(&mut self, ctx: &mut Context<Self>) {
        self.state.enter();
        self.restorations += 1;
        let connected = hooks::connect(self.state.scene(), self.state.claim());
        let connected = self.state.entering(connected);
        ctx.spawn(connected.into_actor(self).map(|connected, this, ctx| {
            this.end_restoration();
            let outcome = this.state.let_in(connected);
            let is_in = outcome.is_ok();
            this.drive(Event::Connected(outcome), ctx);
            if is_in {
                this.tell_groups(ctx);
                this.drain_if_due(ctx);
            }
        }));
    }

    /// Puts a client back into its groups that returns on a new channel. The groups that its present hubs do
    /// not have it hear are still its groups, but it is deaf to them.
    pub(crate) fn rejoin(
        &mut self,
        comes: RejoinRequest,
    ) -> impl ActorFuture<Self, Output = Result<RejoinOutcome, ConnectError>> + use<D> {
        self.restorations += 1;
        let begun = self.state.handle().outbox.tail();
        hooks::rejoin(self.state.scene(), comes).into_actor(self).map(move |returned, this, _| {
            this.end_restoration();
            if let Ok(returned) = &returned {
                this.state.memberships.mute_all_but(&returned.groups, begun);
            }
            returned
        })
    }

    fn end_restoration(&mut self) {
        self.restorations -= 1;
        if self.restorations == 0 {
            self.state.memberships.end_restoration();
        }
    }

    fn restore(&mut self, ctx: &mut Context<Self>) {
        self.restorations += 1;
        let restored = hooks::restore(self.state.scene(), None);
        ctx.spawn(restored.into_actor(self).map(|restored, this, ctx| {
            this.end_restoration();
            this.state.hear_restored(&[]);
            this.drive(Event::Restored(restored.map(drop)), ctx);
            this.tell_groups(ctx);
        }));
    }

    fn welcome(&mut self, ctx: &mut Context<Self>) {
        let welcomed = self.state.entering(hooks::welcome(self.state.scene()));
        ctx.spawn(welcomed.into_actor(self).map(|welcomed, this, ctx| {
            let outcome = this.state.let_in(welcomed.map(|()| None));
            this.drive(Event::Connected(outcome), ctx);
            this.drain_if_due(ctx);
        }));
    }

    /// Sends a client away that has come while others were.
    fn drain_if_due(&mut self, ctx: &mut Context<Self>) {
        if self.state.services().is_draining() {
            self.drive(Event::Draining, ctx);
        }
    }

    fn reconnect(&mut self, has_gap: bool, ctx: &mut Context<Self>) {
        let at_work = &self.state.services().at_work;
        let reconnected = hooks::to_its_end(at_work, hooks::reconnect(self.state.scene(), has_gap), identity);
        ctx.spawn(reconnected.into_actor(self).map(|outcome, this, ctx| this.drive(Event::Reconnected(outcome), ctx)));
    }

    fn invoke(&mut self, ticket: D::PendingInvocation, invoke: Invoke, ctx: &mut Context<Self>) {
        let services = self.state.services();
        let method = hooks::invoke(self.state.hub(&invoke.hub), Arc::clone(&services.metrics), invoke);
        let returned = hooks::to_its_end(&services.at_work, method, CallError::Failed);
        let outbox = D::queues_answer(&ticket).then(|| Arc::clone(&self.state.handle().outbox));
        let answerable = hooks::when_there_is_room(outbox, returned);
        ctx.spawn(
            answerable.into_actor(self).map(|result, this, ctx| this.drive(Event::Returned(ticket, result), ctx)),
        );
    }

    /// Ends the connection. The actor stays until its last channel has gone or is cut.
    fn end(&mut self, ending: &Ending, ctx: &mut Context<Self>) {
        debug!(conn:% = self.state.handle().id, reason:? = ending.reason; "connection ends");
        if ending.reason == Reason::TooSlow {
            self.cut_socket();
        }
        self.turns.clear();
        self.state.depart(ending);
        ctx.run_later(FAREWELL, |this, ctx| this.cut(ctx));
    }

    fn cut_socket(&self) {
        if let Some(socket) = &self.socket {
            socket.cut();
        }
    }

    fn cut(&mut self, ctx: &mut Context<Self>) {
        self.cut_socket();
        ctx.stop();
    }

    /// Sets the timer for the session's deadline. One that is set for an earlier time stays: when it
    /// comes, the session is asked again.
    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let Some(deadline) = self.session.deadline() else { return };
        match self.timer {
            Some((set_for, _)) if set_for <= deadline => return,
            Some((_, later)) => drop(ctx.cancel_future(later)),
            None => {}
        }
        let handle = ctx.run_later(deadline.saturating_duration_since(Instant::now()), |this, ctx| {
            this.timer = None;
            this.drive(Event::Tick, ctx);
        });
        self.timer = Some((deadline, handle));
    }

    fn detail(&self) -> ConnectionSnapshot {
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
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.add_stream(self.state.handle().outbox.events());
        self.set_timer(ctx);
    }
}

impl<D: Dialect> Handler<Command> for Connection<D> {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        match command {
            // Whoever waits for an answer is told by its sender being dropped.
            Command::Join { .. } | Command::Leave { .. } if self.state.has_ended() => {}
            Command::Join { group, on_behalf_of, answer } => {
                self.ask(&group, GroupOp::Join { on_behalf_of, answer: Some(answer) }, ctx);
            }
            Command::Leave { group, answer } => self.ask(&group, GroupOp::Leave(answer), ctx),
            Command::Abort => self.drive(Event::Aborted, ctx),
            Command::Drain => self.drive(Event::Draining, ctx),
            Command::Inspect(answer) => drop(answer.send(self.detail())),
            #[cfg(any(test, feature = "testkit"))]
            Command::Crash => panic!("told to crash"),
        }
    }
}

impl<D: Dialect> StreamHandler<OutboxEvent> for Connection<D> {
    fn handle(&mut self, event: OutboxEvent, ctx: &mut Self::Context) {
        match event {
            OutboxEvent::HungUp(channel) if self.is_current(channel) => self.drive(Event::Detached, ctx),
            OutboxEvent::Detached(channel) if self.is_current(channel) => self.detached(ctx),
            // A channel that was replaced concerns nobody any more.
            OutboxEvent::HungUp(_) | OutboxEvent::Detached(_) => {}
            OutboxEvent::Overflowed => self.drive(Event::Overflowed, ctx),
            OutboxEvent::Congested => self.watch_progress(ctx),
            OutboxEvent::Lost { group, generation } => self.lost(&group, Generation(generation), ctx),
        }
    }
}

impl<D: Dialect> Connection<D> {
    fn is_current(&self, channel: u32) -> bool {
        self.state.handle().outbox.channel() == channel
    }

    fn detached(&mut self, ctx: &mut Context<Self>) {
        // The TCP connection may carry something else from now on.
        self.socket = None;
        self.drive(Event::Detached, ctx);
        if self.state.has_ended() {
            ctx.stop();
        }
    }
}

#[cfg(test)]
mod tests;
