//! Stateful reconnect: the client and the server count and acknowledge messages, so that a new WebSocket continues where
//! a lost one has ended.
//!
//! Wire: invocations, stream items, completions and cancellations are counted, each direction from 1 on and over all
//! WebSockets. After a reconnect each side first sends the number of the first message that it sends again.

use std::time::Duration;

use tokio::time::Instant;

use super::{OwnEffect, Session, SessionEffects, State};
use crate::{
    aspnetcore::protocol::{ClientMessage, ServerMessage},
    connection::Effect,
    hub::HubError,
    transport::Transport,
};

/// The number of bytes that are buffered while messages cannot be handled. Wire: ASP.NET Core SignalR buffers the same
/// amount before it stops reading.
const MAX_BUFFERED: usize = 64 * 1024;

/// The longest message that may be an acknowledgement.
const MAX_ACK: usize = 64;

/// The time within which received messages are acknowledged.
const ACK_INTERVAL: Duration = Duration::from_secs(1);

/// Wire: the first version of the protocols with stateful reconnect.
pub(super) const FIRST_VERSION: i32 = 2;

/// The messages that were received from a client that counts them.
#[derive(Clone, Debug)]
pub(super) struct ReceivedMessages {
    /// The number of the next message.
    next: i64,
    /// The highest number that was received.
    latest: i64,
    /// The number that the client knows to be received.
    acknowledged: i64,
    ack_due: Option<Instant>,
    /// The client has a new WebSocket, and has not sent its sequence message.
    awaits_sequence: bool,
}

impl ReceivedMessages {
    fn new() -> Self {
        Self { next: 1, latest: 0, acknowledged: 0, ack_due: None, awaits_sequence: false }
    }

    /// Counts a message. Returns false if it was received before; then its acknowledgement has not reached the client.
    fn count(&mut self, now: Instant) -> bool {
        let number = self.next;
        self.next += 1;
        self.ack_due = self.ack_due.or(Some(now + ACK_INTERVAL));
        self.acknowledged = self.acknowledged.min(number - 1);
        let is_new = number > self.latest;
        self.latest = self.latest.max(number);
        is_new
    }

    /// The client announces the number of its next message. Wire: without a reconnect a number behind changes nothing.
    ///
    /// A client that loses two WebSockets one after the other may announce more than it has sent over the second one: an
    /// acknowledgement over the second WebSocket covers what was received over the first.
    fn on_sequence(&mut self, id: i64) -> Result<(), HubError> {
        if id > self.latest + 1 {
            let text = "Sequence ID greater than amount of messages we've received.";
            return Err(HubError::hidden("InvalidOperationException", text));
        }
        if std::mem::take(&mut self.awaits_sequence) {
            self.next = id;
        }
        Ok(())
    }

    /// The number to acknowledge now, if there is one.
    fn take_ack(&mut self, now: Instant) -> Option<i64> {
        self.ack_due.take_if(|due| *due <= now)?;
        let is_new = std::mem::replace(&mut self.acknowledged, self.latest) < self.latest;
        is_new.then_some(self.latest)
    }
}

/// Whether stateful reconnect is in use.
#[derive(Clone, Debug)]
pub(super) enum StatefulReconnect {
    /// It was not negotiated, or the client has chosen an older version of the protocol.
    Off,
    /// It was negotiated, and the handshake has to confirm it.
    Negotiated,
    On(ReceivedMessages),
}

impl StatefulReconnect {
    pub(super) fn new(is_negotiated: bool) -> Self {
        if is_negotiated { Self::Negotiated } else { Self::Off }
    }
}

impl Session {
    /// True if a WebSocket of this connection may follow another one.
    pub(super) fn can_resume(&self) -> bool {
        self.transport == Some(Transport::WebSockets) && !matches!(self.stateful_reconnect, StatefulReconnect::Off)
    }

    /// True if messages that the client has not acknowledged are sent again over a new WebSocket.
    pub(super) fn resends_messages(&self) -> bool {
        matches!(self.stateful_reconnect, StatefulReconnect::On(_))
    }

    /// The handshake has chosen this version. Wire: older versions have no stateful reconnect. The handshake response is
    /// not counted.
    pub(super) fn confirm_stateful_reconnect(&mut self, version: i32) -> SessionEffects {
        if !matches!(self.stateful_reconnect, StatefulReconnect::Negotiated) || version < FIRST_VERSION {
            self.stateful_reconnect = StatefulReconnect::Off;
            return SessionEffects::none();
        }
        self.stateful_reconnect = StatefulReconnect::On(ReceivedMessages::new());
        Effect::Own(OwnEffect::KeepUntilAcknowledged(self.settings.reconnect_buffer)).into()
    }

    /// The client has a new WebSocket. It sends all messages again that were not handled, and an incomplete one from its
    /// beginning.
    pub(super) fn resume(&mut self, now: Instant) -> SessionEffects {
        self.is_away = false;
        self.last_received = self.last_received.map(|_| now);
        self.next_ping_at = now + self.settings.keep_alive;
        self.receive_buffer.clear();
        let StatefulReconnect::On(received) = &mut self.stateful_reconnect else { return SessionEffects::none() };
        received.awaits_sequence = true;
        SessionEffects::from([
            Effect::CountReconnect { is_recreated: false },
            Effect::Own(OwnEffect::SendSequence(self.protocol)),
        ])
    }

    /// Handles what stateful reconnect adds to a message. Returns false if the message needs no further handling.
    pub(super) fn count_received(&mut self, message: &ClientMessage, now: Instant) -> Result<bool, HubError> {
        let StatefulReconnect::On(received) = &mut self.stateful_reconnect else { return Ok(true) };
        match message {
            ClientMessage::Invocation(_)
            | ClientMessage::StreamItem { .. }
            | ClientMessage::Completion { .. }
            | ClientMessage::CancelInvocation { .. } => Ok(received.count(now)),
            ClientMessage::Sequence { sequence_id } => received.on_sequence(*sequence_id).map(|()| true),
            ClientMessage::Ping | ClientMessage::Close { .. } | ClientMessage::Ack { .. } | ClientMessage::Unknown => {
                Ok(true)
            }
        }
    }

    /// The client has received the messages up to this number. Wire: any number is accepted.
    pub(super) fn on_ack(&self, sequence_id: i64) -> SessionEffects {
        let number = u64::try_from(sequence_id).ok().filter(|_| self.resends_messages());
        number.map(|number| Effect::Own(OwnEffect::Acknowledge(number))).into()
    }

    /// Applies the acknowledgements among the messages that cannot be handled yet. Otherwise a hub method that waits for
    /// them would never end if it keeps other messages of its caller waiting.
    pub(super) fn apply_waiting_acks(&mut self) -> SessionEffects {
        let mut effects = SessionEffects::none();
        let is_waiting = matches!(self.state, State::Open | State::Connecting { .. }) && self.resends_messages();
        while is_waiting && let Some(message) = self.receive_buffer.peek_message(self.protocol.framing()) {
            let is_short = message.len() <= MAX_ACK;
            if is_short && let Ok(ClientMessage::Ack { sequence_id }) = self.protocol.parse(&message) {
                effects.append(self.on_ack(sequence_id));
            }
        }
        effects
    }

    /// The number of bytes that are buffered before nothing more is read. A client that waits for acknowledgements itself
    /// has sent as much as it keeps, usually as much as the server does. Its own acknowledgements follow.
    pub(super) fn max_buffered(&self) -> usize {
        MAX_BUFFERED + if self.resends_messages() { self.settings.reconnect_buffer } else { 0 }
    }

    /// The number of bytes below which reading goes on after a pause. Wire: without stateful reconnect, half of the
    /// maximum, as in ASP.NET Core SignalR.
    pub(super) fn resume_below(&self) -> usize {
        self.max_buffered() - MAX_BUFFERED / 2
    }

    /// Acknowledges received messages, if that is due.
    pub(super) fn send_ack(&mut self, now: Instant) -> SessionEffects {
        let StatefulReconnect::On(received) = &mut self.stateful_reconnect else { return SessionEffects::none() };
        if self.is_away {
            return SessionEffects::none();
        }
        let ack = received.take_ack(now).map(|number| self.protocol.write(&ServerMessage::Ack { sequence_id: number }));
        ack.map(|bytes| Effect::Own(OwnEffect::SendControl(bytes))).into()
    }

    pub(super) fn ack_due(&self) -> Option<Instant> {
        match &self.stateful_reconnect {
            StatefulReconnect::On(received) if !self.is_away => received.ack_due,
            StatefulReconnect::On(_) | StatefulReconnect::Negotiated | StatefulReconnect::Off => None,
        }
    }
}
