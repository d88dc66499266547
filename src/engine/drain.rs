//! The order in which a drain sends clients away: in batches, so that they do not all connect to other nodes at the same
//! moment.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use crate::connections::{Command, Connections};

/// The least number of clients in a batch: so few are no load for another node, and a server with that many clients
/// stops at once.
const MIN_BATCH: usize = 10;

/// The shortest interval between two batches.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The size of the batches, and the interval from one to the next. The first batch is due at once.
#[derive(Debug, PartialEq, Eq)]
struct Batches {
    size: usize,
    interval: Duration,
}

impl Batches {
    /// Spreads clients evenly over a window.
    fn new(clients: usize, window: Duration) -> Self {
        let most = u32::try_from(window.as_millis() / MIN_INTERVAL.as_millis()).unwrap_or(u32::MAX);
        let wanted = u32::try_from(clients.div_ceil(MIN_BATCH)).unwrap_or(u32::MAX);
        let count = wanted.min(most).max(1);
        Self { size: clients.div_ceil(count as usize).max(1), interval: window / count }
    }
}

/// Asks every client to reconnect, and ends its connection. Returns when the last batch has been asked, or earlier if no
/// connection is left.
pub(super) async fn send_away(connections: &Connections, window: Duration) {
    let handles = connections.all();
    let batches = Batches::new(handles.len(), window);
    let mut due = Instant::now();
    for batch in handles.chunks(batches.size) {
        sleep_until(due).await;
        if connections.count() == 0 {
            return;
        }
        // A send fails only if the connection has ended.
        join_all(batch.iter().map(|handle| handle.commands.send(Command::Drain))).await;
        due += batches.interval;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::Ordering};

    use tokio::time::{advance, pause};

    use super::*;
    use crate::{
        Hub,
        hub::tests::{Stub, register, services},
    };

    const fn batches(size: usize, milliseconds: u64) -> Batches {
        Batches { size, interval: Duration::from_millis(milliseconds) }
    }

    #[test]
    fn batches_are_spread_evenly_over_the_window() {
        let window = Duration::from_secs(5);
        for (clients, expected) in [
            (0, batches(1, 5_000)),
            (10, batches(10, 5_000)),
            (11, batches(6, 2_500)),
            (100, batches(10, 500)),
            (500, batches(10, 100)),
            (100_000, batches(2_000, 100)),
        ] {
            assert_eq!(Batches::new(clients, window), expected, "{clients}");
        }
    }

    #[test]
    fn window_of_zero_is_a_single_batch() {
        assert_eq!(Batches::new(100_000, Duration::ZERO), batches(100_000, 0));
    }

    #[actix::test]
    async fn clients_are_sent_away_batch_by_batch() {
        let services = services(vec![Hub::new("chat")]);
        let stub = Stub::default();
        let ended = Arc::clone(&stub.0);
        for number in 0..100 {
            register(&services, "chat", &number.to_string(), None, Stub(Arc::clone(&ended)));
        }
        pause();
        let connections = services.connections.clone();
        let draining = actix::spawn(async move { send_away(&connections, Duration::from_secs(2)).await });
        for batch in 1..=10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(ended.load(Ordering::SeqCst), batch * 10);
            assert_eq!(draining.is_finished(), batch == 10);
            advance(Duration::from_millis(100)).await;
        }
    }

    #[actix::test]
    async fn drain_ends_with_the_last_connection() {
        let services = services(vec![Hub::new("chat")]);
        let handles: Vec<_> =
            (0..40).map(|number| register(&services, "chat", &number.to_string(), None, Stub::default())).collect();
        pause();
        let start = Instant::now();
        let connections = services.connections.clone();
        let draining = actix::spawn(async move { send_away(&connections, Duration::from_secs(60)).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        handles.iter().for_each(|handle| services.connections.unregister(handle));
        draining.await.unwrap();
        assert!((15..16).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }
}
