//! The channel of a connection: a pure state machine.
//!
//! ```text
//! none so far ── attach ──▶ open ── close ──▶ closing ── detach ──▶ away ── attach ──▶ open
//!      │                     └─────────────── detach ────────────────▲ │
//!      └── expire                                                      └── expire
//! ```
//!
//! A connection has at most one channel. A new channel replaces an older one in every state, and what still happens to
//! the older one is ignored.

use tokio::time::Instant;

use crate::transport::Transport;

/// A channel: one transport, from its request to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channel {
    /// Its number within the connection. The first is 1.
    pub(crate) number: u32,
    pub(crate) transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There was no channel so far.
    New,
    Open(Channel),
    /// The client has closed the channel, and its transport is about to end.
    Closing(Channel),
    /// The last channel has gone.
    Away,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct ChannelState {
    stage: Stage,
    /// The transport of the newest channel.
    transport: Option<Transport>,
    /// When the connection ends if it has no channel until then.
    expires: Option<Instant>,
}

/// The transport of the current channel has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Detached {
    pub(super) channel: Channel,
    /// The channel was still open.
    pub(super) was_open: bool,
}

impl ChannelState {
    /// A connection without a channel. It ends if it has none until `expires`.
    pub(crate) fn new(expires: Option<Instant>) -> Self {
        Self { stage: Stage::New, transport: None, expires }
    }

    /// The current channel, while it is open.
    pub(crate) fn open_channel(&self) -> Option<Channel> {
        match self.stage {
            Stage::Open(channel) => Some(channel),
            Stage::New | Stage::Closing(_) | Stage::Away => None,
        }
    }

    /// The transport of the newest channel.
    pub(crate) fn transport(&self) -> Option<Transport> {
        self.transport
    }

    /// True if there was a channel.
    pub(crate) fn has_had_channel(&self) -> bool {
        self.stage != Stage::New
    }

    /// True if the current channel is open and is not a poll.
    pub(crate) fn has_stream(&self) -> bool {
        self.open_channel().is_some_and(|channel| !channel.transport.is_poll())
    }

    /// True while the transport of the current channel may still write.
    pub(crate) fn has_transport(&self) -> bool {
        matches!(self.stage, Stage::Open(_) | Stage::Closing(_))
    }

    /// True if this is the current channel.
    pub(super) fn is_current(&self, number: u32) -> bool {
        matches!(self.stage, Stage::Open(channel) | Stage::Closing(channel) if channel.number == number)
    }

    /// A channel replaces the current one.
    pub(crate) fn attach(&mut self, channel: Channel) {
        (self.stage, self.transport, self.expires) = (Stage::Open(channel), Some(channel.transport), None);
    }

    /// The client has closed a channel. Returns it if it was current and open.
    pub(super) fn close(&mut self, number: u32) -> Option<Channel> {
        let channel = self.open_channel().filter(|channel| channel.number == number)?;
        self.stage = Stage::Closing(channel);
        Some(channel)
    }

    /// The transport of a channel has gone. Returns the channel if it was current.
    pub(super) fn detach(&mut self, number: u32) -> Option<Detached> {
        let was_open = matches!(self.stage, Stage::Open(_));
        match self.stage {
            Stage::Open(channel) | Stage::Closing(channel) if channel.number == number => {
                self.stage = Stage::Away;
                Some(Detached { channel, was_open })
            }
            Stage::New | Stage::Open(_) | Stage::Closing(_) | Stage::Away => None,
        }
    }

    /// The connection ends at `expires` if it has no channel until then. `None` lets it live.
    pub(super) fn expire_at(&mut self, expires: Option<Instant>) {
        self.expires = expires;
    }

    /// The time of [`ChannelState::take_expired`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.expires
    }

    /// Whether the connection has had no channel for too long. True once.
    pub(super) fn take_expired(&mut self, now: Instant) -> bool {
        self.expires.take_if(|expires| *expires <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn channel(number: u32, transport: Transport) -> Channel {
        Channel { number, transport }
    }

    #[test]
    fn new_channel_replaces_the_older_one() {
        let (first, second) = (channel(1, Transport::LongPolling), channel(2, Transport::WebSockets));
        let mut state = ChannelState::new(None);
        assert!(!state.has_had_channel() && !state.has_transport());
        state.attach(first);
        assert!(state.has_had_channel() && state.is_current(1) && !state.has_stream());
        state.attach(second);
        assert!(state.is_current(2) && !state.is_current(1) && state.has_stream());
        assert_eq!((state.close(1), state.detach(1)), (None, None), "the older one is ignored");
        assert_eq!(state.open_channel(), Some(second));
    }

    #[test]
    fn closed_channel_is_current_until_its_transport_ends() {
        let socket = channel(1, Transport::WebSockets);
        let mut state = ChannelState::new(None);
        state.attach(socket);
        assert_eq!(state.close(1), Some(socket));
        assert_eq!((state.close(1), state.open_channel()), (None, None), "it is closed once");
        assert!(state.has_transport() && state.is_current(1));
        assert_eq!(state.detach(1), Some(Detached { channel: socket, was_open: false }));
        assert!(!state.has_transport() && !state.is_current(1) && state.has_had_channel());
        assert_eq!(state.detach(1), None, "it goes once");
    }

    #[test]
    fn lost_channel_was_open() {
        let poll = channel(1, Transport::LongPolling);
        let mut state = ChannelState::new(None);
        state.attach(poll);
        assert_eq!(state.detach(1), Some(Detached { channel: poll, was_open: true }));
    }

    #[test]
    fn connection_without_channel_expires_once() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut state = ChannelState::new(Some(later));
        assert_eq!(state.deadline(), Some(later));
        assert!(!state.take_expired(now));
        state.attach(channel(1, Transport::WebSockets));
        assert!(!state.take_expired(later), "it has a channel");
        state.detach(1);
        state.expire_at(Some(later));
        assert!(state.take_expired(later) && !state.take_expired(later));
        assert_eq!(state.deadline(), None);
    }
}
