//! Input from channels, and detection of clients that do not read.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{Connection, Dialect, Event};
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

    fn handle(&mut self, received: Received, ctx: &mut Self::Context) -> ReceiveOutcome {
        let is_current = self.is_current(received.channel);
        self.handle_event(Event::Received(received), ctx);
        if self.state.has_ended() || !is_current || !self.session.is_saturated() {
            return ReceiveOutcome::Now;
        }
        let (paused, ready) = oneshot::channel();
        self.paused_reads.push(paused);
        ReceiveOutcome::WhenReady(ready)
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
