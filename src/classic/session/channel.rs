//! The current channel of a connection, its keep-alive and its timeout.

use std::sync::Arc;

use tokio::time::Instant;

use super::{CLOSE_NORMAL, OwnEffect, Session, SessionEffects, set_init};
use crate::{
    classic::{Settings, frames::KEEP_ALIVE, query::EndpointHubs},
    connection::{ChannelAttached, Effect},
    outbox::End,
    transport::Transport,
};

/// The current channel of a connection.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) number: u32,
    transport: Transport,
    /// The hubs that the client can call over this channel.
    pub(super) endpoint_hubs: Arc<EndpointHubs>,
    /// The time of the next keep-alive frame.
    keep_alive_due: Option<Instant>,
    /// The time when the channel ends by the connection timeout: polls always, streams only without keep-alive.
    timeout_at: Option<Instant>,
    /// The time when the credentials of its request expire, if that ends the connection.
    expires: Option<Instant>,
    /// The channel is closing: data that still arrives is ignored.
    pub(super) is_closing: bool,
}

impl Channel {
    pub(super) fn new(attached: &ChannelAttached<Session>, settings: &Settings, now: Instant) -> Self {
        let has_timeout = attached.channel.transport.is_poll() || settings.keep_alive.is_none();
        Self {
            number: attached.channel.number,
            transport: attached.channel.transport,
            endpoint_hubs: Arc::clone(&attached.request.endpoint_hubs),
            keep_alive_due: settings.keep_alive.map(|period| now + period),
            timeout_at: has_timeout.then(|| now + settings.connection_timeout),
            expires: attached.request.expires,
            is_closing: false,
        }
    }

    pub(super) fn is_poll(&self) -> bool {
        self.transport.is_poll()
    }

    /// The time of the next timer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.keep_alive_due.into_iter().chain(self.timeout_at).chain(self.expires).min()
    }

    /// True if the credentials of its request have expired.
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Closes the channel. Its client reconnects.
    pub(super) fn close(&mut self, end: End) -> SessionEffects {
        self.is_closing = true;
        Effect::Own(OwnEffect::CloseChannel(end)).into()
    }

    /// Sends a keep-alive frame, or ends the channel if it has timed out. Its client reconnects or polls again.
    pub(super) fn keep_alive_or_end(&mut self, settings: &Settings, now: Instant) -> SessionEffects {
        if self.timeout_at.is_some_and(|end| now >= end) {
            self.timeout_at = None;
            return if self.is_poll() { set_init(b"").into() } else { self.close(CLOSE_NORMAL) };
        }
        match (self.keep_alive_due, settings.keep_alive) {
            (Some(due), Some(period)) if now >= due => {
                self.keep_alive_due = Some(now + period);
                Effect::Own(OwnEffect::SendFrame(KEEP_ALIVE.into())).into()
            }
            _ => SessionEffects::none(),
        }
    }
}
