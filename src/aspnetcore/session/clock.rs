//! Timers of a session: pings, timeouts, expiry of credentials and renewal of rejoin tokens.

use tokio::time::Instant;

use super::{ServerMessage, Session, SessionEffects, State, effect::control_unless_empty};
use crate::{connection::Reason, hub::HubError};

impl Session {
    pub(super) fn tick(&mut self, now: Instant) -> SessionEffects {
        if self.state == State::Handshake && now >= self.handshake_deadline {
            return self.on_handshake_timeout();
        }
        if self.pending_fault.as_ref().is_some_and(|(_, deadline)| now >= *deadline) {
            return self.send_pending_fault();
        }
        if self.expires.is_some_and(|expires| now >= expires) {
            return self.end_with_close(Reason::Expired, None, true);
        }
        if self.client_timeout_at().is_some_and(|timeout_at| now >= timeout_at) {
            let text = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval.";
            return self.end_with_error(HubError::hidden("OperationCanceledException", text), Reason::TimedOut);
        }
        let mut effects = SessionEffects::none();
        if self.state != State::Handshake && now >= self.next_ping_at {
            self.next_ping_at = now + self.settings.keep_alive;
            // Wire: a client that polls gets no pings.
            if !self.is_polling() && !self.is_away {
                effects.append(control_unless_empty(self.protocol.write(&ServerMessage::Ping)));
            }
        }
        effects.append(self.send_ack(now));
        effects.then(self.token_schedule.renew_if_due(now))
    }

    /// When the client times out. `None` while requests wait, because reading may pause then.
    fn client_timeout_at(&self) -> Option<Instant> {
        let is_read = self.state == State::Open && !self.dispatcher.is_blocked() && !self.is_away;
        let last_received = self.last_received.filter(|_| is_read)?;
        Some(last_received + self.settings.client_timeout)
    }

    /// When [`Session::tick`] has to run next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = match self.state {
            State::Handshake => self.handshake_deadline,
            State::Connecting { .. } | State::Open => self.next_ping_at,
            State::Faulted => self.pending_fault.as_ref().map(|(_, deadline)| *deadline)?,
            State::Leaving | State::Ended => return None,
        };
        [self.client_timeout_at(), self.expires, self.token_schedule.renewal_due(), self.ack_due()]
            .into_iter()
            .flatten()
            .chain([first])
            .min()
    }
}
