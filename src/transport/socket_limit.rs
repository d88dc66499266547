//! The maximum number of client sockets, so that clients never take the last file descriptors of the process.
//!
//! Sockets beyond it are accepted, because a client learns only from an answer that it is refused. `web` answers their
//! first request.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::metrics::Metrics;

/// Counts the sockets of clients. Clones share the same count.
#[derive(Clone, Debug)]
pub(crate) struct SocketLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: NonZeroUsize,
    open: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// The place of one socket. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketPlace(Arc<Shared>);

/// Marks a socket beyond the limit, in the data of its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketRefused;

impl SocketLimit {
    pub(crate) fn new(max: NonZeroUsize, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared { max, open: AtomicUsize::new(0), metrics }))
    }

    /// Takes a place for a socket. `None` if all are taken; the socket is then counted as refused.
    pub(crate) fn take_place(&self) -> Option<SocketPlace> {
        let increment = |open| (open < self.0.max.get()).then_some(open + 1);
        let taken = self.0.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, increment);
        if taken.is_err() {
            self.0.metrics.sockets_refused.increment();
        }
        taken.is_ok().then(|| SocketPlace(Arc::clone(&self.0)))
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_free_again_when_dropped() {
        let limit = SocketLimit::new(NonZeroUsize::new(2).unwrap(), Arc::default());
        let (first, _second) = (limit.take_place().unwrap(), limit.take_place().unwrap());
        assert!(limit.take_place().is_none());
        drop(first);
        assert!(limit.take_place().is_some());
    }
}
