//! The WebSocket transport: an actor that receives, and a writer that drains the outbox.
//!
//! The actor joins fragments, answers pings and closes, and sends messages to the connection as [`Received`]. It lives
//! as long as the socket. Outgoing data does not pass through the actor.
//!
//! On a server of this crate, the WebSocket gets the socket itself ([`task`]). On another server it is the body of a
//! response, and its frames are written past the HTTP layer if they can be ([`body`]).
//!
//! Only this file may name `actix_web_actors`, which is deprecated upstream, so that replacing it changes nothing else.

use std::{fmt::Display, io, net::SocketAddr, pin::Pin, time::Duration};

use actix::prelude::*;
use actix_http::error::PayloadError;
use actix_http::ws::{CloseCode, Codec, Item, Message, ProtocolError};
use actix_web::{Error, HttpRequest, HttpResponse, body::BodyStream, web::Payload};
use actix_web_actors::ws::{WebsocketContext, handshake};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use super::{Inbound, Received, SocketHandle, framing::pong_frame, upgrade::UpgradeSlot};
use crate::{
    client_log::{self, Cause, optional},
    outbox::{ChannelControl, End, OutboxReader},
};

mod body;
mod handshake;
mod splitter;
mod task;
mod utf8;
mod writer;

use body::WebSocketBody;
pub(crate) use handshake::{check_upgrade, offers_websocket};
use splitter::{FrameStream, MAX_FRAGMENT};
pub(super) use task::AcceptedWebSocket;
use utf8::Utf8Validator;

/// The form in which a connection wants to receive data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// Data as it arrives; the transport does not preserve message boundaries.
    Bytes,
    /// Complete messages.
    Messages {
        /// The maximum length in bytes. A longer message is received as [`Inbound::TooLarge`].
        limit: usize,
    },
}

/// The time that a peer has to answer a close frame before its socket is shut down. Wire: the same as in ASP.NET Core
/// SignalR.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts an upgrade request. The frames of `reader` are written to the socket, and received data goes to `recipient`.
///
/// # Errors
/// If the request is not a valid upgrade. The error is the response that RFC 6455 prescribes.
pub(crate) fn accept(
    request: &HttpRequest,
    payload: Payload,
    reader: OutboxReader,
    recipient: Recipient<Received>,
    mode: ReadMode,
) -> Result<HttpResponse, Error> {
    check_upgrade(request.head())?;
    let mut response = handshake(request)?;
    let (channel, control, address) = (reader.channel(), reader.control(), request.peer_addr());
    let actor = WebSocketActor { recipient, channel, control, mode, address, fragments: None };
    if let Some(slot) = UpgradeSlot::of(request) {
        slot.fill(AcceptedWebSocket::new(actor, reader));
        return Ok(response.finish());
    }
    let body = WebSocketBody::new(read_frames(actor, payload), reader, SocketHandle::of(request));
    // Wire: an upgrade response has no content and therefore no content type.
    Ok(response.message_body(BodyStream::new(body))?.map_into_boxed_body())
}

/// The reading half of a WebSocket. It ends when the actor has stopped, and yields nothing that must be written.
type ReadHalf = Pin<Box<dyn Stream<Item = Result<Bytes, Error>>>>;

fn read_frames(
    actor: WebSocketActor,
    source: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
) -> ReadHalf {
    Box::pin(WebsocketContext::with_codec(actor, FrameStream::new(source), Codec::new().max_size(MAX_FRAGMENT)))
}

/// The receiving actor of one WebSocket.
struct WebSocketActor {
    recipient: Recipient<Received>,
    channel: u32,
    control: ChannelControl,
    mode: ReadMode,
    /// The address of the peer, for the log.
    address: Option<SocketAddr>,
    /// The message whose fragments are still arriving.
    fragments: Option<Box<Fragments>>,
}

struct Fragments {
    /// The received bytes that were not forwarded.
    bytes: BytesMut,
    /// Validates a text message.
    text: Option<Utf8Validator>,
}

impl Actor for WebSocketActor {
    type Context = WebsocketContext<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.control.lose(End::Abort);
    }
}

impl WebSocketActor {
    /// Sends data to the connection, and reads nothing more until the connection is ready for it.
    fn forward(&self, data: Inbound, ctx: &mut WebsocketContext<Self>) {
        let received = self.recipient.send(Received { channel: self.channel, data });
        ctx.wait(received.into_actor(self).map(|taken, this, ctx| {
            if taken.is_err() {
                this.close(CloseCode::Normal, ctx);
            }
        }));
    }

    fn add_fragment(&mut self, item: Item, ctx: &mut WebsocketContext<Self>) {
        let (bytes, is_last) = match item {
            Item::FirstText(bytes) => (self.start_message(bytes, Some(Utf8Validator::default())), false),
            Item::FirstBinary(bytes) => (self.start_message(bytes, None), false),
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        let Some(fragments) = &mut self.fragments else { return };
        if fragments.text.as_mut().is_some_and(|text| !text.accepts(&bytes, is_last)) {
            return self.refuse(CloseCode::Invalid, &"invalid UTF-8", ctx);
        }
        match self.mode {
            ReadMode::Bytes => self.forward_fragment(bytes, is_last, ctx),
            ReadMode::Messages { limit } if fragments.bytes.len() + bytes.len() > limit => {
                self.forward(Inbound::TooLarge, ctx);
            }
            ReadMode::Messages { .. } => {
                fragments.bytes.extend_from_slice(&bytes);
                if is_last {
                    let whole = std::mem::take(&mut fragments.bytes).freeze();
                    self.forward_fragment(whole, true, ctx);
                }
            }
        }
    }

    fn start_message(&mut self, bytes: Bytes, text: Option<Utf8Validator>) -> Bytes {
        self.fragments = Some(Box::new(Fragments { bytes: BytesMut::new(), text }));
        bytes
    }

    fn forward_fragment(&mut self, bytes: Bytes, is_last: bool, ctx: &mut WebsocketContext<Self>) {
        let is_text = self.fragments.as_ref().is_some_and(|fragments| fragments.text.is_some());
        if is_last {
            self.fragments = None;
        }
        self.forward(if is_text { Inbound::Text(bytes) } else { Inbound::Binary(bytes) }, ctx);
    }

    /// Forwards a message that arrived in one frame.
    fn forward_message(&self, data: Inbound, ctx: &mut WebsocketContext<Self>) {
        let is_too_large = matches!(self.mode, ReadMode::Messages { limit } if data.len() > limit);
        self.forward(if is_too_large { Inbound::TooLarge } else { data }, ctx);
    }

    /// Closes the channel because the peer violates the protocol.
    fn refuse(&self, code: CloseCode, reason: &dyn Display, ctx: &mut WebsocketContext<Self>) {
        let address = optional(self.address);
        client_log::log(Cause::InvalidFrame, &[("address", &address), ("reason", reason)]);
        self.close(code, ctx);
    }

    /// Closes the channel with `code` and stops reading.
    fn close(&self, code: CloseCode, ctx: &mut WebsocketContext<Self>) {
        self.control.close(End::Close(code.into()));
        ctx.stop();
    }
}

/// Wire: a text that is not valid UTF-8 closes with 1007, which the codec reports as an I/O error of the kind `Other`.
/// Any other error violates the framing and closes with 1002 (RFC 6455 section 7.4.1).
fn close_code(error: &ProtocolError) -> CloseCode {
    match error {
        ProtocolError::Io(error) if error.kind() == io::ErrorKind::Other => CloseCode::Invalid,
        _ => CloseCode::Protocol,
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for WebSocketActor {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(Message::Text(text)) => self.forward_message(Inbound::Text(text.into_bytes()), ctx),
            Ok(Message::Binary(bytes)) => self.forward_message(Inbound::Binary(bytes), ctx),
            Ok(Message::Continuation(item)) => self.add_fragment(item, ctx),
            Ok(Message::Ping(payload)) => self.control.queue_control_frame(pong_frame(&payload)),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Close(_)) => self.close(CloseCode::Normal, ctx),
            Err(error) => self.refuse(close_code(&error), &error, ctx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory: the context of actix takes 416 bytes more, and both together a size class of 512 bytes.
    #[test]
    fn actor_fits_its_size_class() {
        assert!(size_of::<WebSocketActor>() <= 512 - 416, "{}", size_of::<WebSocketActor>());
    }
}
