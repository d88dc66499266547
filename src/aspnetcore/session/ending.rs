//! The end of a connection: its channel is lost or closed, or a Close message is sent.

use tokio::time::Instant;

use super::{
    CLOSED_WITH_ERROR, NORMAL_CLOSURE, OwnEffect, POLICY_VIOLATION, ServerMessage, Session, SessionEffects, State,
    effect::control_unless_empty,
};
use crate::{
    connection::{Effect, Ending, Reason},
    hub::HubError,
};

impl Session {
    pub(super) fn on_detached(&mut self, now: Instant) -> SessionEffects {
        match self.state {
            State::Handshake => self.end_lost(),
            State::Connecting { .. } => {
                self.state = State::Connecting { is_attached: false };
                Effect::Own(OwnEffect::MarkClientGone).into()
            }
            State::Open => {
                // Streams are not read any more, so that no request waits for them.
                self.dispatcher.end_streams();
                let effects = self.finish_waiting(now);
                effects.then((self.state == State::Leaving).then_some(Effect::Own(OwnEffect::MarkClientGone)))
            }
            State::Faulted => self.send_pending_fault(),
            State::Leaving | State::Ended => SessionEffects::none(),
        }
    }

    pub(super) fn end_lost(&mut self) -> SessionEffects {
        let is_cut_short = self.state != State::Handshake && !self.receive_buffer.is_empty();
        let error = is_cut_short
            .then(|| HubError::hidden("InvalidDataException", "Connection terminated while reading a message."));
        self.end(Reason::Lost, error, None)
    }

    pub(super) fn end_with_error(&mut self, error: HubError, reason: Reason) -> SessionEffects {
        let text = self.error_messages.for_client(CLOSED_WITH_ERROR, &error);
        let close = self.close(Some(&text), true);
        self.end(reason, Some(error), Some(close))
    }

    pub(super) fn end_with_close(
        &mut self,
        reason: Reason,
        error: Option<HubError>,
        allows_reconnect: bool,
    ) -> SessionEffects {
        let close = self.close(None, allows_reconnect);
        self.end(reason, error, Some(close))
    }

    pub(super) fn close(&self, error: Option<&str>, allows_reconnect: bool) -> Box<[u8]> {
        self.protocol.write(&ServerMessage::Close { error, allows_reconnect })
    }

    pub(super) fn end(
        &mut self,
        reason: Reason,
        error: Option<HubError>,
        close_message: Option<Box<[u8]>>,
    ) -> SessionEffects {
        self.state = State::Ended;
        self.receive_buffer.clear();
        self.dispatcher.clear();
        let end = if reason == Reason::TooSlow { POLICY_VIOLATION } else { NORMAL_CLOSURE };
        let waits_for_client = !matches!(reason, Reason::Lost | Reason::Deleted);
        let close = close_message.map_or_else(SessionEffects::none, control_unless_empty);
        close.then(Effect::End(Ending { reason, error, end, waits_for_client }))
    }
}
