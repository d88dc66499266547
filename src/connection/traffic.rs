//! Input from channels and requests, the end of channels, and detection of clients that do not read.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix::prelude::*;
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, ready},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

use super::{Channel, Connection, Dialect, Event};
use crate::transport::{Received, Transport};

/// When [`Received`] is answered: at once, or when the session can take more. Until then the transport does not read.
pub(crate) enum ReceiveOutcome {
    Now,
    WhenReady(oneshot::Receiver<()>),
}

impl<D: Dialect> actix::dev::MessageResponse<Connection<D>, Received> for ReceiveOutcome {
    fn handle(self, _: &mut Context<Connection<D>>, answer: Option<actix::dev::OneshotSender<()>>) {
        let Some(answer) = answer else { return };
        match self {
            Self::Now => drop(answer.send(())),
            Self::WhenReady(ready) => drop(actix::spawn(async move {
                // The sender is dropped if the actor has stopped. Then the transport reads on, too.
                let _ = ready.await;
                let _ = answer.send(());
            })),
        }
    }
}

impl<D: Dialect> Handler<Received> for Connection<D> {
    type Result = ReceiveOutcome;

    /// Data of a channel that was replaced is ignored.
    fn handle(&mut self, received: Received, ctx: &mut Self::Context) -> ReceiveOutcome {
        if !self.channels.is_current(received.channel) {
            return ReceiveOutcome::Now;
        }
        self.handle_event(Event::Received(received), ctx);
        if self.state.has_ended() || !self.session.is_saturated() {
            return ReceiveOutcome::Now;
        }
        let (paused, ready) = oneshot::channel();
        self.paused_reads.push(paused);
        ReceiveOutcome::WhenReady(ready)
    }
}

/// Lets one request with data in at a time, in the order of their arrival.
pub(super) struct PostTurns {
    semaphore: Arc<Semaphore>,
    /// The last request that has sent data has not sent all of it.
    is_incomplete: AtomicBool,
}

impl PostTurns {
    fn new() -> Arc<Self> {
        Arc::new(Self { semaphore: Arc::new(Semaphore::new(1)), is_incomplete: AtomicBool::new(false) })
    }

    /// Refuses the requests that wait for their turn, and later ones.
    pub(super) fn close(&self) {
        self.semaphore.close();
    }
}

/// The turn of a request with data.
pub(crate) struct PostTurn {
    _turn: OwnedSemaphorePermit,
    turns: Arc<PostTurns>,
    has_data: bool,
}

impl PostTurn {
    /// The next part of the data.
    pub(crate) fn data(&mut self, bytes: Bytes) -> PostedData {
        let is_first = !std::mem::replace(&mut self.has_data, true);
        PostedData { bytes, follows_incomplete: is_first && self.turns.is_incomplete.swap(true, Ordering::Relaxed) }
    }

    /// All data of the request was sent. Without this call the request has broken off, for example because its handler was
    /// dropped with the socket.
    pub(crate) fn complete(self) {
        if self.has_data {
            self.turns.is_incomplete.store(false, Ordering::Relaxed);
        }
    }
}

/// Asks for the turn of a request that carries data to the connection. The data follows as [`PostedData`].
#[derive(Debug, Message)]
#[rtype(result = "Result<PostTurn, PostError>")]
pub(crate) struct BeginPost;

/// Data in the body of a request, in the turn of that request. The answer means that the connection has taken it and is
/// ready for more.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), PostError>")]
pub(crate) struct PostedData {
    bytes: Bytes,
    /// It is the first data after a request that has broken off.
    follows_incomplete: bool,
}

/// Why a request with data fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PostError {
    /// The client sends its data over a WebSocket.
    WebSocket,
    /// The connection has ended.
    Ended,
    /// The connection has ended while the request waited.
    EndedMeanwhile,
}

impl<D: Dialect> Handler<BeginPost> for Connection<D> {
    type Result = LocalBoxFuture<'static, Result<PostTurn, PostError>>;

    fn handle(&mut self, _: BeginPost, _: &mut Self::Context) -> Self::Result {
        if let Err(error) = self.check_post() {
            return Box::pin(ready(Err(error)));
        }
        let turns = Arc::clone(self.post_turns.get_or_insert_with(PostTurns::new));
        let turn = Arc::clone(&turns.semaphore).acquire_owned();
        Box::pin(turn.map(|turn| {
            let turn = turn.map_err(|_| PostError::EndedMeanwhile)?;
            Ok(PostTurn { _turn: turn, turns, has_data: false })
        }))
    }
}

impl<D: Dialect> Handler<PostedData> for Connection<D> {
    type Result = LocalBoxFuture<'static, Result<(), PostError>>;

    fn handle(&mut self, posted: PostedData, ctx: &mut Self::Context) -> Self::Result {
        if let Err(error) = self.check_post() {
            return Box::pin(ready(Err(error)));
        }
        let PostedData { bytes, follows_incomplete } = posted;
        if follows_incomplete {
            self.handle_event(Event::PostBrokenOff, ctx);
        }
        self.handle_event(Event::Posted(bytes), ctx);
        if self.state.has_ended() || !self.session.is_saturated() {
            return Box::pin(ready(Ok(())));
        }
        let (paused, resumed) = oneshot::channel();
        self.paused_posts.push(paused);
        // The sender is dropped if the connection has ended.
        Box::pin(resumed.map(|resumed| resumed.map_err(|_| PostError::EndedMeanwhile)))
    }
}

impl<D: Dialect> Connection<D> {
    fn check_post(&self) -> Result<(), PostError> {
        match self.channels.transport() {
            _ if self.state.has_ended() && !self.waits_for_polls => Err(PostError::Ended),
            Some(Transport::WebSockets) => Err(PostError::WebSocket),
            Some(_) | None => Ok(()),
        }
    }

    /// Lets requests with data go on, or fails them because the connection has ended.
    pub(super) fn resume_posts(&mut self) {
        let paused = std::mem::take(&mut self.paused_posts);
        if !self.state.has_ended() || self.waits_for_polls {
            // The request may have been cancelled.
            for paused in paused {
                let _ = paused.send(());
            }
        }
    }
}

/// A request of the client that opens no channel. A connection that has ended drops it, and with it the sender of its
/// response.
#[derive(Debug)]
pub(crate) struct ClientRequest<D: Dialect>(pub(crate) D::Request);

impl<D: Dialect> Message for ClientRequest<D> {
    type Result = ();
}

impl<D: Dialect> Handler<ClientRequest<D>> for Connection<D> {
    type Result = ();

    fn handle(&mut self, ClientRequest(request): ClientRequest<D>, ctx: &mut Self::Context) {
        self.handle_event(Event::Request(request), ctx);
    }
}

impl<D: Dialect> Connection<D> {
    /// Checks after the send timeout whether the client has taken any queued message on this channel. If it has not, it
    /// has stalled; if messages are still queued, the check is repeated.
    pub(super) fn watch_progress(&mut self, ctx: &mut Context<Self>) {
        let (before, timeout) = (self.state.handle().outbox.progress(), self.session.send_timeout());
        let check = ctx.run_later(timeout, move |this, ctx| {
            this.progress_check = None;
            match this.state.handle().outbox.progress() {
                None => {}
                now if now == before => this.handle_event(Event::Stalled, ctx),
                _ => this.watch_progress(ctx),
            }
        });
        if let Some(earlier) = self.progress_check.replace(check) {
            ctx.cancel_future(earlier);
        }
    }
}

/// Events of a channel that was replaced are ignored.
impl<D: Dialect> Connection<D> {
    pub(super) fn on_channel_closed(&mut self, number: u32, event: Event<D>, ctx: &mut Context<Self>) {
        if let Some(channel) = self.channels.close(number) {
            self.on_channel_gone(channel, event, ctx);
        }
    }

    pub(super) fn on_detached(&mut self, number: u32, ctx: &mut Context<Self>) {
        let Some(detached) = self.channels.detach(number) else { return };
        // The TCP connection may carry another request next.
        self.socket = None;
        if detached.was_open {
            self.on_channel_gone(detached.channel, Event::Detached, ctx);
        }
        if self.state.has_ended() {
            self.stop_after_channel(ctx);
        }
    }

    fn on_channel_gone(&mut self, channel: Channel, event: Event<D>, ctx: &mut Context<Self>) {
        let time = self.session.time_without_channel(Some(channel.transport));
        self.channels.expire_at(time.map(|time| Instant::now() + time));
        self.handle_event(event, ctx);
    }
}
