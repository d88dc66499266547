//! The cleanup of a connection. It runs exactly once, on every exit path: the groups and the directory are left, the
//! end is counted, and OnDisconnected is run.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use actix::prelude::*;
use futures_util::future::FutureExt;

use super::ConnectionState;
use crate::{
    connection::{Ending, Reason, hooks},
    hub::{Disconnected, Hub},
    membership::LeaseUpdate,
    outbox::End,
};

/// Wire: 1011, internal error (RFC 6455 section 7.4.1).
const INTERNAL_ERROR: End = End::Close(1011);

/// Ends the connection when it is dropped, unless it has ended before: after a panic in the actor, or when the thread
/// stops.
pub(crate) struct CleanupGuard(pub(in crate::connection) ConnectionState);

impl Drop for CleanupGuard {
    fn drop(&mut self) {
        self.0.end(&Ending { reason: Reason::Crashed, error: None, end: INTERNAL_ERROR, waits_for_client: false });
    }
}

impl Deref for CleanupGuard {
    type Target = ConnectionState;

    fn deref(&self) -> &ConnectionState {
        &self.0
    }
}

impl DerefMut for CleanupGuard {
    fn deref_mut(&mut self) -> &mut ConnectionState {
        &mut self.0
    }
}

impl ConnectionState {
    /// Ends the connection. Only the first ending counts.
    pub(in crate::connection) fn end(&mut self, ending: &Ending) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.log_ended(ending);
        match ending.reason {
            Reason::TooSlow | Reason::Crashed => self.handle.outbox.discard_and_close(ending.end),
            _ => self.handle.outbox.finish(ending.end),
        }
        self.handle.ended().cancel();
        for key in self.memberships.all() {
            self.services.groups.leave_detached(key, &self.handle.id);
        }
        self.held_until_end = None;
        if self.is_registered {
            self.services.connections.unregister(&self.handle);
            self.send_lease_update(LeaseUpdate::closed(&self.handle, ending.reason.into()));
        }
        self.count_end(ending.reason);
        self.run_disconnected(ending);
    }

    fn count_end(&self, reason: Reason) {
        let metrics = &self.services.metrics;
        if self.is_connected {
            self.services.presence.disconnected(&self.handle);
            metrics.connections_closed.increment();
            let histogram = metrics.durations.connections(self.handle.info.transport(), reason.status());
            histogram.record(self.started_at.elapsed());
        } else if self.is_registered {
            self.services.presence.refused(&self.handle);
        }
        match reason {
            Reason::TooSlow => metrics.connections_evicted.increment(),
            Reason::TimedOut => metrics.connections_timed_out.increment(),
            Reason::Faulted => metrics.connections_faulted.increment(),
            _ => {}
        }
    }

    /// Runs OnDisconnected, but only if the client was admitted. If OnConnected is still running, it is awaited first.
    fn run_disconnected(&mut self, ending: &Ending) {
        let connect_outcome = match self.connect_outcome.take() {
            _ if self.is_connected => None,
            Some(connect_outcome) => Some(connect_outcome),
            None => return,
        };
        let error = ending.error.as_ref().map(|error| (error.kind().to_owned(), error.message().to_owned()));
        let is_stop = matches!(ending.reason, Reason::Stopped | Reason::Deleted);
        let disconnected = |hub: &Arc<Hub>| {
            (Arc::clone(hub), Disconnected { context: self.context(hub), error: error.clone(), is_stop })
        };
        let disconnects: Vec<_> = self.connected_hubs.iter().map(disconnected).collect();
        let (metrics, hub_tasks) = (Arc::clone(&self.services.metrics), self.services.drain.hub_tasks.token());
        if let Some(arbiter) = Arbiter::try_current() {
            arbiter.spawn_fn(move || {
                let disconnect = hooks::run_disconnected(disconnects, connect_outcome, metrics);
                drop(actix::spawn(disconnect.map(|()| drop(hub_tasks))));
            });
        }
    }
}
