//! The limit of file descriptors of the process, and how many sockets of clients it allows.
//!
//! Without a descriptor the process could neither accept a probe of its health nor open its database, and an
//! orchestrator would kill it. Clients therefore never get the last ones.

use std::num::NonZeroUsize;

use log::{info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but clients: listeners, the admin interface, the database, files and refused clients.
const RESERVED: usize = 192;

/// Descriptors that each thread needs besides.
const RESERVED_PER_WORKER: usize = 8;

/// Raises the limit of file descriptors as far as the process may. Returns the number of client sockets that it allows.
pub(super) fn raise_limit(workers: NonZeroUsize) -> NonZeroUsize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(error:% = error; "cannot raise the limit of file descriptors");
    }
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(usize::MAX);
    let sockets = max_sockets(limit, workers);
    info!(descriptors = limit, client_sockets = sockets.get(); "limit of file descriptors");
    sockets
}

/// The number of client sockets for a limit of descriptors. Each takes one. A low limit is shared in halves.
fn max_sockets(limit: usize, workers: NonZeroUsize) -> NonZeroUsize {
    let reserved = (RESERVED + RESERVED_PER_WORKER * workers.get()).min(limit / 2);
    NonZeroUsize::new(limit - reserved).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_not_reserved() {
        for (limit, workers, sockets) in
            [(20_000, 2, 19_792), (1_024, 2, 816), (256, 2, 128), (64, 8, 32), (3, 1, 2), (0, 1, 1)]
        {
            let workers = NonZeroUsize::new(workers).unwrap();
            assert_eq!(max_sockets(limit, workers).get(), sockets, "{limit} descriptors");
        }
        assert!(max_sockets(usize::MAX, NonZeroUsize::MIN).get() > usize::MAX / 4, "no limit");
    }

    #[test]
    fn limit_is_raised_to_the_maximum() {
        let sockets = raise_limit(NonZeroUsize::MIN);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        let limit = current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        assert_eq!(sockets, max_sockets(limit, NonZeroUsize::MIN));
    }
}
