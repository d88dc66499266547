//! The end of a connection, and what its client may still request afterwards.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Connection, Dialect, Ending, Reason};
use crate::transport::Transport;

/// The time that a client has to answer a close before its socket is closed anyway. Wire: as ASP.NET Core servers.
pub(super) const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The same while the process drains: a client that does not answer must not delay the stop of the process.
pub(super) const DRAIN_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The maximum number of connections of the process that are [`AfterEnd::Posts`]. Beyond it, requests of a refused
/// client can fail before it has read the reason.
const MAX_REFUSED: usize = 1_000;

static REFUSED: Semaphore = Semaphore::const_new(MAX_REFUSED);

/// What an ended connection still takes from its client.
#[derive(Debug)]
pub(super) enum AfterEnd {
    /// Nothing. The actor stops with the channel.
    Nothing,
    /// Polls, which fetch what is still queued, and posted data, which is ignored.
    Polls,
    /// Posted data, which is ignored. A client that is refused over an event stream may send before it has read so.
    Posts(#[expect(dead_code, reason = "held until the actor stops")] SemaphorePermit<'static>),
}

impl AfterEnd {
    /// `transport` is that of the newest channel.
    fn of(ending: &Ending, transport: Option<Transport>, refused: &'static Semaphore) -> Self {
        match transport.filter(|_| ending.waits_for_client) {
            Some(transport) if transport.is_poll() => Self::Polls,
            Some(Transport::ServerSentEvents) if ending.reason == Reason::Refused => {
                refused.try_acquire().map_or(Self::Nothing, Self::Posts)
            }
            _ => Self::Nothing,
        }
    }

    pub(super) fn takes_polls(&self) -> bool {
        matches!(self, Self::Polls)
    }

    pub(super) fn takes_posts(&self) -> bool {
        matches!(self, Self::Polls | Self::Posts(_))
    }
}

impl<D: Dialect> Connection<D> {
    /// Ends the connection. The actor lives until its channel has detached, at most [`CLOSE_HANDSHAKE_TIMEOUT`], or
    /// [`DRAIN_CLOSE_TIMEOUT`] while the process drains. Without a channel it stops at once, unless requests may follow.
    pub(super) fn end(&mut self, ending: &Ending, ctx: &mut Context<Self>) {
        if ending.reason == Reason::TooSlow {
            self.close_socket();
        }
        self.pending_ops.clear();
        self.cancel_streams(ctx);
        self.state.end(ending);
        self.after_end = AfterEnd::of(ending, self.channels.transport(), &REFUSED);
        if let Some(turns) = self.post_turns.as_ref().filter(|_| !self.after_end.takes_posts()) {
            turns.close();
        }
        if !self.after_end.takes_polls() && !self.channels.has_transport() {
            return self.terminate(ctx);
        }
        ctx.run_later(self.time_to_stop(), |this, ctx| this.terminate(ctx));
    }

    /// The longest time that the actor of an ended connection lives.
    fn time_to_stop(&self) -> Duration {
        if self.state.services().drain.has_begun() {
            return DRAIN_CLOSE_TIMEOUT;
        }
        let between_polls = self.session.time_without_channel(self.channels.transport());
        between_polls.filter(|_| self.after_end.takes_polls()).unwrap_or(CLOSE_HANDSHAKE_TIMEOUT)
    }

    /// The channel of an ended connection has gone. The actor stops, unless requests may follow.
    pub(super) fn stop_after_channel(&self, ctx: &mut Context<Self>) {
        let may_stop = match self.after_end {
            AfterEnd::Nothing => true,
            AfterEnd::Polls => self.state.handle().outbox.is_end_delivered(),
            AfterEnd::Posts(_) => false,
        };
        if may_stop {
            ctx.stop();
        }
    }

    pub(super) fn close_socket(&self) {
        if let Some(socket) = &self.socket {
            socket.shut_down();
        }
    }

    fn terminate(&mut self, ctx: &mut Context<Self>) {
        self.close_socket();
        ctx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::End;

    fn after(reason: Reason, waits_for_client: bool, transport: Transport, refused: &'static Semaphore) -> AfterEnd {
        let ending = Ending { reason, error: None, end: End { code: 1000 }, waits_for_client };
        AfterEnd::of(&ending, Some(transport), refused)
    }

    #[test]
    fn only_waiting_http_clients_are_served() {
        static REFUSED: Semaphore = Semaphore::const_new(1);
        for (reason, waits_for_client, transport, takes) in [
            (Reason::Drained, true, Transport::LongPolling, (true, true)),
            (Reason::Refused, true, Transport::LongPolling, (true, true)),
            (Reason::Lost, false, Transport::LongPolling, (false, false)),
            (Reason::Refused, true, Transport::ServerSentEvents, (false, true)),
            (Reason::Drained, true, Transport::ServerSentEvents, (false, false)),
            (Reason::Refused, true, Transport::WebSockets, (false, false)),
        ] {
            let after = after(reason, waits_for_client, transport, &REFUSED);
            assert_eq!((after.takes_polls(), after.takes_posts()), takes, "{reason:?} {transport:?}");
        }
    }

    #[test]
    fn number_of_refused_clients_is_limited() {
        static REFUSED: Semaphore = Semaphore::const_new(1);
        let end = || after(Reason::Refused, true, Transport::ServerSentEvents, &REFUSED);
        let first = end();
        assert!(first.takes_posts() && !end().takes_posts());
        drop(first);
        assert!(end().takes_posts());
    }
}
