//! Trying again what does not wait its turn by itself, for so long and no longer.
//!
//! Role: makes a refusal that would pass in a moment a wait.
//! Life: as long as the call.
//! Neighbours: only [`SeaStore::connect`](super::SeaStore::connect); the verbs wait inside SQLite.
//! Never: it does not know what it tries, nor try again what is broken.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two attempts: about as long as another process takes to turn a new file into a database.
const PAUSE: Duration = Duration::from_millis(10);

/// The answer of the first `attempt` that is not busy, or of the last before `patience` is at its end.
pub(super) async fn persist<T, E>(
    patience: Duration,
    is_busy: impl Fn(&E) -> bool,
    attempt: impl AsyncFn() -> Result<T, E>,
) -> Result<T, E> {
    let end = Instant::now() + patience;
    loop {
        match attempt().await {
            Err(error) if is_busy(&error) && Instant::now() < end => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Is busy so often before it succeeds, and answers what came of it at which attempt.
    async fn outcome(busy: u32, error: &'static str) -> (Result<(), &'static str>, u32) {
        let attempts = Cell::new(0);
        let attempt = async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() > busy { Ok(()) } else { Err(error) }
        };
        let answer = persist(PAUSE * 3, |error| *error == "busy", attempt).await;
        (answer, attempts.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_busy_is_tried_again() {
        assert_eq!(outcome(0, "busy").await, (Ok(()), 1));
        assert_eq!(outcome(3, "busy").await, (Ok(()), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_database_is_given_up_at_the_deadline() {
        assert_eq!(outcome(u32::MAX, "busy").await, (Err("busy"), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_broken_is_not_tried_again() {
        assert_eq!(outcome(1, "broken").await, (Err("broken"), 1));
    }
}
