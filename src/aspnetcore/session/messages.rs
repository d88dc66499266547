//! The messages of a client: this module takes them from the receive buffer and dispatches them by type.
//!
//! Order: messages are handled in the order of their arrival. A call that waits for a slot, and an item that waits for
//! space in its stream, block those behind them.

use bytes::Bytes;
use tokio::time::Instant;

use super::{Session, SessionEffects, State};
use crate::{aspnetcore::protocol::ClientMessage, client_log::Cause, connection::Reason, hub::HubError};

impl Session {
    /// Handles all complete messages in the receive buffer, up to a call that has to be queued.
    pub(super) fn process_buffered(&mut self, now: Instant) -> SessionEffects {
        let mut effects = SessionEffects::none();
        while self.state == State::Open && !self.is_blocked() {
            match self.receive_buffer.next_message(self.protocol.framing()) {
                Ok(Some(message)) => effects.append(self.handle_message(&message, now)),
                Ok(None) => break,
                Err(error) => effects.append(self.on_framing_error(error, now)),
            }
        }
        effects.then(self.apply_waiting_acks())
    }

    /// True if messages are handled as they arrive. The buffer then holds only the beginning of one.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.state, State::Handshake | State::Open) && !self.is_blocked()
    }

    /// Whether nothing is read behind a message, because a call waits for a slot or an item for space in its stream.
    pub(super) fn is_blocked(&self) -> bool {
        self.queued_call.is_some() || self.uploads.is_blocked()
    }

    fn handle_message(&mut self, message: &Bytes, now: Instant) -> SessionEffects {
        self.last_received = self.last_received.map(|_| now);
        let message =
            match self.protocol.parse(message).and_then(|message| Ok((self.count_received(&message, now)?, message))) {
                Ok((true, message)) => Ok(message),
                Ok((false, _)) => return SessionEffects::none(),
                Err(error) => Err(error),
            };
        match message {
            Ok(ClientMessage::Invocation(invocation)) => self.on_invocation(invocation),
            Ok(ClientMessage::StreamItem { id, item }) => self.on_stream_message(id, item),
            Ok(ClientMessage::Completion { id, result }) => self.on_completion(id, result),
            Ok(ClientMessage::CancelInvocation { id }) => self.on_cancel(&id),
            Ok(ClientMessage::Ping) => {
                self.last_received = Some(now);
                SessionEffects::none()
            }
            Ok(ClientMessage::Close { error }) => self.end_with_close(Reason::Stopped, error.map(HubError::new), false),
            Ok(ClientMessage::Ack { sequence_id }) => self.on_ack(sequence_id),
            Ok(ClientMessage::Sequence { .. } | ClientMessage::Unknown) => SessionEffects::none(),
            Err(error) => self.protocol_error(Cause::InvalidMessage, error, now),
        }
    }
}
