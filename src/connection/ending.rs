//! The end of a connection, and what its client may still request afterwards.

use std::time::Duration;

use actix::prelude::*;

use super::{Connection, Dialect, Ending, Reason};
use crate::transport::Transport;

/// The time that a client has to answer a close before its socket is closed anyway. Wire: as ASP.NET Core servers.
pub(super) const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The same while the process drains: a client that does not answer must not delay the stop of the process.
pub(super) const DRAIN_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl<D: Dialect> Connection<D> {
    /// Ends the connection. The actor lives until its channel has detached, at most [`CLOSE_HANDSHAKE_TIMEOUT`], or
    /// [`DRAIN_CLOSE_TIMEOUT`] while the process drains. Without a channel it stops at once, unless polls may follow.
    pub(super) fn end(&mut self, ending: &Ending, ctx: &mut Context<Self>) {
        if ending.reason == Reason::TooSlow {
            self.close_socket();
        }
        self.pending_ops.clear();
        self.state.end(ending);
        self.waits_for_polls = ending.waits_for_client && self.channels.transport().is_some_and(Transport::is_poll);
        if let Some(turns) = self.post_turns.as_ref().filter(|_| !self.waits_for_polls) {
            turns.close();
        }
        if !self.waits_for_polls && !self.channels.has_transport() {
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
        between_polls.filter(|_| self.waits_for_polls).unwrap_or(CLOSE_HANDSHAKE_TIMEOUT)
    }

    /// The channel of an ended connection has gone. The actor stops, unless polls may follow.
    pub(super) fn stop_after_channel(&self, ctx: &mut Context<Self>) {
        if !self.waits_for_polls || self.state.handle().outbox.is_end_delivered() {
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
