//! The channels of a session: which requests may open one, and what changes with it.

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{OwnEffect, Session, SessionEffects};
use crate::{
    aspnetcore::framer,
    connection::{AttachChannel, ChannelAttached, ChannelDecision, ChannelSetup, ChannelState, Effect, Reason},
    outbox::Resume,
    transport::{Inbound, Transport},
};

/// A request for a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelRequest {
    /// When the credentials of the request expire, if that ends the connection.
    pub(crate) expires: Option<Instant>,
}

/// Why a channel is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelRefusal {
    /// The connection uses another transport.
    OtherTransport,
    /// The connection has a channel.
    AlreadyOpen,
}

/// Ends the connection of a client that polls. The reply is false if it does not poll.
#[derive(Debug)]
pub(crate) struct Delete(pub(crate) oneshot::Sender<bool>);

impl Session {
    /// Wire: the first channel decides about the transport. A poll replaces another, and so does a WebSocket of a client
    /// that resumes.
    pub(super) fn decide(&self, attach: &AttachChannel<Self>, channels: &ChannelState) -> ChannelDecision<Self> {
        match channels.transport() {
            Some(transport) if transport != attach.transport => ChannelDecision::Refuse(ChannelRefusal::OtherTransport),
            Some(transport) if !transport.is_poll() && !self.can_resume() => {
                ChannelDecision::Refuse(ChannelRefusal::AlreadyOpen)
            }
            Some(_) | None => ChannelDecision::Attach,
        }
    }

    pub(super) fn setup(&self, transport: Transport) -> ChannelSetup {
        let framer = framer(transport, self.protocol.transfer_format());
        let framer = framer.expect("the handshake refuses a protocol that the transport cannot carry");
        let resends = transport == Transport::WebSockets && self.resends_messages();
        let resume = if resends { Resume::Unacknowledged } else { Resume::Waiting };
        ChannelSetup { resume, framer, hubs: None, token: None }
    }

    /// A channel was attached. Each poll renews the credentials.
    pub(super) fn on_attached(&mut self, attached: &ChannelAttached<Self>, now: Instant) -> SessionEffects {
        self.transport = Some(attached.channel.transport);
        self.expires = attached.request.expires;
        match attached.is_first {
            true if !self.has_handshake => self.start_without_handshake(now),
            true if !self.receive_buffer.is_empty() => self.handle_handshake(now),
            false if self.can_resume() => self.resume(now),
            true | false => SessionEffects::none(),
        }
    }

    /// The client has no channel, and may open another one.
    pub(super) fn on_away(&mut self) -> SessionEffects {
        self.is_away = self.can_resume();
        SessionEffects::none()
    }

    /// The client has sent data in a request. Before the first channel it is kept.
    pub(super) fn on_posted(&mut self, bytes: Bytes, now: Instant) -> SessionEffects {
        if self.transport.is_none() {
            self.receive_buffer.append(&bytes);
            return SessionEffects::none();
        }
        self.receive(&Inbound::Binary(bytes), now)
    }

    /// Wire: ASP.NET Core keeps an incomplete message, and reads the next one as its rest. No client sends that rest. Before
    /// the first channel the protocol of the messages behind the handshake is not known, so nothing is dropped.
    pub(super) fn on_post_broken_off(&mut self) -> SessionEffects {
        if self.transport.is_some() {
            self.receive_buffer.drop_incomplete(self.protocol.framing());
        }
        SessionEffects::none()
    }

    /// True if the client polls.
    pub(super) fn is_polling(&self) -> bool {
        self.transport.is_some_and(Transport::is_poll)
    }

    /// Wire: only a client that polls ends its connection by a request. The poll that waits gets the Close message.
    pub(super) fn on_delete(&mut self, Delete(reply): Delete) -> SessionEffects {
        let is_polling = self.is_polling();
        let mut effects = SessionEffects::from(Effect::Own(OwnEffect::ReplyToDelete(reply, is_polling)));
        if is_polling {
            effects.append(self.end_with_close(Reason::Deleted, None, true));
        }
        effects
    }
}
