//! Requests that upgrade their connection, on a server of this crate.
//!
//! The HTTP layer hands such a request over together with its stream, and is dropped. The request then runs through the
//! same application as all others. An endpoint of this crate accepts it by leaving a WebSocket in the request's
//! [`UpgradeSlot`]. The answer is written, and the WebSocket gets the stream. Any other answer is written as it is,
//! while its handler can read from the stream as the body of the request: a route of the application can thus serve
//! WebSockets of its own.
//!
//! Invariant: when a WebSocket is idle, no part of the request is alive. A single header would keep the HTTP layer's read
//! buffer of 8 KiB.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_codec::FramedParts;
use actix_http::{
    BoxedPayloadStream, Request, Response,
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    h1::{Codec, Message},
};
use actix_service::{Service, boxed::BoxService};
use actix_web::{
    HttpMessage, HttpRequest,
    http::{ConnectionType, StatusCode},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, future::LocalBoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};
use tokio_util::codec::Encoder;

use super::{server_stream::ServerStream, socket::SharedTcp, websocket::AcceptedWebSocket};

/// An application, as the HTTP layer calls it.
pub(crate) type App = BoxService<Request, Response<BoxBody>, Response<BoxBody>>;

/// The task that takes over a stream when the HTTP layer has released it.
#[derive(Clone, Default)]
pub(crate) struct NextTask(Rc<Cell<Option<LocalBoxFuture<'static, ()>>>>);

impl NextTask {
    /// Takes the task, if the HTTP layer has handed the stream over.
    pub(crate) fn take(&self) -> Option<LocalBoxFuture<'static, ()>> {
        self.0.take()
    }
}

impl fmt::Debug for NextTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextTask")
    }
}

/// The place where an endpoint leaves the WebSocket that it accepts. It is among the extensions of the request.
#[derive(Clone, Default)]
pub(super) struct UpgradeSlot(Rc<Cell<Option<AcceptedWebSocket>>>);

impl UpgradeSlot {
    /// The slot of a request; `None` if the server is not one of this crate.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get().cloned()
    }

    pub(super) fn fill(&self, accepted: AcceptedWebSocket) {
        self.0.set(Some(accepted));
    }
}

/// Takes an upgrade request and its stream over from the HTTP layer.
pub(crate) fn take_over(app: &Rc<App>, request: Request, parts: FramedParts<ServerStream, Codec>) {
    let next = parts.io.next_task();
    next.0.set(Some(Box::pin(answer_and_serve(Box::pin(answer(Rc::clone(app), request, parts))))));
}

/// Writes the last bytes to a stream that the HTTP layer releases, and closes it.
pub(crate) fn write_and_close(stream: ServerStream, bytes: Vec<u8>) {
    let next = stream.next_task();
    next.0.set(Some(Box::pin(async move {
        let mut stream = SharedStream::new(stream, &[]);
        // A client that does not read does not get them.
        let _ = timeout(LINGER_TIMEOUT, stream.write_all(&bytes)).await;
        close(stream).await;
    })));
}

/// Each part is boxed of its own, so that the memory of the first is freed.
async fn answer_and_serve(answering: LocalBoxFuture<'static, Option<(AcceptedWebSocket, SharedStream)>>) {
    if let Some(serving) = answering.await.map(|(accepted, stream)| accepted.serve(stream)) {
        serving.await;
    }
}

/// Runs the request and writes the answer. Returns the WebSocket that an endpoint has accepted.
async fn answer(
    app: Rc<App>,
    mut request: Request,
    parts: FramedParts<ServerStream, Codec>,
) -> Option<(AcceptedWebSocket, SharedStream)> {
    let FramedParts { io, codec, read_buf, write_buf, .. } = parts;
    let (stream, slot) = (SharedStream::new(io, &read_buf), UpgradeSlot::default());
    drop(read_buf);
    request.extensions_mut().insert(slot.clone());
    let body: BoxedPayloadStream = Box::pin(stream.clone());
    *request.payload() = body.into();
    let response = app.call(request).await.unwrap_or_else(|response| response);
    let accepted = slot.0.take().filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS);
    let mut answer = Answer { stream: stream.clone(), codec, out: write_buf };
    if accepted.is_none() {
        // An error means that the client is gone.
        let _ = answer.write(response).await;
        close(stream).await;
        return None;
    }
    answer.write(response).await.ok()?;
    Some((accepted?, stream))
}

/// Writes the answer to a request.
struct Answer {
    stream: SharedStream,
    codec: Codec,
    /// It may begin with the rest of an earlier answer.
    out: BytesMut,
}

impl Answer {
    async fn write(&mut self, mut response: Response<BoxBody>) -> io::Result<()> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // Wire: what the client sends after an upgrade request is not another request.
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        let (head, mut body) = response.into_parts();
        let size = body.size();
        self.encode(Message::Item((head, size))).await?;
        if matches!(size, BodySize::None | BodySize::Sized(0)) {
            return Ok(());
        }
        while let Some(chunk) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            let chunk = chunk.map_err(|error| io::Error::other(error.to_string()))?;
            self.encode(Message::Chunk(Some(chunk))).await?;
        }
        self.encode(Message::Chunk(None)).await
    }

    async fn encode(&mut self, part: Message<(Response<()>, BodySize)>) -> io::Result<()> {
        self.codec.encode(part, &mut self.out)?;
        self.stream.write_all_buf(&mut self.out).await?;
        self.stream.flush().await
    }
}

/// The time in which a peer has to close its side after the server has closed its own.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Closes a stream after all written bytes. Closing a socket with unread data would reset it, and the peer could lose
/// what was written last. What the peer sends is therefore read until it closes its side.
pub(super) async fn close(mut stream: SharedStream) {
    let lingering = async {
        // An error means that the socket is closed already.
        if stream.shutdown().await.is_ok() {
            while poll_fn(|cx| stream.poll_discard(cx)).await {}
        }
    };
    // A peer that does not close its side in time is cut.
    let _ = timeout(LINGER_TIMEOUT, lingering).await;
}

/// The maximum of bytes that are read at once.
const READ_SIZE: usize = 16 * 1024;

/// A stream that one task reads and writes. As a [`Stream`], it yields what it reads.
#[derive(Clone)]
pub(super) struct SharedStream(Rc<RefCell<State>>);

struct State {
    stream: ServerStream,
    /// What the HTTP layer has read after the request.
    buffered: Bytes,
}

impl SharedStream {
    fn new(stream: ServerStream, buffered: &[u8]) -> Self {
        // A copy does not keep the buffer of the HTTP layer.
        Self(Rc::new(RefCell::new(State { stream, buffered: Bytes::copy_from_slice(buffered) })))
    }

    /// The TCP stream for direct writes, if its bytes are not encrypted.
    pub(super) fn unencrypted(&self) -> Option<SharedTcp> {
        self.0.borrow().stream.unencrypted().cloned()
    }

    fn poll_read<T>(&self, cx: &mut Context<'_>, take: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>> {
        let mut storage = [MaybeUninit::uninit(); READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut storage);
        ready!(Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    }

    /// Reads and discards. Returns whether more can follow.
    fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let read = ready!(self.poll_read(cx, |bytes| !bytes.is_empty()));
        Poll::Ready(read.unwrap_or(false))
    }
}

impl Stream for SharedStream {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let buffered = std::mem::take(&mut self.0.borrow_mut().buffered);
        if !buffered.is_empty() {
            return Poll::Ready(Some(Ok(buffered)));
        }
        // A copy of the exact length occupies no more memory than the data.
        match ready!(self.poll_read(cx, Bytes::copy_from_slice)) {
            Ok(bytes) if bytes.is_empty() => Poll::Ready(None),
            read => Poll::Ready(Some(read.map_err(PayloadError::Io))),
        }
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_shutdown(cx)
    }
}
