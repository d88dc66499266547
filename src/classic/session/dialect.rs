//! The interface of the session to the actor of its connection.

use std::time::Duration;

use tokio::time::Instant;

use super::{CLOSE_POLICY_VIOLATION, PendingInvocation, Session, SessionEffects};
use crate::{
    classic::message,
    connection::{Dialect, Effect, Event, Reason, TokenPlace},
    connections::Reconnect,
    hub::{HubBehavior, bind::Binding},
    pipeline::RejoinReport,
};

/// Tells the client that it has not got all of its groups back, on each of its hubs. Wire: the original has no such
/// message. Stock clients ignore a method that the application has not subscribed to.
fn report_loss(report: &RejoinReport) -> SessionEffects {
    let hubs = report.hubs().filter(|_| report.is_loss());
    hubs.map(|hub| Effect::Send(message::rejoined(hub, report))).collect()
}

impl Dialect for Session {
    type PendingInvocation = PendingInvocation;

    const BEHAVIOR: HubBehavior = HubBehavior { binding: Binding::Lenient, refuses_empty_group: true };

    fn on(&mut self, event: Event<PendingInvocation>, now: Instant) -> SessionEffects {
        if self.has_ended {
            return SessionEffects::none();
        }
        match event {
            Event::Received(received) => self.on_received(&received),
            Event::Tick => self.on_tick(now),
            Event::Restored(outcome) => self.on_restored(outcome),
            Event::Connected(outcome) => self.on_connected(outcome),
            Event::Returned(pending, result) => self.calls.on_returned(pending, &result, self.channel_number()),
            Event::Reconnected(outcome) => self.on_reconnected(&outcome),
            Event::Detached => self.on_detached(now),
            Event::Overflowed => self.end(Reason::TooSlow, CLOSE_POLICY_VIOLATION),
            Event::GroupsChanged { are_known } => self.token_schedule.on_changed(are_known, now),
            Event::Rejoined(report) => report_loss(&report),
            Event::Aborted(Reconnect::Deny) => self.on_aborted(now),
            Event::Aborted(Reconnect::Allow) => self.end_for_reconnect(Reason::Aborted),
            Event::Draining => self.end_for_reconnect(Reason::Drained),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let deadline = match &self.channel {
            _ if self.has_ended => return None,
            Some(channel) => channel.deadline(),
            None => Some(self.disconnect_deadline),
        };
        deadline.into_iter().chain(self.token_schedule.renewal_due()).min()
    }

    fn is_saturated(&self) -> bool {
        self.calls.is_saturated()
    }

    fn wants_tokens(&self) -> bool {
        true
    }

    const TOKEN_PLACE: TokenPlace = TokenPlace::Field;

    fn encode_token(token: &str) -> Box<[u8]> {
        message::groups_token_member(token)
    }

    fn queues_result(pending: &PendingInvocation) -> bool {
        pending.targets_channel()
    }

    fn send_timeout(&self) -> Duration {
        self.settings.send_timeout
    }

    fn calls(&self) -> usize {
        self.calls.running()
    }

    fn phase(&self) -> &'static str {
        match &self.channel {
            _ if self.has_ended => "ended",
            None => "away",
            Some(_) if self.start_state.is_done() => "open",
            Some(_) => "connecting",
        }
    }
}
