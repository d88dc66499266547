//! The session of a classic connection: its lifetime, the state of its client, and its calls.
//!
//! The session is a state machine: it turns events into effects, which the actor of the connection applies. A
//! connection starts with the first request that needs it. It has at most one channel at a time. It ends when the
//! client sends an abort request, or when it has had no channel for too long.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Settings, aborted::AbortedConnections, message, query::ConnectionDataError};
use crate::{
    client_log::Cause,
    connection::{
        ClientFault, ConnectError, DispatchLimits, Dispatcher, Effect, Effects, Ending, Reason, TokenSchedule,
    },
    hub::HubError,
    metrics::Metrics,
    outbox::End,
    transport::{Inbound, Received},
};

mod attached;
mod calls;
mod channel;
mod dialect;
mod groups_token;
mod requests;
mod start;

pub(super) use attached::{ChannelRequest, StalePoll};
pub(super) use calls::{ClassicCall, ReplyTarget, TooManyInvocations};
use calls::{PendingInvocation, SendReply, refuse};
use channel::Channel;
pub(super) use requests::Request;
pub(super) use start::StartError;
use start::{StartReply, StartState};

/// Wire: after the loss of a stream, ASP.NET SignalR waits this long in addition to the disconnect timeout.
pub(super) const RECONNECT_GRACE: Duration = Duration::from_secs(5);

/// Wire: ASP.NET SignalR always closes with 1000, and clients ignore the code.
const CLOSE_NORMAL: End = End::Close(1000);

/// In these cases ASP.NET SignalR only drops the connection. The codes tell the client more: 1003 rejects a binary
/// message, and 1008 a client that does not read (RFC 6455 section 7.4.1).
const CLOSE_UNSUPPORTED_DATA: End = End::Close(1003);
const CLOSE_POLICY_VIOLATION: End = End::Close(1008);

/// Wire: the first frame of a channel after `/connect`. The client waits for it.
const INITIALIZED: &[u8] = b"\"S\":1";

/// Wire: makes polling clients reconnect at once.
const SHOULD_RECONNECT: &[u8] = b"\"T\":1";

/// Wire: the disconnect command. Both members make a client stop: the oldest clients know `D`, the newest know `E`.
const DISCONNECT: &[u8] = b"\"D\":1,\"E\":\"The server has closed the connection.\"";

/// The session of a classic connection. See the documentation of the module.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Arc<Settings>,
    /// It is closed until the durable groups are joined.
    dispatcher: Dispatcher<PendingInvocation>,
    token_schedule: TokenSchedule,
    epoch: Arc<str>,
    channel: Option<Channel>,
    start_state: StartState,
    /// The client waits for its first frame. It is sent after OnConnected, on the channel that is current then.
    init_pending: bool,
    /// A hub has aborted an earlier connection with the same id, and the client may not know it yet.
    is_aborted_by_hub: bool,
    has_ended: bool,
}

/// An effect that only classic connections have.
#[derive(Debug)]
pub(crate) enum OwnEffect {
    /// Sends this frame over the current channel.
    SendFrame(Box<[u8]>),
    /// Closes the current channel at once; the connection stays.
    CloseChannel(End),
    /// Counts that the client has missed messages.
    CountGap,
    /// Sets the `init` field of the next frame of the current channel.
    SetInit(Box<[u8]>),
    /// Responds to a send request.
    Reply(SendReply, Result<Box<[u8]>, TooManyInvocations>),
    /// Records that a hub has aborted the connection, in case that the disconnect command does not reach its client.
    RecordAbort,
}

fn set_init(field: &[u8]) -> Effect<Session> {
    Effect::Own(OwnEffect::SetInit(field.into()))
}

/// What all sessions of an endpoint share.
pub(crate) struct Shared {
    pub(crate) aborted: Arc<AbortedConnections>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The arguments of a new session.
pub(super) struct SessionConfig {
    pub(super) settings: Arc<Settings>,
    /// The lifetime of a groups token.
    pub(super) groups_token_lifetime: Duration,
    /// A hub has recently aborted a connection with this id.
    pub(super) is_aborted_by_hub: bool,
}

type SessionEffects = Effects<Session>;

impl Session {
    pub(super) fn new(config: SessionConfig) -> Self {
        let SessionConfig { settings, groups_token_lifetime, is_aborted_by_hub } = config;
        Self {
            dispatcher: Dispatcher::closed(DispatchLimits {
                parallel_calls: settings.parallel_calls.get(),
                // Classic clients send no streams.
                stream_capacity: 1,
            }),
            token_schedule: TokenSchedule::new(groups_token_lifetime),
            epoch: crate::ids::secret().chars().filter(char::is_ascii_alphanumeric).take(8).collect::<String>().into(),
            channel: None,
            start_state: StartState::default(),
            init_pending: false,
            is_aborted_by_hub,
            has_ended: false,
            settings,
        }
    }

    /// Sends the pending first frame, once OnConnected has run and there is a channel.
    fn send_pending_init(&mut self) -> SessionEffects {
        let sends = self.init_pending && self.start_state.is_done() && self.channel.is_some();
        self.init_pending &= !sends;
        sends.then(|| set_init(INITIALIZED)).into()
    }

    fn on_restored(&mut self, outcome: Result<(), ConnectError>) -> SessionEffects {
        match outcome {
            Ok(()) => self.on_groups_restored(self.init_pending),
            Err(error) => self.reject(&error),
        }
    }

    /// The durable groups are joined. OnConnected follows if it `is_awaited`, and the calls that have waited.
    fn on_groups_restored(&mut self, is_awaited: bool) -> SessionEffects {
        self.dispatcher.open();
        self.start_state.on_groups_restored(is_awaited).then(self.run_waiting())
    }

    fn on_connected(&mut self, outcome: Result<(), ConnectError>) -> SessionEffects {
        if let Err(error) = outcome {
            return self.reject(&error);
        }
        self.start_state.finish(&Ok(()));
        self.send_pending_init()
    }

    fn reject(&mut self, error: &ConnectError) -> SessionEffects {
        self.start_state.finish(&Err(StartError::new(error, self.settings.detailed_errors)));
        self.end(Reason::Refused, CLOSE_NORMAL)
    }

    /// Wire: data from a channel that is closing is ignored.
    fn on_received(&mut self, received: &Received) -> SessionEffects {
        let Some(channel) = self.channel.as_mut().filter(|channel| !channel.is_closing) else {
            return SessionEffects::none();
        };
        let (fault, end) = match &received.data {
            Inbound::Text(bytes) => return self.on_call(&String::from_utf8_lossy(bytes), received.channel),
            Inbound::Binary(_) => {
                (ClientFault::new(Cause::InvalidMessage, "the message is binary"), CLOSE_UNSUPPORTED_DATA)
            }
            Inbound::TooLarge => {
                let reason = format!("the message is longer than {} bytes", self.settings.max_message);
                // Wire: jquery.signalR raises its error event only after an end without a close frame.
                (ClientFault::new(Cause::MessageTooLong, &reason), End::Abort)
            }
        };
        SessionEffects::from(Effect::Report(fault)).then(channel.close(end))
    }

    /// A message without a readable id is only logged, because its client could not assign a response to a call.
    fn on_call(&mut self, text: &str, channel: u32) -> SessionEffects {
        let call = match message::decode(text) {
            Ok(call) => call,
            Err(error) => {
                let fault = ClientFault::new(Cause::InvalidMessage, &error.to_string());
                return refuse(fault, message::id_of_invalid(text), error.to_string());
            }
        };
        let hubs = self.channel.as_ref().map(|channel| &channel.endpoint_hubs);
        match hubs.and_then(|hubs| hubs.find(&call.hub)).cloned() {
            Some(hub) => self.call(ClassicCall { hub, call, reply_to: ReplyTarget::Channel(channel), request: None }),
            None => {
                let text = ConnectionDataError::Unknown(call.hub.clone()).to_string();
                refuse(call.fault(Cause::UnknownHub, ""), call.id.given(), text)
            }
        }
    }

    fn channel_number(&self) -> Option<u32> {
        self.channel.as_ref().map(|channel| channel.number)
    }

    fn on_tick(&mut self, now: Instant) -> SessionEffects {
        let mut effects = match &mut self.channel {
            Some(channel) if channel.has_expired(now) => return self.end_for_reconnect(Reason::Expired),
            Some(channel) => channel.keep_alive_or_end(&self.settings, now),
            None => SessionEffects::none(),
        };
        effects.append(self.token_schedule.renew_if_due(now));
        effects
    }

    /// Ends the connection. Its client reconnects, at once if it polls.
    fn end_for_reconnect(&mut self, reason: Reason) -> SessionEffects {
        let is_polling = self.channel.as_ref().is_some_and(Channel::is_poll);
        let reconnect = is_polling.then(|| set_init(SHOULD_RECONNECT));
        SessionEffects::from(reconnect).then(self.end(reason, CLOSE_NORMAL))
    }

    /// The client must not reconnect. It gets the disconnect command on its current channel, or else on its next.
    fn on_aborted(&mut self) -> SessionEffects {
        // A poll may have been answered already, and a stream may be broken, although they have not detached yet.
        let record = (!self.is_aborted_by_hub).then_some(Effect::Own(OwnEffect::RecordAbort));
        SessionEffects::from(record).then(set_init(DISCONNECT)).then(self.end(Reason::Aborted, CLOSE_NORMAL))
    }

    fn end(&mut self, reason: Reason, end: End) -> SessionEffects {
        self.has_ended = true;
        self.start_state.drop_waiters();
        self.dispatcher.clear();
        Effect::End(Ending { reason, error: None, end, waits_for_client: false }).into()
    }

    fn on_reconnected(&mut self, outcome: &Result<(), HubError>) -> SessionEffects {
        match (outcome, &mut self.channel) {
            // The client reconnects, which runs OnReconnected again.
            (Err(_), Some(channel)) => channel.close(CLOSE_NORMAL),
            (Err(_), None) | (Ok(()), _) => SessionEffects::none(),
        }
    }
}

#[cfg(test)]
mod tests;
