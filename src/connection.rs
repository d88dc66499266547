//! One logical connection: what it is to the engine, whichever dialect its client speaks.
//!
//! Role: runs hub methods and hooks for its client, keeps its memberships, ends once and cleans up on every
//! way out. What its client's dialect demands is decided by a session ([`Dialect`]), which is pure; this
//! actor carries out what the session wants ([`Effect`]).
//! Life: from its first channel (or the first request that needs it) until it ends; it may outlive a
//! channel. Neighbours: hubs, groups, membership and pipeline below; endpoints of its dialect above.
//! Never: it does not know a transport, and no handler of it waits for anything but memory.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use log::{debug, info};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    connections::{Command, Detail, OnBehalfOf},
    group::{Admission, Joined, Left, Member, Reach},
    hub::{Arguments, CallError, CallerState, HubError, Manners, Reporter, Request, Streams},
    ids::{GroupKey, HubName},
    message::Json,
    outbox::{End, Notice},
    transport::{Received, SocketHandle},
};

mod guard;
mod memberships;
mod work;

pub(crate) use guard::{Desk, Guard, Opening};
pub use guard::{OnStoreFailure, RejoinSettings};

/// How many messages may wait for a connection. Beyond it, whoever asks waits.
const MAILBOX: usize = 64;

/// How long a client has to answer the close of its socket before it is cut. Wire: what ASP.NET Core
/// servers grant.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a client's dialect demands of its connection: a pure state machine.
pub(crate) trait Dialect: Sized + Unpin + 'static {
    /// What names a call of the client whose answer is awaited.
    type Ticket: 'static;

    /// How its clients expect hubs to behave.
    const MANNERS: Manners;

    /// Something has happened.
    fn on(&mut self, event: Event<Self::Ticket>, now: Instant) -> Effects<Self>;

    /// When [`Event::Tick`] is due.
    fn deadline(&self) -> Option<Instant>;

    /// True while nothing more should be read from the client.
    fn is_saturated(&self) -> bool;

    /// True if the client wants to know its groups as a token.
    fn wants_tokens(&self) -> bool;

    /// How long a client may take nothing of what waits for it.
    fn send_timeout(&self) -> Duration;

    /// Calls that run or wait.
    fn calls(&self) -> usize;

    /// Where the connection stands in its life, for operators.
    fn phase(&self) -> &'static str;
}

/// What a session wants done, in order.
pub(crate) type Effects<D> = Vec<Effect<<D as Dialect>::Ticket>>;

/// What can happen to a connection of any dialect.
#[derive(Debug)]
pub(crate) enum Event<T> {
    /// Something has come in.
    Received(Received),
    /// The deadline has come, or may have.
    Tick,
    /// The hubs' OnConnected is done, or has failed.
    Connected(Result<(), Refused>),
    /// A call has come to its end.
    Returned(T, Result<Json, CallError>),
    /// The hubs' OnReconnected is done, or has failed.
    Reconnected(Result<(), HubError>),
    /// The channel has gone, or its client has hung up.
    Detached,
    /// The client is too slow; its outbox is closed.
    Overflowed,
    /// The groups that the client hears have changed.
    Regrouped(Regrouped),
    /// A hub ends the connection.
    Aborted,
    /// The process ends.
    Draining,
}

/// The groups that a client hears, and a token that says so.
#[derive(Debug)]
pub(crate) struct Regrouped {
    pub(crate) groups: Vec<Arc<GroupKey>>,
    pub(crate) token: String,
}

/// Why a connection was not let in.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: HubError,
    /// The same client may be let in when it tries again.
    pub(crate) is_retryable: bool,
}

/// What a session can want.
#[derive(Debug)]
pub(crate) enum Effect<T> {
    /// Send these bytes, in their place among what others send.
    Send(Box<[u8]>),
    /// Send this frame over the present channel.
    Frame(Box<[u8]>),
    /// Be found, join the durable and the claimed groups, then run OnConnected; [`Event::Connected`]
    /// follows.
    Connect,
    /// Run OnReconnected; [`Event::Reconnected`] follows.
    Reconnect {
        /// The client has missed something.
        has_gap: bool,
    },
    /// Run a hub method; [`Event::Returned`] follows.
    Invoke(T, Invoke),
    /// Make a new token; [`Event::Regrouped`] follows.
    Retoken,
    /// End the connection for good.
    End(Ending),
    /// The last channel has had its time.
    Cut,
}

/// A call for a hub.
pub(crate) struct Invoke {
    pub(crate) hub: HubName,
    pub(crate) method: String,
    pub(crate) arguments: Arguments,
    pub(crate) state: CallerState,
    pub(crate) reporter: Option<Reporter>,
    pub(crate) streams: Streams,
    /// The request that brought the call, if it was not the channel's.
    pub(crate) request: Option<Arc<Request>>,
}

impl std::fmt::Debug for Invoke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hub, method, arguments, .. } = self;
        f.debug_struct("Invoke")
            .field("hub", hub)
            .field("method", method)
            .field("arguments", arguments)
            .finish_non_exhaustive()
    }
}

/// How a connection ends.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) reason: Reason,
    /// What the hubs are told went wrong, if anything did.
    pub(crate) error: Option<HubError>,
    /// How its last channel ends, once all that waits is written. A client that does not read has
    /// nothing waiting any more.
    pub(crate) end: End,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The client said good-bye.
    Stopped,
    /// The channel has gone, and the client did not come back.
    Lost,
    /// A hub wanted it.
    Aborted,
    /// The process ends.
    Drained,
    /// The client sent what it must not.
    Faulted,
    /// The client fell silent.
    TimedOut,
    /// The client does not read.
    TooSlow,
    /// Its proof of identity ran out.
    Expired,
    /// A hub or the store did not let it in.
    Refused,
    /// The connection's actor died.
    Crashed,
}

/// See the module's documentation.
pub(crate) struct Connection<D: Dialect> {
    session: D,
    guard: Guard,
    /// The timer that is set, and for when.
    timer: Option<(Instant, SpawnHandle)>,
    /// To cut the present channel with.
    socket: Option<SocketHandle>,
    /// Whoever has sent something, and is answered when the session can take more.
    held: Vec<oneshot::Sender<()>>,
    is_restoring: bool,
}

impl<D: Dialect> Connection<D> {
    /// Starts the actor of a connection. `begin` makes its session.
    pub(crate) fn open(opening: Opening, socket: Option<SocketHandle>, session: D) -> Addr<Self> {
        Self::create(move |ctx| {
            let guard = Guard::new(opening, D::MANNERS, ctx.address().recipient());
            Self { session, guard, timer: None, socket, held: Vec::new(), is_restoring: false }
        })
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
        if !self.session.is_saturated() {
            // Whoever waited may have gone with its socket.
            self.held.drain(..).for_each(|held| drop(held.send(())));
        }
        self.set_timer(ctx);
    }

    fn perform(&mut self, effect: Effect<D::Ticket>, ctx: &mut Context<Self>) {
        let outbox = &self.guard.seat().outbox;
        match effect {
            Effect::Send(bytes) => drop(outbox.push_own(bytes)),
            Effect::Frame(bytes) => drop(outbox.push_frame(bytes)),
            Effect::Connect => self.connect(ctx),
            Effect::Reconnect { has_gap } => self.reconnect(has_gap, ctx),
            Effect::Invoke(ticket, invoke) => self.invoke(ticket, invoke, ctx),
            Effect::Retoken => self.tell_groups(ctx),
            Effect::End(ending) => self.end(ending, ctx),
            Effect::Cut => self.cut(ctx),
        }
    }

    fn connect(&mut self, ctx: &mut Context<Self>) {
        self.is_restoring = true;
        self.guard.enter();
        let connected = work::connect(self.guard.scene(), self.guard.claim());
        ctx.spawn(connected.into_actor(self).map(|connected, this, ctx| {
            this.is_restoring = false;
            let outcome = this.guard.let_in(connected);
            let is_in = outcome.is_ok();
            this.drive(Event::Connected(outcome), ctx);
            if is_in {
                this.tell_groups(ctx);
            }
        }));
    }

    fn reconnect(&mut self, has_gap: bool, ctx: &mut Context<Self>) {
        let reconnected = work::reconnect(self.guard.scene(), has_gap);
        ctx.spawn(reconnected.into_actor(self).map(|outcome, this, ctx| this.drive(Event::Reconnected(outcome), ctx)));
    }

    fn invoke(&mut self, ticket: D::Ticket, invoke: Invoke, ctx: &mut Context<Self>) {
        let returned = work::invoke(self.guard.hub(&invoke.hub), Arc::clone(&self.guard.world().metrics), invoke);
        ctx.spawn(returned.into_actor(self).map(|result, this, ctx| this.drive(Event::Returned(ticket, result), ctx)));
    }

    /// Ends the connection. The actor stays until its last channel has gone or is cut.
    fn end(&mut self, ending: Ending, ctx: &mut Context<Self>) {
        debug!(conn:% = self.guard.seat().id, reason:? = ending.reason; "connection ends");
        if ending.reason == Reason::TooSlow {
            self.cut_socket();
        }
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

    /// Tells the session which groups its client hears.
    fn tell_groups(&mut self, ctx: &mut Context<Self>) {
        if !self.is_restoring && self.session.wants_tokens() {
            let regrouped = self.guard.regrouped();
            self.drive(Event::Regrouped(regrouped), ctx);
        }
    }

    fn join(
        &mut self,
        group: Arc<GroupKey>,
        on_behalf_of: OnBehalfOf,
        answer: Option<Answer<Joined>>,
        ctx: &mut Context<Self>,
    ) {
        if !self.guard.memberships.begin_join(&group, on_behalf_of == OnBehalfOf::Restoration) {
            return reply(answer, Ok(Joined::Already));
        }
        let member =
            Member { id: self.guard.seat().id.clone(), reach: Reach::Outbox(Arc::clone(&self.guard.seat().outbox)) };
        let (groups, key) = (self.guard.world().groups.clone(), Arc::clone(&group));
        let joined = async move { groups.join(&key, member).await };
        ctx.spawn(joined.into_actor(self).map(move |joined, this, ctx| {
            this.guard.memberships.end_join(&group, joined.ok());
            match joined {
                Ok(Admission::Member(joined, _)) => {
                    let joined = this.hear(&group, joined);
                    reply(answer, Ok(joined));
                    if joined == Joined::Now {
                        this.tell_groups(ctx);
                    }
                }
                // The sender of the answer is dropped: there is no such connection any more.
                Ok(Admission::Ended) => {}
                Err(error) => reply(answer, Err(error)),
            }
        }));
    }

    /// Makes the channel hear a group that it may have been deaf to; to its client that is a join.
    fn hear(&mut self, group: &Arc<GroupKey>, joined: Joined) -> Joined {
        if !self.guard.memberships.is_muted(group) {
            return joined;
        }
        self.guard.memberships.mute(group, false);
        self.guard.seat().outbox.change_view(|view| drop(view.muted.remove(group)));
        Joined::Now
    }

    fn leave(&mut self, group: Arc<GroupKey>, answer: Answer<Left>, ctx: &mut Context<Self>) {
        let was_heard = !self.guard.memberships.is_muted(&group);
        self.guard.memberships.begin_leave(&group);
        let (groups, key, id) = (self.guard.world().groups.clone(), Arc::clone(&group), self.guard.seat().id.clone());
        let left = async move { groups.leave(&key, &id).await };
        ctx.spawn(left.into_actor(self).map(move |departure, this, ctx| {
            let result = departure.map(|departure| {
                this.guard.memberships.end_leave(&group, departure);
                departure.map_or(Left::NoMember, |departure| departure.left)
            });
            if !this.is_restoring {
                this.guard.memberships.end_restoration();
            }
            reply(Some(answer), result);
            if result == Ok(Left::Now) && was_heard {
                this.tell_groups(ctx);
            }
        }));
    }

    fn detail(&self) -> Detail {
        Detail {
            groups: self.guard.memberships.members().cloned().collect(),
            calls: self.session.calls(),
            phase: if self.guard.has_ended() { "ended" } else { self.session.phase() },
        }
    }
}

type Answer<T> = oneshot::Sender<Result<T, crate::groups::Error>>;

fn reply<T>(answer: Option<Answer<T>>, result: Result<T, crate::groups::Error>) {
    if let Some(answer) = answer {
        // Whoever asked may have gone.
        let _ = answer.send(result);
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

/// The answer to [`Received`]: at once, or when the session can take more.
pub(crate) enum Taken {
    Now,
    Later(oneshot::Receiver<()>),
}

impl<D: Dialect> actix::dev::MessageResponse<Connection<D>, Received> for Taken {
    fn handle(self, _: &mut Context<Connection<D>>, answer: Option<actix::dev::OneshotSender<()>>) {
        let Some(answer) = answer else { return };
        match self {
            Self::Now => drop(answer.send(())),
            Self::Later(ready) => drop(actix::spawn(async move {
                // A connection that has ended is as ready as it will ever be.
                let _ = ready.await;
                let _ = answer.send(());
            })),
        }
    }
}

impl<D: Dialect> Handler<Received> for Connection<D> {
    type Result = Taken;

    fn handle(&mut self, received: Received, ctx: &mut Self::Context) -> Taken {
        self.drive(Event::Received(received), ctx);
        if self.guard.has_ended() || !self.session.is_saturated() {
            return Taken::Now;
        }
        let (held, ready) = oneshot::channel();
        self.held.push(held);
        Taken::Later(ready)
    }
}

impl<D: Dialect> Handler<Command> for Connection<D> {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        match command {
            // Whoever waits for an answer is told by its sender being dropped.
            Command::Join { .. } | Command::Leave { .. } if self.guard.has_ended() => {}
            Command::Join { group, on_behalf_of, answer } => self.join(group, on_behalf_of, Some(answer), ctx),
            Command::Leave { group, answer } => self.leave(group, answer, ctx),
            Command::Abort => self.drive(Event::Aborted, ctx),
            Command::Drain => self.drive(Event::Draining, ctx),
            Command::Inspect(answer) => drop(answer.send(self.detail())),
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
            Notice::Lost(group) => self.lost(group, ctx),
        }
    }
}

impl<D: Dialect> Connection<D> {
    fn is_current(&self, channel: u32) -> bool {
        self.guard.seat().outbox.channel() == channel
    }

    fn detached(&mut self, ctx: &mut Context<Self>) {
        self.drive(Event::Detached, ctx);
        if self.guard.has_ended() {
            ctx.stop();
        }
    }

    /// Looks after a while whether the client has taken anything of what waits for it.
    fn watch_progress(&mut self, ctx: &mut Context<Self>) {
        let before = self.guard.seat().outbox.backlog().taken;
        ctx.run_later(self.session.send_timeout(), move |this, ctx| {
            let backlog = this.guard.seat().outbox.backlog();
            match backlog.items {
                0 => {}
                _ if backlog.taken == before => this.drive(Event::Overflowed, ctx),
                _ => this.watch_progress(ctx),
            }
        });
    }

    /// Joins afresh a group that has died; whoever it has under way will notice by itself.
    fn lost(&mut self, group: Arc<GroupKey>, ctx: &mut Context<Self>) {
        if !self.guard.has_ended() && self.guard.memberships.concerns(&group) {
            info!(conn:% = self.guard.seat().id, group:% = group; "joins a group afresh that died");
            self.join(group, OnBehalfOf::Restoration, None, ctx);
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
impl<D: Dialect> Handler<crate::supervised::Crash> for Connection<D> {
    type Result = ();

    fn handle(&mut self, _: crate::supervised::Crash, _: &mut Self::Context) {
        panic!("told to crash");
    }
}
