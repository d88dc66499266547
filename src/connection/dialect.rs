//! What the dialect of a client demands of its connection: a session, which is pure, is told what happens
//! ([`Event`]) and says what it wants done ([`Effect`]).

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    hub::{Arguments, CallError, CallerState, HubBehavior, HubError, Reporter, Request, Streams},
    ids::HubName,
    message::Json,
    outbox::End,
    pipeline::TokenGroups,
    transport::Received,
};

/// What a client's dialect demands of its connection: a pure state machine.
pub(crate) trait Dialect: Sized + Unpin + 'static {
    /// What names a call of the client whose answer is awaited.
    type PendingInvocation: 'static;

    /// How its clients expect hubs to behave.
    const BEHAVIOR: HubBehavior;

    /// Something has happened.
    fn on(&mut self, event: Event<Self::PendingInvocation>, now: Instant) -> Effects<Self>;

    /// When [`Event::Tick`] is due.
    fn deadline(&self) -> Option<Instant>;

    /// True while nothing more should be read from the client.
    fn is_saturated(&self) -> bool;

    /// True if the client wants to know its groups as a token.
    fn wants_tokens(&self) -> bool;

    /// True if the answer to a call waits with everything else that is sent.
    fn queues_answer(ticket: &Self::PendingInvocation) -> bool;

    /// How long a client may take nothing of what waits for it.
    fn send_timeout(&self) -> Duration;

    /// Calls that run or wait.
    fn calls(&self) -> usize;

    /// Where the connection stands in its life, for operators.
    fn phase(&self) -> &'static str;
}

/// What a session wants done, in order.
pub(crate) type Effects<D> = Vec<Effect<<D as Dialect>::PendingInvocation>>;

/// What can happen to a connection of any dialect.
#[derive(Debug)]
pub(crate) enum Event<T> {
    /// Something has come in.
    Received(Received),
    /// The deadline has come, or may have.
    Tick,
    /// The durable groups are joined, or could not be looked up.
    Restored(Result<(), ConnectError>),
    /// The hubs' OnConnected is done, or has failed.
    Connected(Result<(), ConnectError>),
    /// A call has come to its end.
    Returned(T, Result<Json, CallError>),
    /// The hubs' OnReconnected is done, or has failed.
    Reconnected(Result<(), HubError>),
    /// The channel has gone, or its client has hung up.
    Detached,
    /// The client is too slow; its outbox is closed.
    Overflowed,
    /// The groups that the client hears have changed.
    GroupsChanged(GroupsChanged),
    /// A hub ends the connection.
    Aborted,
    /// The process ends.
    Draining,
}

/// The groups that a client hears, and a token that says so.
#[derive(Debug)]
pub(crate) struct GroupsChanged {
    pub(crate) groups: TokenGroups,
    pub(crate) token: String,
    /// The news before has not been told yet.
    pub(crate) has_unsaid: bool,
}

/// Why a connection was not let in.
#[derive(Debug)]
pub(crate) struct ConnectError {
    pub(crate) error: HubError,
    /// The same client may be let in when it tries again.
    pub(crate) is_retryable: bool,
}

impl ConnectError {
    /// Something of the engine panicked while it let the client in.
    pub(super) fn interrupted(error: HubError) -> Self {
        Self { error, is_retryable: true }
    }
}

/// What a session can want.
#[derive(Debug)]
pub(crate) enum Effect<T> {
    /// Send these bytes, in their place among what others send.
    Send(Box<[u8]>),
    /// Send this frame over the present channel.
    Frame(Box<[u8]>),
    /// Answer a request that waits.
    Reply(oneshot::Sender<Box<[u8]>>, Box<[u8]>),
    /// Begin the next frame of the present channel with this.
    Open(Box<[u8]>),
    /// Tell the client this of itself with the next frame, or nothing.
    Tell(Option<Box<[u8]>>),
    /// Be found, join the durable and the claimed groups, then run OnConnected; [`Event::Connected`]
    /// follows.
    Connect,
    /// Join the durable groups; [`Event::Restored`] follows.
    Restore,
    /// Run OnConnected; [`Event::Connected`] follows.
    Welcome,
    /// Run OnReconnected; [`Event::Reconnected`] follows.
    Reconnect {
        /// The client has missed something.
        has_gap: bool,
    },
    /// Run a hub method; [`Event::Returned`] follows.
    Invoke(T, Invoke),
    /// Make a new token; [`Event::GroupsChanged`] follows.
    Retoken,
    /// End the present channel at once; the connection goes on.
    HangUp(End),
    /// End the connection for good.
    End(Ending),
    /// Tell whoever works for the client that it has gone for good, although the connection has not ended yet.
    Forsake,
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
