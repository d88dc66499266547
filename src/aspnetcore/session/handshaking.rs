//! The handshake of a session: it chooses the protocol and starts OnConnected, or ends the connection.

use std::sync::Arc;

use tokio::time::Instant;

use super::{NORMAL_CLOSURE, REJOIN_TOKEN_METHOD, Session, SessionEffects, State, effect::control};
use crate::{
    aspnetcore::{
        framer, handshake,
        protocol::{self, HubProtocol, json::JsonProtocol},
    },
    client_log::Cause,
    connection::{ClientFault, Effect, Encoding, Ending, Reason},
};

impl Session {
    pub(super) fn handle_handshake(&mut self, now: Instant) -> SessionEffects {
        // Wire: a handshake is JSON in any protocol.
        let record = match self.receive_buffer.next_message(JsonProtocol.framing()) {
            Ok(None) => return SessionEffects::none(),
            Ok(Some(record)) => record,
            Err(error) => return self.on_framing_error(error, now),
        };
        let choose_encoding =
            |(protocol, version)| self.encoding(protocol).map(|encoding| (protocol, version, encoding));
        match handshake::validate(&record).and_then(choose_encoding) {
            Ok((protocol, version, encoding)) => {
                self.protocol = protocol;
                self.state = State::Connecting { is_attached: true };
                self.next_ping_at = now + self.settings.keep_alive;
                SessionEffects::from([Effect::SetEncoding(encoding), control(handshake::ACCEPTED)])
                    .then(self.confirm_stateful_reconnect(version))
                    .then(Effect::RestoreGroups)
            }
            Err(handshake::HandshakeError::Unsupported(text)) => self.reject_handshake(&text, &text),
            Err(handshake::HandshakeError::Malformed(error)) => {
                let text =
                    self.error_messages.for_client("An unexpected error occurred during connection handshake.", &error);
                self.reject_handshake(&text, &error.to_string())
            }
        }
    }

    /// Connects a client whose endpoint has one protocol and no handshake.
    pub(super) fn start_without_handshake(&mut self, now: Instant) -> SessionEffects {
        match self.encoding(self.protocol) {
            Ok(encoding) => {
                self.state = State::Connecting { is_attached: true };
                self.next_ping_at = now + self.settings.keep_alive;
                [Effect::SetEncoding(encoding), Effect::RestoreGroups].into()
            }
            Err(_) => self.end(Reason::Refused, None, None),
        }
    }

    /// The encoding for the transport of the connection.
    pub(super) fn encoding(&self, protocol: &'static dyn HubProtocol) -> Result<Encoding, handshake::HandshakeError> {
        let transport = self.transport.expect("a handshake is read from the first channel on");
        let framer = framer(transport, protocol.transfer_format());
        let framer = framer.ok_or_else(|| handshake::wrong_transport(protocol))?;
        let token = move |token: &str| protocol::write_invocation(protocol, REJOIN_TOKEN_METHOD, &token);
        Ok(Encoding { form: protocol.form(), framer, token: Arc::new(token) })
    }

    pub(super) fn on_handshake_timeout(&mut self) -> SessionEffects {
        let reason = match self.receive_buffer.is_empty() {
            true => "nothing was received in time",
            false => "no record separator (0x1E) was received in time",
        };
        self.reject_handshake(handshake::CANCELLED, reason)
    }

    /// `text` is for the client, `reason` for the log.
    pub(super) fn reject_handshake(&mut self, text: &str, reason: &str) -> SessionEffects {
        self.state = State::Ended;
        let fault = ClientFault::new(Cause::HandshakeRefused, reason);
        let ending = Ending { reason: Reason::Refused, error: None, end: NORMAL_CLOSURE, waits_for_client: true };
        let effects = [Effect::Report(fault), control(handshake::error_response(text)), Effect::End(ending)];
        effects.into()
    }
}
