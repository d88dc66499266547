//! The interface between a connection and the dialect of its client.
//!
//! Each dialect implements a session ([`Dialect`]): a state machine that receives [`Event`]s and returns [`Effect`]s,
//! which the connection applies.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    AttachChannel, ChannelAttached, ChannelDecision, ChannelSetup, ChannelState, Effects, RequestContext, TokenEncoder,
    TokenPlace,
};
use crate::{
    client_log::{self, Cause},
    connections::{ConnectionHandle, Reconnect},
    hub::{
        Arguments, CallError, CallerState, HubBehavior, HubError, Reporter, Request, Streams, UploadCapacity, Uploads,
    },
    ids::HubName,
    message::WireForm,
    metrics::ConnectionStatus,
    outbox::{End, Framer, Outbox},
    payload::Payload,
    pipeline::RejoinReport,
    router::ClientResult,
    store::CloseReason,
    transport::{Received, Transport},
};

/// The session of a client: the state machine of its dialect.
pub(crate) trait Dialect: Sized + Unpin + 'static {
    /// A request for a channel.
    type ChannelRequest: Debug + Send + Unpin + 'static;

    /// Why a channel is not opened.
    type ChannelRefusal: Debug + Send + 'static;

    /// A request of the client that opens no channel.
    type Request: Debug + Send + 'static;

    /// An effect that only this dialect has.
    type OwnEffect: Debug + 'static;

    /// What the connections of this dialect share, for [`Dialect::apply`].
    type Shared: Unpin + 'static;

    /// The hub behaviour that clients of this dialect expect.
    const BEHAVIOR: HubBehavior;

    /// Handles an event and returns the effects to apply, in order.
    fn on(&mut self, event: Event<Self>, now: Instant) -> Effects<Self>;

    /// Applies an effect of this dialect.
    fn apply(effect: Self::OwnEffect, connection: &ConnectionHandle, shared: &Self::Shared);

    /// Decides whether a channel is opened. `tail` is the sequence number of the next message.
    fn decide_channel(&self, attach: &AttachChannel<Self>, channels: &ChannelState, tail: u64)
    -> ChannelDecision<Self>;

    /// The setup of a channel that is opened now.
    fn channel_setup(&self, attach: &AttachChannel<Self>, channels: &ChannelState) -> ChannelSetup;

    /// The time that the connection lives without a channel after one over `last`, or from its start on. `None` if it
    /// needs no such time, because the session ends it when the channel is lost.
    fn time_without_channel(&self, last: Option<Transport>) -> Option<Duration>;

    /// The name of a transport on the wire.
    fn transport_name(transport: Transport) -> &'static str;

    /// Reports the progress of the call with this number to its client, if the dialect can.
    fn reporter(&self, _: u64, _: &Arc<Outbox>) -> Option<Reporter> {
        None
    }

    /// The time of the next [`Event::Tick`]; `None` if none is needed.
    fn deadline(&self) -> Option<Instant>;

    /// Whether reading from the client has to pause.
    fn is_saturated(&self) -> bool;

    /// Whether reading goes on after a pause.
    fn can_read_on(&self) -> bool {
        !self.is_saturated()
    }

    /// Whether the client receives its groups as a token.
    fn wants_tokens(&self) -> bool;

    /// Where a rejoin token is written.
    const TOKEN_PLACE: TokenPlace;

    /// Encodes a rejoin token for its place, until [`Effect::SetEncoding`] chooses another encoding.
    fn encode_token(token: &str) -> Box<[u8]>;

    /// Whether the result of the call with this number is queued in the outbox. Otherwise it is the response to a
    /// request, or not sent.
    fn queues_result(&self, number: u64) -> bool;

    /// The time that queued messages may wait without any progress before the client counts as too slow.
    fn send_timeout(&self) -> Duration;

    /// The number of invocations that run or wait.
    fn calls(&self) -> usize;

    /// The state of the session by name, for operators.
    fn phase(&self) -> &'static str;
}

/// An event of a connection, for any dialect.
#[derive(Debug)]
pub(crate) enum Event<D: Dialect> {
    /// The client sent data over the current channel.
    Received(Received),
    /// The client sent data in the body of a request.
    Posted(Bytes),
    /// The request that has posted data before has broken off. The data of another one follows.
    PostBrokenOff,
    /// The client sent a request that opens no channel.
    Request(D::Request),
    /// A channel was attached.
    Attached(ChannelAttached<D>),
    /// A timer fired. The deadline may have moved since it was set.
    Tick,
    /// The groups are joined, or could not be loaded or joined, or the id of the connection is in use.
    Restored(Result<(), ConnectError>),
    /// OnConnected of the hubs has finished or failed.
    Connected(Result<(), ConnectError>),
    /// The hub method of a call has returned a value or failed. The number is [`Invoke::number`].
    Returned(u64, Result<Payload, CallError>),
    /// The stream that the hub method of a call has returned has an item, or has failed.
    StreamItem(u64, Result<Payload, HubError>),
    /// Such a stream has ended without an error.
    StreamEnded(u64),
    /// The call with this number waits for a client result, and gives back its slot.
    SlotReleased(u64),
    /// The client has answered an invocation of another client.
    ForeignResult(HubError),
    /// A stream of the client has space for another item, or is not read any more.
    UploadReady,
    /// OnReconnected of the hubs has finished or failed.
    Reconnected(Result<(), HubError>),
    /// The client has closed the current channel, and may open another one if its dialect has it.
    Closed,
    /// The current channel is lost.
    Detached,
    /// The connection had no channel for too long.
    Abandoned,
    /// More messages wait for the client than its outbox accepts. It accepts no more.
    Overflowed,
    /// The client has taken none of the messages that wait for it within the send timeout.
    Stalled,
    /// The client has presented a rejoin token, and its groups are restored.
    Rejoined(RejoinReport),
    /// The groups that the client receives messages from have changed, or their token is refreshed.
    GroupsChanged {
        /// The token that the client has lists just these groups.
        are_known: bool,
    },
    /// A hub, the application or an operator ends the connection.
    Aborted(Reconnect),
    /// The process is shutting down.
    Draining,
}

/// Why a client was not admitted.
#[derive(Debug)]
pub(crate) struct ConnectError {
    pub(crate) error: HubError,
    /// A later attempt of the same client may succeed.
    pub(crate) is_retryable: bool,
}

impl ConnectError {
    /// The engine panicked while it connected the client.
    pub(super) fn interrupted(error: HubError) -> Self {
        Self { error, is_retryable: true }
    }
}

/// An action that a session requests. What needs nothing but the handle of the connection is an effect of the dialect.
#[derive(Debug)]
pub(crate) enum Effect<D: Dialect> {
    /// Queues these bytes in the outbox, in order with the messages of others.
    Send(Box<[u8]>),
    /// Chooses how messages to the client are encoded and framed. It precedes the first of them.
    SetEncoding(Encoding),
    /// An effect of the dialect.
    Own(D::OwnEffect),
    /// Hooks and hub methods see this request from now on, and hooks run for these hubs.
    SetContext(RequestContext),
    /// Counts that the client has reconnected.
    CountReconnect {
        /// The connection is new to this process. The client is admitted without OnConnected.
        is_recreated: bool,
    },
    /// Sends a rejoin token with the next frame, or does not send one that was not written yet. The token lists the
    /// groups at the time when the frame is written.
    SendGroupsToken(bool),
    /// Registers the connection, unless that was done before, and joins its durable groups and those of the rejoin token
    /// that it was created with. [`Event::Restored`] follows.
    RestoreGroups,
    /// Runs OnConnected. [`Event::Connected`] follows.
    RunConnected,
    /// Runs OnReconnected. [`Event::Reconnected`] follows.
    RunReconnected {
        /// The client has missed messages.
        has_gap: bool,
    },
    /// Runs a hub method. [`Event::Returned`] follows, or the items of the stream that it returns.
    Invoke(Invoke),
    /// Passes the client's result of the invocation with this id on. [`Event::ForeignResult`] follows if another client
    /// was asked.
    ClientResult(String, ClientResult),
    /// Waits until a stream of the client has space. [`Event::UploadReady`] follows.
    AwaitUpload(UploadCapacity),
    /// Checks whether the client needs a rejoin token. [`Event::GroupsChanged`] follows.
    RefreshGroupsToken,
    /// Logs a fault of the client.
    Report(ClientFault),
    /// Ends the connection.
    End(Ending),
}

/// How messages to a client are encoded and framed.
pub(crate) struct Encoding {
    pub(crate) form: &'static WireForm,
    pub(crate) framer: Arc<dyn Framer>,
    pub(crate) token: TokenEncoder,
}

impl std::fmt::Debug for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoding").field("format", &self.form.format).finish_non_exhaustive()
    }
}

/// An invocation of a hub method.
pub(crate) struct Invoke {
    /// Identifies the invocation within its connection.
    pub(crate) number: u64,
    pub(crate) hub: HubName,
    pub(crate) method: String,
    pub(crate) arguments: Arguments,
    pub(crate) state: CallerState,
    pub(crate) streams: Streams,
    /// The streams that the client sends along.
    pub(crate) uploads: Uploads,
    /// Cancelled when the client wants no more items of the stream that the method returns.
    pub(crate) cancelled: Option<CancellationToken>,
    pub(crate) headers: Option<Arc<BTreeMap<String, String>>>,
    /// The request that carried the invocation, if it is not the request of the channel.
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

/// A fault of a client, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFault {
    pub(crate) cause: Cause,
    /// The hub as the client names it, if the connection can call several.
    pub(crate) hub: Option<String>,
    /// The method as the client names it, if the fault is in a call.
    pub(crate) method: Option<String>,
    /// It does not contain parts of a message.
    pub(crate) reason: String,
}

impl ClientFault {
    /// A fault that concerns no particular hub or method.
    pub(crate) fn new(cause: Cause, reason: &str) -> Self {
        Self { cause, hub: None, method: None, reason: client_log::without_contents(reason) }
    }
}

/// How a connection ends.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) reason: Reason,
    /// The error that OnDisconnected receives, if there is one.
    pub(crate) error: Option<HubError>,
    /// The end of its last channel, after all queued messages are written. The queue of a client that does not read is
    /// discarded.
    pub(crate) end: End,
    /// The client has not caused the end, and may still send requests. If it polls, it receives the queued messages and
    /// the end with its next polls.
    pub(crate) waits_for_client: bool,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The client closed the connection.
    Stopped,
    /// The client closed the connection with a request, and fetches nothing more.
    Deleted,
    /// The channel was lost and the client did not reconnect.
    Lost,
    /// A hub, the application or an operator ended it.
    Aborted,
    /// The process is shutting down.
    Drained,
    /// The client violated the protocol.
    Faulted,
    /// The client sent nothing for too long.
    TimedOut,
    /// The client does not read.
    TooSlow,
    /// Its credentials expired.
    Expired,
    /// A hub refused it, or its groups could not be restored.
    Refused,
    /// The actor of the connection panicked or was dropped.
    Crashed,
}

impl Reason {
    /// The name for operators.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Deleted => "deleted",
            Self::Lost => "lost",
            Self::Aborted => "aborted",
            Self::Drained => "drained",
            Self::Faulted => "faulted",
            Self::TimedOut => "timed_out",
            Self::TooSlow => "too_slow",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Crashed => "crashed",
        }
    }

    /// The status for metrics.
    pub(super) fn status(self) -> ConnectionStatus {
        match self {
            Self::TimedOut | Self::TooSlow => ConnectionStatus::Timeout,
            Self::Drained => ConnectionStatus::AppShutdown,
            Self::Stopped
            | Self::Deleted
            | Self::Lost
            | Self::Aborted
            | Self::Faulted
            | Self::Expired
            | Self::Refused
            | Self::Crashed => ConnectionStatus::NormalClosure,
        }
    }
}

impl From<Reason> for CloseReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Stopped | Reason::Deleted => Self::ClientClosed,
            Reason::Lost => Self::Lost,
            Reason::TimedOut | Reason::TooSlow => Self::Timeout,
            Reason::Aborted => Self::Aborted,
            Reason::Drained => Self::Drained,
            Reason::Faulted => Self::Faulted,
            Reason::Expired => Self::Expired,
            Reason::Refused => Self::Refused,
            Reason::Crashed => Self::Crashed,
        }
    }
}
