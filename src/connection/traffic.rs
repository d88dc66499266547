//! What comes in over a channel, and whether its client takes what goes out.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{Connection, Dialect, Event};
use crate::transport::Received;

/// The answer to [`Received`]: at once, or when the session can take more.
pub(crate) enum ReceiveOutcome {
    Now,
    Later(oneshot::Receiver<()>),
}

impl<D: Dialect> actix::dev::MessageResponse<Connection<D>, Received> for ReceiveOutcome {
    fn handle(self, _: &mut Context<Connection<D>>, answer: Option<actix::dev::OneshotSender<()>>) {
        let Some(answer) = answer else { return };
        match self {
            Self::Now => drop(answer.send(())),
            Self::Later(ready) => drop(actix::spawn(async move {
                // A connection that has ended is as ready as it will ever be.
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
        self.drive(Event::Received(received), ctx);
        if self.state.has_ended() || !is_current || !self.session.is_saturated() {
            return ReceiveOutcome::Now;
        }
        let (held, ready) = oneshot::channel();
        self.held.push(held);
        ReceiveOutcome::Later(ready)
    }
}

impl<D: Dialect> Connection<D> {
    /// Looks after a while whether the client has taken anything of what waits for it on this channel.
    pub(super) fn watch_progress(&mut self, ctx: &mut Context<Self>) {
        let (before, timeout) = (self.state.handle().outbox.progress(), self.session.send_timeout());
        let watch = ctx.run_later(timeout, move |this, ctx| {
            this.watch = None;
            match this.state.handle().outbox.progress() {
                None => {}
                now if now == before => this.drive(Event::Overflowed, ctx),
                _ => this.watch_progress(ctx),
            }
        });
        if let Some(earlier) = self.watch.replace(watch) {
            ctx.cancel_future(earlier);
        }
    }
}
