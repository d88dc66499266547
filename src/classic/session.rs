//! The session of a classic connection: its lifetime, the state of its client, and its calls.
//!
//! The session is a state machine: it turns events into effects, which the actor of the connection applies. A
//! connection starts with the first request that needs it. It has at most one channel at a time. It ends when the
//! client sends an abort request, or when it has had no channel for too long.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::{
    Settings,
    cursor::Cursor,
    message,
    query::{ConnectKind, ConnectionDataError, Transport},
};
use crate::{
    client_log::Cause,
    connection::{ClientFault, ConnectError, Effect, Effects, Ending, Reason, TokenSchedule},
    hub::HubError,
    outbox::{End, Resume},
    transport::{Inbound, Received},
};

mod attached;
mod calls;
mod channel;
mod dialect;
mod groups_token;
mod start;

pub(super) use attached::{ChannelAttached, ResumePosition};
use calls::{Calls, PendingInvocation, refuse};
pub(super) use calls::{IncomingCall, ProgressSink, ReplyTarget, TooManyInvocations};
use channel::Channel;
use start::StartState;
pub(super) use start::{StartError, StartReply};

/// Wire: after the loss of a stream, ASP.NET SignalR waits this long in addition to the disconnect timeout.
pub(super) const RECONNECT_GRACE: Duration = Duration::from_secs(5);

/// Wire: ASP.NET SignalR always closes with 1000, and clients ignore the code.
const CLOSE_NORMAL: End = End { code: 1000 };

/// In these cases ASP.NET SignalR only drops the connection. The codes tell the client more: 1003 rejects a binary
/// message, and 1008 a client that does not read (RFC 6455 section 7.4.1).
const CLOSE_UNSUPPORTED_DATA: End = End { code: 1003 };
const CLOSE_POLICY_VIOLATION: End = End { code: 1008 };

/// Wire: the first frame of a channel after `/connect`. The client waits for it.
const INITIALIZED: &[u8] = b"\"S\":1";

/// Wire: makes polling clients reconnect at once.
const SHOULD_RECONNECT: &[u8] = b"\"T\":1";

/// Wire: the disconnect command. Both members make a client stop: the oldest clients know `D`, the newest know `E`.
const DISCONNECT: &[u8] = b"\"D\":1,\"E\":\"The server has closed the connection.\"";

/// The session of a classic connection. See the documentation of the module.
pub(crate) struct Session {
    settings: Arc<Settings>,
    calls: Calls,
    token_schedule: TokenSchedule,
    epoch: Arc<str>,
    channel: Option<Channel>,
    has_had_channel: bool,
    /// Held while a channel is attached.
    attach_lock: Arc<Mutex<()>>,
    /// The time when the connection ends if it has no channel until then.
    disconnect_deadline: Instant,
    start_state: StartState,
    /// The client waits for its first frame. It is sent after OnConnected, on the channel that is current then.
    init_pending: bool,
    /// A hub has aborted an earlier connection with the same id, and the client may not know it yet.
    is_aborted_by_hub: bool,
    record_abort: RecordAbort,
    has_ended: bool,
}

/// Records that a hub has aborted the connection, in case that the disconnect command does not reach its client.
type RecordAbort = Box<dyn Fn(Instant) + Send>;

/// The arguments of a new session.
pub(super) struct SessionConfig {
    pub(super) settings: Arc<Settings>,
    pub(super) progress_sink: ProgressSink,
    /// The lifetime of a groups token.
    pub(super) groups_token_lifetime: Duration,
    /// A hub has recently aborted a connection with this id.
    pub(super) is_aborted_by_hub: bool,
    pub(super) record_abort: RecordAbort,
}

type SessionEffects = Effects<PendingInvocation>;

impl Session {
    pub(super) fn new(config: SessionConfig, now: Instant) -> Self {
        let SessionConfig { settings, progress_sink, groups_token_lifetime, is_aborted_by_hub, record_abort } = config;
        Self {
            calls: Calls::new(Arc::clone(&settings), progress_sink),
            token_schedule: TokenSchedule::new(groups_token_lifetime),
            epoch: crate::ids::secret().chars().filter(char::is_ascii_alphanumeric).take(8).collect::<String>().into(),
            channel: None,
            has_had_channel: false,
            attach_lock: Arc::default(),
            disconnect_deadline: now + settings.disconnect_timeout + RECONNECT_GRACE,
            start_state: StartState::default(),
            init_pending: false,
            is_aborted_by_hub,
            record_abort,
            has_ended: false,
            settings,
        }
    }

    /// The epoch in the cursors of this connection.
    pub(super) fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// The pause of a client between two polls.
    pub(super) fn long_poll_delay(&self) -> Duration {
        self.settings.long_poll_delay
    }

    /// True if the connection has had a channel in this process.
    pub(super) fn has_had_channel(&self) -> bool {
        self.has_had_channel
    }

    /// True if a hub has aborted the connection before, so that the client only gets the disconnect command.
    pub(super) fn is_aborted_by_hub(&self) -> bool {
        self.is_aborted_by_hub
    }

    /// True if the current channel is not a poll.
    pub(super) fn has_stream(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| !channel.is_poll())
    }

    /// The lock that requests for a channel take in the order of their arrival.
    pub(super) fn attach_lock(&self) -> &Arc<Mutex<()>> {
        &self.attach_lock
    }

    /// The position where a new channel starts if its client presents this cursor, and the reliability of that
    /// position.
    pub(super) fn resume_point(&self, cursor: Option<&str>) -> (Resume, ResumePosition) {
        match cursor.map(Cursor::parse) {
            _ if self.is_aborted_by_hub => (Resume::Tail, ResumePosition::Unspecified),
            None if self.has_had_channel => (Resume::Tail, ResumePosition::Unspecified),
            None => (Resume::Waiting, ResumePosition::Unspecified),
            Some(Some(Cursor { epoch, sequence })) if *epoch == *self.epoch => {
                (Resume::From(sequence), ResumePosition::Known)
            }
            Some(_) => (Resume::Tail, ResumePosition::Lost),
        }
    }

    /// A channel was attached.
    pub(super) fn on_attached(&mut self, attached: &ChannelAttached, now: Instant) -> SessionEffects {
        let awaits_connected = attached.connect_kind == ConnectKind::Connect && !attached.sends_start;
        self.has_had_channel = true;
        self.channel = Some(Channel::new(attached, &self.settings, now));
        if self.is_aborted_by_hub {
            return self.on_aborted(now);
        }
        self.init_pending |= awaits_connected;
        let mut effects =
            self.first_frame(attached).then(self.send_pending_init()).then(groups_token::on_attached(attached));
        if attached.is_recreated {
            effects.append(self.start_state.on_groups_restored(false));
            effects.append(self.calls.run_deferred());
        }
        effects.then(if awaits_connected {
            self.start_state.run_connected()
        } else {
            self.start_state.restore_groups()
        })
    }

    /// The effects of a new channel: its first frame, if one is due, and OnReconnected of the hubs.
    fn first_frame(&self, attached: &ChannelAttached) -> SessionEffects {
        let is_poll = attached.transport == Transport::LongPolling && attached.connect_kind == ConnectKind::Other;
        match attached.connect_kind {
            ConnectKind::Connect if self.init_pending => SessionEffects::none(),
            ConnectKind::Connect => Effect::SetInit(INITIALIZED.into()).into(),
            ConnectKind::Reconnect | ConnectKind::Other => {
                let mut effects = SessionEffects::none();
                if attached.resume_position != ResumePosition::Known {
                    effects.append(Effect::SetInit([].into()));
                }
                if !is_poll || attached.is_recreated {
                    effects
                        .append(Effect::RunReconnected { has_gap: attached.resume_position == ResumePosition::Lost });
                }
                effects
            }
        }
    }

    /// Sends the pending first frame, once OnConnected has run and there is a channel.
    fn send_pending_init(&mut self) -> SessionEffects {
        let sends = self.init_pending && self.start_state.is_done() && self.channel.is_some();
        self.init_pending &= !sends;
        sends.then(|| Effect::SetInit(INITIALIZED.into())).into()
    }

    /// True if OnConnected was not requested yet.
    pub(super) fn is_unstarted(&self) -> bool {
        self.start_state.is_unstarted()
    }

    /// The client has sent a start request, which runs OnConnected.
    pub(super) fn start(&mut self, waiter: StartReply) -> SessionEffects {
        self.start_state.run_connected_for(waiter)
    }

    fn on_restored(&mut self, outcome: Result<(), ConnectError>) -> SessionEffects {
        match outcome {
            Ok(()) => self.start_state.on_groups_restored(self.init_pending).then(self.calls.run_deferred()),
            Err(error) => self.reject(&error),
        }
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

    /// The client has sent an abort request.
    pub(super) fn on_abort_request(&mut self) -> SessionEffects {
        self.end(Reason::Stopped, CLOSE_NORMAL)
    }

    /// Wire: data from a channel that was replaced, or that is closing, is ignored.
    fn on_received(&mut self, received: &Received) -> SessionEffects {
        let Some(channel) = self.channel.as_mut().filter(|it| it.number == received.channel && !it.is_closing) else {
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
                (ClientFault::new(Cause::MessageTooLong, &reason), End::ABNORMAL)
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
            Some(hub) => {
                let incoming = IncomingCall { hub, call, reply_to: ReplyTarget::Channel(channel), request: None };
                self.call(incoming).unwrap_or_else(|TooManyInvocations| SessionEffects::none())
            }
            None => {
                let text = ConnectionDataError::Unknown(call.hub.clone()).to_string();
                refuse(call.fault(Cause::UnknownHub, ""), call.id.given(), text)
            }
        }
    }

    /// Invokes a hub method. Before the durable groups are joined, the call is deferred.
    pub(super) fn call(&mut self, incoming: IncomingCall) -> Result<SessionEffects, TooManyInvocations> {
        if self.start_state.are_groups_restored() {
            return self.calls.invoke(incoming);
        }
        self.calls.defer(incoming)?;
        Ok(self.start_state.restore_groups())
    }

    fn channel_number(&self) -> Option<u32> {
        self.channel.as_ref().map(|channel| channel.number)
    }

    fn on_tick(&mut self, now: Instant) -> SessionEffects {
        let mut effects = match &mut self.channel {
            Some(channel) if channel.has_expired(now) => return self.end_for_reconnect(Reason::Expired),
            Some(channel) => channel.keep_alive_or_end(&self.settings, now),
            None if now >= self.disconnect_deadline => return self.end(Reason::Lost, CLOSE_NORMAL),
            None => SessionEffects::none(),
        };
        effects.append(self.token_schedule.renew_if_due(now));
        effects
    }

    fn on_detached(&mut self, now: Instant) -> SessionEffects {
        if let Some(channel) = self.channel.take() {
            let grace = if channel.is_poll() { self.settings.long_poll_delay } else { RECONNECT_GRACE };
            self.disconnect_deadline = now + self.settings.disconnect_timeout + grace;
        }
        SessionEffects::none()
    }

    /// Ends the connection. Its client reconnects, at once if it polls.
    fn end_for_reconnect(&mut self, reason: Reason) -> SessionEffects {
        let is_polling = self.channel.as_ref().is_some_and(Channel::is_poll);
        let reconnect = is_polling.then(|| Effect::SetInit(SHOULD_RECONNECT.into()));
        SessionEffects::from(reconnect).then(self.end(reason, CLOSE_NORMAL))
    }

    /// The client must not reconnect. It gets the disconnect command on its current channel, or else on its next.
    fn on_aborted(&mut self, now: Instant) -> SessionEffects {
        // A poll may have been answered already, and a stream may be broken, although they have not detached yet.
        if !self.is_aborted_by_hub {
            (self.record_abort)(now);
        }
        SessionEffects::from(Effect::SetInit(DISCONNECT.into())).then(self.end(Reason::Aborted, CLOSE_NORMAL))
    }

    /// Ends the connection. If it has no channel, the actor has nothing to wait for and stops at once.
    fn end(&mut self, reason: Reason, end: End) -> SessionEffects {
        self.has_ended = true;
        self.start_state.drop_waiters();
        let ending = Ending { reason, error: None, end };
        let terminate = self.channel.is_none().then_some(Effect::Terminate);
        SessionEffects::from(Effect::End(ending)).then(terminate)
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
