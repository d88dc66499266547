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
    connections::{Command, Detail},
    group::Generation,
    hub::CallError,
    outbox::Notice,
    transport::SocketHandle,
};

mod dialect;
mod guard;
mod joining;
mod memberships;
mod opening;
mod traffic;
mod work;

pub(crate) use dialect::{Dialect, Effect, Effects, Ending, Event, Invoke, Reason, Refused, Regrouped};
pub(crate) use guard::Guard;
use joining::{Turns, Wish};
pub(crate) use opening::{Desk, Opening};
pub use opening::{OnStoreFailure, RejoinSettings};
pub(crate) use work::{Correction, Return, Returned};

/// How many messages may wait for a connection. Beyond it, whoever asks waits.
const MAILBOX: usize = 64;

/// How long a client has to answer the close of its socket before it is cut. Wire: what ASP.NET Core
/// servers grant.
const FAREWELL: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub(crate) struct Connection<D: Dialect> {
    pub(crate) session: D,
    pub(crate) guard: Guard,
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
    turns: Turns,
}

impl<D: Dialect> Connection<D> {
    /// Starts the actor of a connection; others find it when it is let in.
    pub(crate) fn open(opening: Opening, socket: Option<SocketHandle>, session: D) -> Addr<Self> {
        Self::create(move |ctx| Self::new(Guard::new(opening, ctx.address()), socket, session))
    }

    /// As [`Connection::open`], but it can be found as soon as this returns.
    pub(crate) fn open_at_once(opening: Opening, session: D) -> Addr<Self> {
        Self::create(move |ctx| {
            let guard = Guard::new(opening, ctx.address());
            guard.enter();
            Self::new(guard, None, session)
        })
    }

    fn new(guard: Guard, socket: Option<SocketHandle>, session: D) -> Self {
        Self {
            session,
            guard,
            timer: None,
            watch: None,
            socket,
            held: Vec::new(),
            restorations: 0,
            turns: Turns::new(),
        }
    }

    /// Tells the session what has happened and does what it wants.
    pub(crate) fn drive(&mut self, event: Event<D::Ticket>, ctx: &mut Context<Self>) {
        if self.guard.has_ended() && !matches!(event, Event::Tick) {
            return;
        }
        let effects = self.session.on(event, Instant::now());
        self.carry_out(effects, ctx);
    }

    pub(crate) fn carry_out(&mut self, effects: Effects<D>, ctx: &mut Context<Self>) {
        for effect in effects {
            self.perform(effect, ctx);
        }
        if self.guard.has_ended() || !self.session.is_saturated() {
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

    fn perform(&mut self, effect: Effect<D::Ticket>, ctx: &mut Context<Self>) {
        let outbox = &self.guard.seat().outbox;
        match effect {
            Effect::Send(bytes) => drop(outbox.push_own(bytes)),
            Effect::Frame(bytes) => drop(outbox.push_frame(bytes)),
            Effect::Answer(waiting, bytes) => drop(waiting.send(bytes)),
            Effect::Open(bytes) => outbox.change_asides(|asides| asides.opening = Some(bytes)),
            Effect::Tell(news) => outbox.tell_client(news),
            Effect::HangUp(end) => outbox.hang_up(end),
            Effect::Restore => self.restore(ctx),
            Effect::Welcome => self.welcome(ctx),
            Effect::Connect => self.connect(ctx),
            Effect::Reconnect { has_gap } => self.reconnect(has_gap, ctx),
            Effect::Invoke(ticket, invoke) => self.invoke(ticket, invoke, ctx),
            Effect::Retoken => self.tell_groups(ctx),
            Effect::End(ending) => self.end(&ending, ctx),
            Effect::Forsake => self.guard.forsake(),
            Effect::Cut => self.cut(ctx),
        }
    }

    fn connect(&mut self, ctx: &mut Context<Self>) {
        self.guard.enter();
        self.restorations += 1;
        let connected = work::connect(self.guard.scene(), self.guard.claim());
        let connected = self.guard.entering(connected);
        ctx.spawn(connected.into_actor(self).map(|connected, this, ctx| {
            this.end_restoration();
            let outcome = this.guard.let_in(connected);
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
        comes: Return,
    ) -> impl ActorFuture<Self, Output = Result<Returned, Refused>> + use<D> {
        self.restorations += 1;
        let begun = self.guard.seat().outbox.tail();
        work::rejoin(self.guard.scene(), comes).into_actor(self).map(move |returned, this, _| {
            this.end_restoration();
            if let Ok(returned) = &returned {
                this.guard.memberships.mute_all_but(&returned.groups, begun);
            }
            returned
        })
    }

    fn end_restoration(&mut self) {
        self.restorations -= 1;
        if self.restorations == 0 {
            self.guard.memberships.end_restoration();
        }
    }

    fn restore(&mut self, ctx: &mut Context<Self>) {
        self.restorations += 1;
        let restored = work::restore(self.guard.scene(), None);
        ctx.spawn(restored.into_actor(self).map(|restored, this, ctx| {
            this.end_restoration();
            this.guard.hear_restored(&[]);
            this.drive(Event::Restored(restored.map(drop)), ctx);
            this.tell_groups(ctx);
        }));
    }

    fn welcome(&mut self, ctx: &mut Context<Self>) {
        let welcomed = self.guard.entering(work::welcome(self.guard.scene()));
        ctx.spawn(welcomed.into_actor(self).map(|welcomed, this, ctx| {
            let outcome = this.guard.let_in(welcomed.map(|()| None));
            this.drive(Event::Connected(outcome), ctx);
            this.drain_if_due(ctx);
        }));
    }

    /// Sends a client away that has come while others were.
    fn drain_if_due(&mut self, ctx: &mut Context<Self>) {
        if self.guard.world().is_draining() {
            self.drive(Event::Draining, ctx);
        }
    }

    fn reconnect(&mut self, has_gap: bool, ctx: &mut Context<Self>) {
        let at_work = &self.guard.world().at_work;
        let reconnected = work::to_its_end(at_work, work::reconnect(self.guard.scene(), has_gap), identity);
        ctx.spawn(reconnected.into_actor(self).map(|outcome, this, ctx| this.drive(Event::Reconnected(outcome), ctx)));
    }

    fn invoke(&mut self, ticket: D::Ticket, invoke: Invoke, ctx: &mut Context<Self>) {
        let world = self.guard.world();
        let method = work::invoke(self.guard.hub(&invoke.hub), Arc::clone(&world.metrics), invoke);
        let returned = work::to_its_end(&world.at_work, method, CallError::Failed);
        let outbox = D::queues_answer(&ticket).then(|| Arc::clone(&self.guard.seat().outbox));
        let answerable = work::when_there_is_room(outbox, returned);
        ctx.spawn(
            answerable.into_actor(self).map(|result, this, ctx| this.drive(Event::Returned(ticket, result), ctx)),
        );
    }

    /// Ends the connection. The actor stays until its last channel has gone or is cut.
    fn end(&mut self, ending: &Ending, ctx: &mut Context<Self>) {
        debug!(conn:% = self.guard.seat().id, reason:? = ending.reason; "connection ends");
        if ending.reason == Reason::TooSlow {
            self.cut_socket();
        }
        self.turns.clear();
        self.guard.depart(ending);
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

    fn detail(&self) -> Detail {
        Detail {
            groups: self.guard.memberships.members().cloned().collect(),
            calls: self.session.calls(),
            phase: if self.guard.has_ended() { "ended" } else { self.session.phase() },
        }
    }
}

impl<D: Dialect> Actor for Connection<D> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.add_stream(self.guard.seat().outbox.notices());
        self.set_timer(ctx);
    }
}

impl<D: Dialect> Handler<Command> for Connection<D> {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        match command {
            // Whoever waits for an answer is told by its sender being dropped.
            Command::Join { .. } | Command::Leave { .. } if self.guard.has_ended() => {}
            Command::Join { group, on_behalf_of, answer } => {
                self.ask(&group, Wish::Join { on_behalf_of, answer: Some(answer) }, ctx);
            }
            Command::Leave { group, answer } => self.ask(&group, Wish::Leave(answer), ctx),
            Command::Abort => self.drive(Event::Aborted, ctx),
            Command::Drain => self.drive(Event::Draining, ctx),
            Command::Inspect(answer) => drop(answer.send(self.detail())),
            #[cfg(any(test, feature = "testkit"))]
            Command::Crash => panic!("told to crash"),
        }
    }
}

impl<D: Dialect> StreamHandler<Notice> for Connection<D> {
    fn handle(&mut self, notice: Notice, ctx: &mut Self::Context) {
        match notice {
            Notice::HungUp(channel) if self.is_current(channel) => self.drive(Event::Detached, ctx),
            Notice::Detached(channel) if self.is_current(channel) => self.detached(ctx),
            // A channel that was replaced concerns nobody any more.
            Notice::HungUp(_) | Notice::Detached(_) => {}
            Notice::Overflowed => self.drive(Event::Overflowed, ctx),
            Notice::Congested => self.watch_progress(ctx),
            Notice::Lost { group, generation } => self.lost(&group, Generation(generation), ctx),
        }
    }
}

impl<D: Dialect> Connection<D> {
    fn is_current(&self, channel: u32) -> bool {
        self.guard.seat().outbox.channel() == channel
    }

    fn detached(&mut self, ctx: &mut Context<Self>) {
        // The TCP connection may carry something else from now on.
        self.socket = None;
        self.drive(Event::Detached, ctx);
        if self.guard.has_ended() {
            ctx.stop();
        }
    }
}

#[cfg(test)]
mod tests;
