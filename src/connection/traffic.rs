//! Input from channels and requests, the end of channels, and detection of clients that do not read.

use actix::prelude::*;
use tokio::{sync::oneshot, time::Instant};

use super::{Channel, Connection, Dialect, Event};
use crate::transport::Received;

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
    /// is too slow; if messages are still queued, the check is repeated.
    pub(super) fn watch_progress(&mut self, ctx: &mut Context<Self>) {
        let (before, timeout) = (self.state.handle().outbox.progress(), self.session.send_timeout());
        let check = ctx.run_later(timeout, move |this, ctx| {
            this.progress_check = None;
            match this.state.handle().outbox.progress() {
                None => {}
                now if now == before => this.handle_event(Event::Overflowed, ctx),
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
    pub(super) fn on_channel_closed(&mut self, number: u32, ctx: &mut Context<Self>) {
        if let Some(channel) = self.channels.close(number) {
            self.on_channel_gone(channel, ctx);
        }
    }

    pub(super) fn on_detached(&mut self, number: u32, ctx: &mut Context<Self>) {
        let Some(detached) = self.channels.detach(number) else { return };
        // The TCP connection may carry another request next.
        self.socket = None;
        if detached.was_open {
            self.on_channel_gone(detached.channel, ctx);
        }
        if self.state.has_ended() {
            ctx.stop();
        }
    }

    fn on_channel_gone(&mut self, channel: Channel, ctx: &mut Context<Self>) {
        let time = self.session.time_without_channel(Some(channel.transport));
        self.channels.expire_at(time.map(|time| Instant::now() + time));
        self.handle_event(Event::Detached, ctx);
    }
}
