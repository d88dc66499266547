//! The interface of the session to the actor of its connection.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    CLOSE_NORMAL, CLOSE_POLICY_VIOLATION, ChannelRequest, OwnEffect, PendingInvocation, RECONNECT_GRACE, Request,
    Session, SessionEffects, Shared, StalePoll,
};
use crate::{
    classic::message,
    connection::{
        AttachChannel, ChannelDecision, ChannelSetup, ChannelState, Dialect, Effect, Event, Reason, TokenPlace,
    },
    connections::{ConnectionHandle, Reconnect},
    hub::{HubBehavior, Reporter, bind::Binding},
    outbox::Outbox,
    pipeline::RejoinReport,
    transport::Transport,
};

/// Tells the client on each of its hubs that it has lost groups. Wire: the original has no such message, and it puts up
/// with any groups token. Stock clients ignore a method that the application has not subscribed to.
fn report_loss(report: &RejoinReport) -> SessionEffects {
    let hubs = report.hubs().filter(|_| report.has_lost_groups());
    hubs.map(|hub| Effect::Send(message::rejoined(hub, report))).collect()
}

impl Dialect for Session {
    type ChannelRequest = ChannelRequest;
    type ChannelRefusal = StalePoll;
    type Request = Request;
    type OwnEffect = OwnEffect;
    type Shared = Shared;

    const BEHAVIOR: HubBehavior = HubBehavior { binding: Binding::Lenient, refuses_empty_group: true };

    fn on(&mut self, event: Event<Self>, now: Instant) -> SessionEffects {
        if self.has_ended {
            return SessionEffects::none();
        }
        match event {
            Event::Received(received) => self.on_received(&received),
            Event::Request(request) => self.on_request(request),
            // The endpoint answers requests with data itself.
            Event::Posted(_) | Event::PostBrokenOff => SessionEffects::none(),
            Event::Attached(attached) => self.on_attached(&attached, now),
            Event::Tick => self.on_tick(now),
            Event::Abandoned => self.end(Reason::Lost, CLOSE_NORMAL),
            Event::Restored(outcome) => self.on_restored(outcome),
            Event::Connected(outcome) => self.on_connected(outcome),
            Event::Returned(number, result) => self.on_returned(number, &result),
            Event::StreamItem(..)
            | Event::StreamEnded(_)
            | Event::UploadReady
            | Event::SlotReleased(_)
            | Event::ForeignResult(_) => SessionEffects::none(),
            Event::Reconnected(outcome) => self.on_reconnected(&outcome),
            Event::Closed | Event::Detached => {
                self.channel = None;
                SessionEffects::none()
            }
            Event::Overflowed | Event::Stalled => self.end(Reason::TooSlow, CLOSE_POLICY_VIOLATION),
            Event::GroupsChanged { are_known } => self.token_schedule.on_changed(are_known, now),
            Event::Rejoined(report) => report_loss(&report),
            Event::Aborted(Reconnect::Deny) => self.on_aborted(),
            Event::Aborted(Reconnect::Allow) => self.end_for_reconnect(Reason::Aborted),
            Event::Draining => self.end_for_reconnect(Reason::Drained),
        }
    }

    fn apply(effect: OwnEffect, connection: &ConnectionHandle, shared: &Shared) {
        let outbox = &connection.outbox;
        match effect {
            OwnEffect::SendFrame(frame) => drop(outbox.push_raw_frame(frame)),
            OwnEffect::CloseChannel(end) => outbox.close_channel(end),
            OwnEffect::CountGap => shared.metrics.gaps.increment(),
            OwnEffect::SetInit(field) => outbox.update_frame_fields(|fields| fields.init = Some(field)),
            // The request may have been cancelled.
            OwnEffect::Reply(reply, response) => drop(reply.send(response)),
            OwnEffect::RecordAbort => shared.aborted.add(connection.id.clone(), Instant::now()),
        }
    }

    fn decide_channel(
        &self,
        attach: &AttachChannel<Self>,
        channels: &ChannelState,
        tail: u64,
    ) -> ChannelDecision<Self> {
        self.decide(attach, channels, tail)
    }

    fn channel_setup(&self, attach: &AttachChannel<Self>, channels: &ChannelState) -> ChannelSetup {
        self.setup(&attach.request, channels)
    }

    /// Before its first channel, a connection costs its client nothing. It lives as long as a client takes to open one.
    fn time_without_channel(&self, last: Option<Transport>) -> Option<Duration> {
        let settings = &self.settings;
        Some(match last {
            None => settings.transport_connect_timeout,
            Some(Transport::LongPolling) => settings.disconnect_timeout + settings.long_poll_delay,
            Some(_) => settings.disconnect_timeout + RECONNECT_GRACE,
        })
    }

    fn transport_name(transport: Transport) -> &'static str {
        transport.classic_name()
    }

    fn reporter(&self, number: u64, outbox: &Arc<Outbox>) -> Option<Reporter> {
        self.dispatcher.running(number).map(|pending| pending.reporter(outbox))
    }

    fn deadline(&self) -> Option<Instant> {
        let deadline = match &self.channel {
            _ if self.has_ended => return None,
            Some(channel) => channel.deadline(),
            None => None,
        };
        deadline.into_iter().chain(self.token_schedule.renewal_due()).min()
    }

    fn is_saturated(&self) -> bool {
        self.dispatcher.is_at_limit()
    }

    fn wants_tokens(&self) -> bool {
        true
    }

    const TOKEN_PLACE: TokenPlace = TokenPlace::Field;

    fn encode_token(token: &str) -> Box<[u8]> {
        message::groups_token_member(token)
    }

    fn queues_result(&self, number: u64) -> bool {
        self.dispatcher.running(number).is_some_and(PendingInvocation::targets_channel)
    }

    fn send_timeout(&self) -> Duration {
        self.settings.send_timeout
    }

    fn calls(&self) -> usize {
        self.dispatcher.calls()
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
