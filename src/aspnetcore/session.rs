//! The session of an ASP.NET Core SignalR connection: a pure state machine without I/O.
//!
//! ```text
//! handshake → connecting (OnConnected runs) → open → ended
//!                                               ├→ leaving (channel closed; queued calls still run)
//!                                               └→ faulted (protocol error; earlier calls still complete)
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Settings, handshake,
    protocol::{self, HubProtocol, ServerMessage, json::JsonProtocol},
};
use crate::{
    client_log::Cause,
    connection::{
        AttachChannel, ChannelDecision, ChannelSetup, ChannelState, ClientFault, ConnectError, Dialect, DispatchLimits,
        Dispatcher, Effect, Effects, Event, PendingCall, Reason, TokenPlace, TokenSchedule,
    },
    connections::{ConnectionHandle, Reconnect},
    hub::{Hub, HubBehavior, HubError},
    outbox::End,
    pipeline::REJOINED_METHOD,
    transport::{Inbound, Transport},
};

mod calls;
mod channel;
mod clock;
#[cfg(any(test, feature = "testkit"))]
pub(super) mod decoder_checks;
mod effect;
mod ending;
mod error_messages;
mod handshaking;
mod message_buffer;
mod messages;
mod reconnect;

pub(crate) use channel::{ChannelRefusal, ChannelRequest, Delete};
pub(crate) use effect::OwnEffect;
use error_messages::{ErrorMessages, PendingInvocation};
use message_buffer::{FramingError, MessageBuffer};
use messages::LastMessage;
use reconnect::StatefulReconnect;

/// The time limit for calls made before a protocol error. Then the Close message is sent without waiting for them.
const FAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Wire: always 1000 (normal closure). The preceding Close message carries the reason.
const NORMAL_CLOSURE: End = End::Close(1000);

/// Wire: 1008 (policy violation), for a client that does not read.
const POLICY_VIOLATION: End = End::Close(1008);

/// Wire: the client method that receives a rejoin token. The colon prevents a clash with application methods, because
/// common languages do not allow it in identifiers.
const REJOIN_TOKEN_METHOD: &str = "hubcast:rejoinToken";

/// Wire: the error text of a Close message. The cause follows only if it may be shown to clients or detailed errors are
/// on.
const CLOSED_WITH_ERROR: &str = "Connection closed with an error.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshake,
    Connecting { is_attached: bool },
    Open,
    Leaving,
    Faulted,
    Ended,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Arc<Settings>,
    hub: Arc<Hub>,
    wants_tokens: bool,
    token_schedule: TokenSchedule,
    state: State,
    /// The transport of the newest channel.
    transport: Option<Transport>,
    stateful_reconnect: StatefulReconnect,
    /// The WebSocket of a client that may resume is lost.
    is_away: bool,
    receive_buffer: MessageBuffer,
    /// The protocol that the client has requested. Until the handshake it is JSON, because errors are sent in it.
    protocol: &'static dyn HubProtocol,
    has_handshake: bool,
    error_messages: ErrorMessages,
    dispatcher: Dispatcher<PendingInvocation>,
    /// The message that ends the connection, while requests before it wait. Nothing is read behind it.
    last_message: Option<Box<LastMessage>>,
    handshake_deadline: Instant,
    next_ping_at: Instant,
    /// When the client last sent a message. `None` until its first ping: a client that never pings never times out.
    last_received: Option<Instant>,
    expires: Option<Instant>,
    /// The client's protocol error, and until when the session waits for earlier calls.
    pending_fault: Option<(HubError, Instant)>,
}

type SessionEffects = Effects<Session>;

impl Session {
    /// A session whose transport was just opened and whose handshake is pending.
    pub(crate) fn new(config: SessionConfig, now: Instant) -> Self {
        let SessionConfig { settings, hub, fixed_protocol, wants_tokens, token_lifetime, early_data, can_reconnect } =
            config;
        let mut receive_buffer = MessageBuffer::new(settings.max_message);
        receive_buffer.append(&early_data);
        Self {
            hub,
            wants_tokens,
            token_schedule: TokenSchedule::new(token_lifetime),
            state: State::Handshake,
            transport: None,
            stateful_reconnect: StatefulReconnect::new(can_reconnect && fixed_protocol.is_none()),
            is_away: false,
            receive_buffer,
            protocol: fixed_protocol.unwrap_or(&JsonProtocol),
            has_handshake: fixed_protocol.is_none(),
            error_messages: ErrorMessages { is_detailed: settings.detailed_errors },
            dispatcher: Dispatcher::new(DispatchLimits {
                parallel_calls: settings.parallel_calls.get(),
                stream_capacity: settings.stream_capacity.get(),
            }),
            last_message: None,
            handshake_deadline: now + settings.handshake_timeout,
            next_ping_at: now + settings.keep_alive,
            last_received: None,
            expires: None,
            pending_fault: None,
            settings,
        }
    }

    fn receive(&mut self, data: &Inbound, now: Instant) -> SessionEffects {
        match data {
            Inbound::Text(bytes) | Inbound::Binary(bytes) => self.receive_buffer.append(bytes),
            Inbound::TooLarge => return self.on_framing_error(FramingError::TooLarge, now),
        }
        match self.state {
            State::Handshake => self.handle_handshake(now),
            State::Open => self.process_buffered(now),
            State::Connecting { .. } => self.apply_waiting_acks(),
            State::Leaving | State::Faulted | State::Ended => SessionEffects::none(),
        }
    }

    fn on_framing_error(&mut self, error: FramingError, now: Instant) -> SessionEffects {
        let (cause, error) = (error.cause(), self.receive_buffer.error(error));
        match self.state {
            State::Handshake => self.reject_handshake(handshake::CANCELLED, &error.log_text()),
            State::Connecting { is_attached: true } | State::Open => self.protocol_error(cause, error, now),
            // The client has gone, or the session waits already for the calls before an earlier protocol error.
            State::Connecting { is_attached: false } | State::Leaving | State::Faulted | State::Ended => {
                SessionEffects::none()
            }
        }
    }

    /// Ends the connection with `error`, after calls that are already running have been answered.
    fn protocol_error(&mut self, cause: Cause, error: HubError, now: Instant) -> SessionEffects {
        let report = SessionEffects::from(Effect::Report(ClientFault::new(cause, &error.log_text())));
        if !self.dispatcher.has_plain_calls() {
            return report.then(self.end_with_error(error, Reason::Faulted));
        }
        self.state = State::Faulted;
        self.receive_buffer.clear();
        self.pending_fault = Some((error, now + FAULT_DRAIN_TIMEOUT));
        report
    }

    fn send_pending_fault(&mut self) -> SessionEffects {
        let fault = self.pending_fault.take();
        fault.map_or_else(SessionEffects::none, |(error, _)| self.end_with_error(error, Reason::Faulted))
    }

    fn on_restored(&mut self, outcome: Result<(), ConnectError>, now: Instant) -> SessionEffects {
        match outcome {
            Ok(()) if matches!(self.state, State::Connecting { .. }) => Effect::RunConnected.into(),
            Ok(()) => SessionEffects::none(),
            Err(refusal) => self.on_connected(Err(refusal), now),
        }
    }

    fn on_connected(&mut self, outcome: Result<(), ConnectError>, now: Instant) -> SessionEffects {
        let is_attached = self.state == State::Connecting { is_attached: true };
        match outcome {
            Ok(()) if is_attached => {
                self.state = State::Open;
                self.process_buffered(now)
            }
            Ok(()) => self.finish_waiting(now),
            Err(ConnectError { error, is_retryable }) => {
                let text = self.error_messages.for_client(CLOSED_WITH_ERROR, &error);
                self.end(Reason::Refused, None, Some(self.close(Some(&text), is_retryable)))
            }
        }
    }
}

impl Dialect for Session {
    type ChannelRequest = ChannelRequest;
    type ChannelRefusal = ChannelRefusal;
    type Request = Delete;
    type OwnEffect = OwnEffect;
    type Shared = ();

    const BEHAVIOR: HubBehavior =
        HubBehavior { binding: crate::hub::bind::Binding::Strict, refuses_empty_group: false };

    fn on(&mut self, event: Event<Self>, now: Instant) -> SessionEffects {
        if self.state == State::Ended {
            return SessionEffects::none();
        }
        match event {
            Event::Received(received) => self.receive(&received.data, now),
            Event::Tick => self.tick(now),
            Event::Connected(outcome) => self.on_connected(outcome, now),
            Event::Returned(number, result) => self.on_returned(number, result, now),
            // The client returns, or the connection is abandoned.
            Event::Detached if self.is_polling() || self.can_resume() => self.on_away(),
            Event::Closed if self.is_polling() => SessionEffects::none(),
            Event::Detached | Event::Closed | Event::Abandoned => self.on_detached(now),
            Event::Attached(attached) => self.on_attached(&attached, now),
            Event::Posted(bytes) => self.on_posted(bytes, now),
            Event::PostBrokenOff => self.on_post_broken_off(),
            Event::Request(delete) => self.on_delete(delete),
            Event::StreamItem(number, item) => self.on_stream_item(number, item),
            Event::StreamEnded(number) => self.on_stream_ended(number),
            Event::SlotReleased(number) => self.on_slot_released(number, now),
            Event::ForeignResult(error) => self.protocol_error(Cause::InvalidMessage, error, now),
            Event::UploadReady => self.on_upload_ready(now),
            Event::Overflowed | Event::Stalled => self.end(Reason::TooSlow, None, None),
            Event::GroupsChanged { are_known } => self.token_schedule.on_changed(are_known, now),
            Event::Rejoined(report) => {
                Effect::Send(protocol::write_invocation(self.protocol, REJOINED_METHOD, &report)).into()
            }
            Event::Aborted(reconnect) => self.end_with_close(Reason::Aborted, None, reconnect == Reconnect::Allow),
            Event::Draining => self.end_with_close(Reason::Drained, None, true),
            Event::Restored(restored) => self.on_restored(restored, now),
            Event::Reconnected(_) => SessionEffects::none(),
        }
    }

    fn apply(effect: OwnEffect, connection: &ConnectionHandle, (): &()) {
        effect.apply(connection);
    }

    fn decide_channel(&self, attach: &AttachChannel<Self>, channels: &ChannelState, _: u64) -> ChannelDecision<Self> {
        self.decide(attach, channels)
    }

    fn channel_setup(&self, attach: &AttachChannel<Self>, _: &ChannelState) -> ChannelSetup {
        self.setup(attach.transport)
    }

    fn time_without_channel(&self, last: Option<Transport>) -> Option<Duration> {
        let outlives = |transport: Transport| transport.is_poll() || self.can_resume();
        last.filter(|transport| outlives(*transport)).map(|_| self.settings.disconnect_timeout)
    }

    fn transport_name(transport: Transport) -> &'static str {
        transport.name()
    }

    fn deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn is_saturated(&self) -> bool {
        !self.is_reading() && self.buffered() > self.max_buffered()
    }

    fn can_read_on(&self) -> bool {
        self.is_reading() && !self.dispatcher.is_blocked() || self.buffered() < self.resume_below()
    }

    fn wants_tokens(&self) -> bool {
        self.wants_tokens
    }

    const TOKEN_PLACE: TokenPlace = TokenPlace::Message;

    fn encode_token(token: &str) -> Box<[u8]> {
        protocol::write_invocation(&JsonProtocol, REJOIN_TOKEN_METHOD, &token)
    }

    fn queues_result(&self, number: u64) -> bool {
        self.dispatcher.running(number).is_some_and(|call| call.id().is_some())
    }

    fn send_timeout(&self) -> Duration {
        self.settings.send_timeout
    }

    fn calls(&self) -> usize {
        self.dispatcher.calls()
    }

    fn phase(&self) -> &'static str {
        match self.state {
            State::Handshake => "handshake",
            State::Connecting { .. } => "connecting",
            State::Open => "open",
            State::Leaving => "leaving",
            State::Faulted => "faulted",
            State::Ended => "ended",
        }
    }
}

/// The arguments of [`Session::new`].
#[derive(Debug)]
pub(crate) struct SessionConfig {
    pub(crate) settings: Arc<Settings>,
    pub(crate) hub: Arc<Hub>,
    /// The protocol of an endpoint without a handshake.
    pub(crate) fixed_protocol: Option<&'static dyn HubProtocol>,
    /// The client has asked for rejoin tokens.
    pub(crate) wants_tokens: bool,
    /// The lifetime of a rejoin token.
    pub(crate) token_lifetime: Duration,
    /// What the client has sent before it opened a transport.
    pub(crate) early_data: Bytes,
    /// Stateful reconnect was negotiated.
    pub(crate) can_reconnect: bool,
}

#[cfg(test)]
mod tests;
