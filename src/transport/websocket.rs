//! A WebSocket: an actor that hands over what comes in, and a writer that the outbox feeds.
//!
//! Role: moves whole messages; puts fragments together, answers pings and closes.
//! Life: as long as the socket. Neighbours: its feed, and the connection that it sends [`Received`] to.
//! Never: this is the only file that may name `actix_web_actors`, which upstream has deprecated: the day
//! it must go, nothing else changes. What a client is sent does not pass through the actor at all.
//!
//! A write through the HTTP layer costs several times what the socket itself does. Where the server keeps
//! a second handle to the socket ([`super::on_connect`]), a task of its own writes there; elsewhere the
//! bytes take the long way, as the body of the response.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix::prelude::*;
use actix_http::ws::{CloseCode, Codec, Item, Message, ProtocolError};
use actix_web::{Error, HttpRequest, HttpResponse, body::BodyStream, web::Payload};
use actix_web_actors::ws::{WebsocketContext, handshake};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream};
use tokio::task::JoinHandle;

use super::{
    Inbound, Received, SocketHandle,
    framing::{close_frame, pong_frame},
};
use crate::outbox::{ChannelControl, End, OutboxReader, ReadStep, Sink};

mod splitter;
mod utf8;

use splitter::{FrameStream, PIECE};
use utf8::Utf8;

/// What a connection wants to be handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// Whatever comes, as it comes: where messages end is no affair of the transport.
    Bytes,
    /// Whole messages of at most so many bytes.
    Messages {
        /// In bytes; what is longer is [`Inbound::TooLarge`].
        limit: usize,
    },
}

/// How long a peer has to answer the close of its socket before it is cut. Wire: what ASP.NET Core servers
/// grant.
const FAREWELL: Duration = Duration::from_secs(5);

/// A buffer that a large message has grown beyond this is given back.
const KEPT_BUFFER: usize = 4 * 1024;

/// Accepts an upgrade: `feed` is written to the socket, and what comes in goes to `port`.
///
/// # Errors
/// If the request is no proper upgrade; the error is the answer that RFC 6455 prescribes.
pub(crate) fn accept(
    request: &HttpRequest,
    payload: Payload,
    feed: OutboxReader,
    port: Recipient<Received>,
    intent: ReadMode,
) -> Result<HttpResponse, Error> {
    actix_http::ws::verify_handshake(request.head())?;
    let mut response = handshake(request)?;
    let socket = Socket { port, channel: feed.channel(), control: feed.control(), intent, fragments: None };
    let frames = WebsocketContext::with_codec(socket, FrameStream::new(payload), Codec::new().max_size(PIECE));
    let socket = request.conn_data::<SocketHandle>().cloned();
    let pump = WebSocketBody::new(Box::pin(frames), feed, socket);
    // Wire: an upgraded response has no content, and so no content type.
    Ok(response.message_body(BodyStream::new(pump))?.map_into_boxed_body())
}

/// The actor of one live WebSocket.
struct Socket {
    port: Recipient<Received>,
    channel: u32,
    control: ChannelControl,
    intent: ReadMode,
    /// A message of which not all fragments have come.
    fragments: Option<Fragments>,
}

struct Fragments {
    /// What has come and was not handed over.
    bytes: BytesMut,
    /// Watches over a text.
    text: Option<Utf8>,
}

impl Actor for Socket {
    type Context = WebsocketContext<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.control.hang_up(End { code: CloseCode::Normal.into() });
    }
}

impl Socket {
    /// Hands something over and reads nothing more until the connection is ready for it.
    fn forward(&self, data: Inbound, ctx: &mut WebsocketContext<Self>) {
        let received = self.port.send(Received { channel: self.channel, data });
        ctx.wait(received.into_actor(self).map(|taken, _, ctx| {
            if taken.is_err() {
                ctx.stop();
            }
        }));
    }

    fn add_fragment(&mut self, item: Item, ctx: &mut WebsocketContext<Self>) {
        let (bytes, is_last) = match item {
            Item::FirstText(bytes) => (self.begin(bytes, Some(Utf8::default())), false),
            Item::FirstBinary(bytes) => (self.begin(bytes, None), false),
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        let Some(fragments) = &mut self.fragments else { return };
        if fragments.text.as_mut().is_some_and(|text| !text.goes_on(&bytes, is_last)) {
            return self.end(CloseCode::Invalid, ctx);
        }
        match self.intent {
            ReadMode::Bytes => self.hand_on(bytes, is_last, ctx),
            ReadMode::Messages { limit } if fragments.bytes.len() + bytes.len() > limit => {
                self.forward(Inbound::TooLarge, ctx);
            }
            ReadMode::Messages { .. } => {
                fragments.bytes.extend_from_slice(&bytes);
                if is_last {
                    let whole = std::mem::take(&mut fragments.bytes).freeze();
                    self.hand_on(whole, true, ctx);
                }
            }
        }
    }

    fn begin(&mut self, bytes: Bytes, text: Option<Utf8>) -> Bytes {
        self.fragments = Some(Fragments { bytes: BytesMut::new(), text });
        bytes
    }

    fn hand_on(&mut self, bytes: Bytes, is_last: bool, ctx: &mut WebsocketContext<Self>) {
        let is_text = self.fragments.as_ref().is_some_and(|fragments| fragments.text.is_some());
        if is_last {
            self.fragments = None;
        }
        self.forward(if is_text { Inbound::Text(bytes) } else { Inbound::Binary(bytes) }, ctx);
    }

    /// A message in one frame.
    fn message(&self, data: Inbound, ctx: &mut WebsocketContext<Self>) {
        let is_too_large = matches!(self.intent, ReadMode::Messages { limit } if data.len() > limit);
        self.forward(if is_too_large { Inbound::TooLarge } else { data }, ctx);
    }

    /// Says why, and stops reading.
    fn end(&self, code: CloseCode, ctx: &mut WebsocketContext<Self>) {
        self.control.hang_up(End { code: code.into() });
        ctx.stop();
    }
}

/// Wire: the codec reports a text that is no UTF-8 as this kind of an I/O error; that is 1007. Everything
/// else is a breach of the framing, 1002 (RFC 6455 section 7.4.1).
fn code_of(error: &ProtocolError) -> CloseCode {
    match error {
        ProtocolError::Io(error) if error.kind() == io::ErrorKind::Other => CloseCode::Invalid,
        _ => CloseCode::Protocol,
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(Message::Text(text)) => self.message(Inbound::Text(text.into_bytes()), ctx),
            Ok(Message::Binary(bytes)) => self.message(Inbound::Binary(bytes), ctx),
            Ok(Message::Continuation(item)) => self.add_fragment(item, ctx),
            Ok(Message::Ping(payload)) => self.control.say(pong_frame(&payload)),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Close(_)) => self.end(CloseCode::Normal, ctx),
            Err(error) => self.end(code_of(&error), ctx),
        }
    }
}

type Reader = Pin<Box<dyn Stream<Item = Result<Bytes, Error>>>>;

/// The body of the response: it keeps both halves going until both have ended.
struct WebSocketBody {
    /// The half that reads, until it has ended.
    frames: Option<Reader>,
    /// What to write, unless the task has it. It is held to the end, since dropping it says that the
    /// transport has gone.
    feed: Option<OutboxReader>,
    /// Where to write, and what to close.
    socket: Option<SocketHandle>,
    /// The half that writes to the socket.
    task: Option<JoinHandle<OutboxReader>>,
    has_written: bool,
    /// Cuts the socket of a peer that does not answer its close.
    farewell: Option<JoinHandle<()>>,
}

impl WebSocketBody {
    fn new(frames: Reader, feed: OutboxReader, socket: Option<SocketHandle>) -> Self {
        Self { frames: Some(frames), feed: Some(feed), socket, task: None, has_written: false, farewell: None }
    }

    /// Begins to write to the socket. The HTTP layer asks for a body when it has put the head into its
    /// buffer, and writes that out before another task can run.
    fn begin(&mut self) {
        if let Some(socket) = &self.socket
            && self.task.is_none()
            && !self.has_written
        {
            self.task = self.feed.take().map(|feed| actix::spawn(write(feed, socket.clone())));
        }
    }

    /// Polls the half that reads, and answers whether it has ended.
    fn has_read(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(frames) = &mut self.frames {
            match frames.as_mut().poll_next(cx) {
                // The actor writes nothing.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => self.frames = None,
                Poll::Pending => return false,
            }
        }
        true
    }

    /// Polls the half that writes, and answers what it wants to take the long way.
    fn poll_writer(&mut self, cx: &mut Context<'_>) -> Option<Bytes> {
        if let Some(task) = &mut self.task {
            if let Poll::Ready(feed) = task.poll_unpin(cx) {
                (self.feed, self.task, self.has_written) = (feed.ok(), None, true);
                self.farewell = self.socket.clone().map(|socket| actix::spawn(cut_later(socket)));
            }
            return None;
        }
        let mut out = BytesMut::new();
        match self.feed.as_mut()?.poll(cx, &mut out) {
            Poll::Ready(ReadStep::Write) => {}
            Poll::Ready(ReadStep::End(End { code })) => {
                self.has_written = true;
                close_frame(code, &mut out);
            }
            Poll::Pending => return None,
        }
        Some(out.freeze())
    }
}

impl Stream for WebSocketBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.begin();
        let has_read = self.has_read(cx);
        if let Some(bytes) = self.poll_writer(cx) {
            return Poll::Ready(Some(Ok(bytes)));
        }
        if !has_read || !self.has_written {
            return Poll::Pending;
        }
        if let Some(socket) = &self.socket {
            // Wire: it is the server that closes the connection first (RFC 6455 section 7.1.1).
            socket.finish();
        }
        Poll::Ready(None)
    }
}

impl Drop for WebSocketBody {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(farewell) = &self.farewell {
            farewell.abort();
        }
    }
}

async fn cut_later(socket: SocketHandle) {
    tokio::time::sleep(FAREWELL).await;
    socket.cut();
}

/// Writes what comes until the stream ends or the socket breaks, and gives the feed back.
async fn write(mut feed: OutboxReader, socket: SocketHandle) -> OutboxReader {
    feed.lend(Arc::new(socket.clone()));
    let mut out = BytesMut::new();
    loop {
        let step = poll_fn(|cx| feed.poll(cx, &mut out)).await;
        if let ReadStep::End(End { code }) = step {
            close_frame(code, &mut out);
        }
        if write_all(&feed, &socket, &out).await.is_err() {
            // The half that reads may wait for its connection, and not notice.
            feed.control().hang_up(End { code: CloseCode::Normal.into() });
            return feed;
        }
        if step != ReadStep::Write {
            return feed;
        }
        out.clear();
        if out.capacity() > KEPT_BUFFER {
            out = BytesMut::new();
        }
    }
}

async fn write_all(feed: &OutboxReader, socket: &SocketHandle, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                feed.set_blocked(true);
                socket.writable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    feed.set_blocked(false);
    Ok(())
}
