//! The messages of a client: this module takes them from the receive buffer and handles them by type.
//!
//! Order: the dispatcher lets requests wait. A message that ends the connection waits for them, and nothing is read
//! behind it. Messages that concern the connection only do not wait.

use bytes::Bytes;
use tokio::time::Instant;

use super::{Session, SessionEffects, State};
use crate::{
    aspnetcore::protocol::ClientMessage,
    client_log::Cause,
    connection::{Reason, Request},
    hub::HubError,
};

/// The message that ends the connection.
#[derive(Debug)]
pub(super) enum LastMessage {
    /// The client closes the connection, optionally with an error.
    Close(Option<String>),
    /// The client has violated the protocol.
    Invalid(Cause, HubError),
}

impl Session {
    /// Handles all complete messages in the receive buffer, unless too many requests wait.
    pub(super) fn process_buffered(&mut self, now: Instant) -> SessionEffects {
        let mut effects = SessionEffects::none();
        while self.state == State::Open && self.last_message.is_none() && !self.dispatcher.is_full() {
            match self.receive_buffer.next_message(self.protocol.framing()) {
                Ok(Some(message)) => effects.append(self.handle_message(&message, now)),
                Ok(None) => break,
                Err(error) => {
                    let last = LastMessage::Invalid(error.cause(), self.receive_buffer.error(error));
                    self.last_message = Some(Box::new(last));
                }
            }
        }
        effects.then(self.apply_waiting_acks()).then(self.handle_last_message(now))
    }

    /// True if messages are decoded as they arrive. The buffer then holds only the beginning of one.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.state, State::Handshake | State::Open)
            && self.last_message.is_none()
            && !self.dispatcher.is_full()
    }

    /// The number of bytes that wait, decoded or not.
    pub(super) fn buffered(&self) -> usize {
        self.dispatcher.waiting_bytes() + self.receive_buffer.len()
    }

    fn handle_last_message(&mut self, now: Instant) -> SessionEffects {
        if self.state != State::Open || self.dispatcher.is_blocked() {
            return SessionEffects::none();
        }
        match self.last_message.take().map(|last| *last) {
            Some(LastMessage::Close(error)) => self.end_with_close(Reason::Stopped, error.map(HubError::new), false),
            Some(LastMessage::Invalid(cause, error)) => self.protocol_error(cause, error, now),
            None => SessionEffects::none(),
        }
    }

    fn handle_message(&mut self, message: &Bytes, now: Instant) -> SessionEffects {
        self.last_received = self.last_received.map(|_| now);
        let parsed = self.protocol.parse(message);
        let message = match parsed.and_then(|message| Ok((self.count_received(&message, now)?, message))) {
            Ok((true, message)) => message,
            Ok((false, _)) => return SessionEffects::none(),
            Err(error) => {
                self.last_message = Some(Box::new(LastMessage::Invalid(Cause::InvalidMessage, error)));
                return SessionEffects::none();
            }
        };
        match message {
            ClientMessage::Invocation(invocation) => self.dispatch(Request::Call(self.incoming_call(invocation))),
            ClientMessage::StreamItem { id, item } => self.dispatch(Request::StreamItem(id, item)),
            ClientMessage::Completion { id, result } => self.dispatch(Request::Completion(id, result)),
            ClientMessage::CancelInvocation { id } => self.dispatch(Request::Cancel(id)),
            ClientMessage::Ping => {
                self.last_received = Some(now);
                SessionEffects::none()
            }
            ClientMessage::Close { error } => {
                self.last_message = Some(Box::new(LastMessage::Close(error)));
                SessionEffects::none()
            }
            ClientMessage::Ack { sequence_id } => self.on_ack(sequence_id),
            ClientMessage::Sequence { .. } | ClientMessage::Unknown => SessionEffects::none(),
        }
    }
}
