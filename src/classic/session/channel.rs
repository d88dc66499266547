//! The channel that a connection has at present, and what keeps it alive.

use std::sync::Arc;

use tokio::time::Instant;

use super::{ChannelAttached, NORMAL, Out};
use crate::{
    classic::{
        Settings,
        frames::KEEP_ALIVE,
        query::{EndpointHubs, Transport},
    },
    connection::Effect,
    outbox::End,
};

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) number: u32,
    transport: Transport,
    /// The hubs that can be called over it.
    pub(super) callable: Arc<EndpointHubs>,
    /// When the client is next told that the channel is alive.
    beat_due: Option<Instant>,
    /// When a channel that is never told so has had its time.
    ends_at: Option<Instant>,
    /// It is being closed: what still comes over it is not acted on.
    pub(super) is_closing: bool,
}

impl Channel {
    pub(super) fn new(attached: &ChannelAttached, settings: &Settings, now: Instant) -> Self {
        let has_end = attached.transport == Transport::LongPolling || settings.keep_alive.is_none();
        Self {
            number: attached.number,
            transport: attached.transport,
            callable: Arc::clone(&attached.callable),
            beat_due: settings.keep_alive.map(|period| now + period),
            ends_at: has_end.then(|| now + settings.connection_timeout),
            is_closing: false,
        }
    }

    pub(super) fn is_poll(&self) -> bool {
        self.transport == Transport::LongPolling
    }

    /// When [`Channel::beat`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.beat_due.into_iter().chain(self.ends_at).min()
    }

    /// Ends the channel; its client comes back on another.
    pub(super) fn close(&mut self, end: End) -> Out {
        self.is_closing = true;
        vec![Effect::HangUp(end)]
    }

    /// Keeps the channel alive, or ends one that has had its time; its client comes back.
    pub(super) fn beat(&mut self, settings: &Settings, now: Instant) -> Out {
        if self.ends_at.is_some_and(|end| now >= end) {
            self.ends_at = None;
            return if self.is_poll() { vec![Effect::Open([].into())] } else { self.close(NORMAL) };
        }
        match (self.beat_due, settings.keep_alive) {
            (Some(due), Some(period)) if now >= due => {
                self.beat_due = Some(now + period);
                vec![Effect::Frame(KEEP_ALIVE.into())]
            }
            _ => Vec::new(),
        }
    }
}
