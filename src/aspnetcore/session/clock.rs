//! What time does to a session: pings, time-outs, and proofs that run out.

use tokio::time::Instant;

use super::{Out, Session, State, handshake, json};
use crate::{
    connection::{Effect, Reason},
    hub::HubError,
};

impl Session {
    pub(super) fn tick(&mut self, now: Instant) -> Out {
        if self.state == State::Handshake && now >= self.handshake_due {
            return self.refuse_handshake(handshake::CANCELLED);
        }
        if self.fault.as_ref().is_some_and(|(_, due)| now >= *due) {
            return self.tell_fault();
        }
        if self.expires.is_some_and(|expires| now >= expires) {
            return self.close(Reason::Expired, None, true);
        }
        if self.silence_ends().is_some_and(|end| now >= end) {
            let text = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval.";
            return self.fault(HubError::hidden("OperationCanceledException", text), Reason::TimedOut);
        }
        let mut out = Vec::new();
        if self.state != State::Handshake && now >= self.ping_due {
            self.ping_due = now + self.settings.keep_alive;
            out.push(Effect::Send(json::ping()));
        }
        if self.token_due.is_some_and(|due| now >= due) {
            self.token_due = None;
            out.push(Effect::Retoken);
        }
        out
    }

    /// When the client will have been silent for too long. While a call blocks the line nothing of it can
    /// be heard, and the clock stands.
    fn silence_ends(&self) -> Option<Instant> {
        let heard = self.heard.filter(|_| self.state == State::Open && self.next.is_none())?;
        Some(heard + self.settings.client_timeout)
    }

    /// When [`Session::tick`] has something to do next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = match self.state {
            State::Handshake => self.handshake_due,
            State::Connecting { .. } | State::Open => self.ping_due,
            State::Faulted => self.fault.as_ref().map(|(_, due)| *due)?,
            State::Leaving | State::Ended => return None,
        };
        [self.silence_ends(), self.expires, self.token_due].into_iter().flatten().chain([first]).min()
    }
}
