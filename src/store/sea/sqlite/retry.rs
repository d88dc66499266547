//! Retries of an operation that fails with "busy" instead of waiting, up to a time limit.
//!
//! Only [`SeaStore::connect`](crate::store::sea::SeaStore::connect) needs it; the methods of the store wait inside
//! SQLite. Other errors are not retried.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The delay between two attempts: about the time in which another process initializes a new database file.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Returns the result of the first attempt that is not busy, or of the last attempt when `timeout` is over.
pub(super) async fn retry_while_busy<T, E>(
    timeout: Duration,
    is_busy: impl Fn(&E) -> bool,
    attempt: impl AsyncFn() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + timeout;
    loop {
        match attempt().await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => sleep(RETRY_DELAY).await,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Runs an attempt that fails `failures` times with `error`. Returns the result and the number of attempts.
    async fn outcome(failures: u32, error: &'static str) -> (Result<(), &'static str>, u32) {
        let attempts = Cell::new(0);
        let attempt = async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() > failures { Ok(()) } else { Err(error) }
        };
        let result = retry_while_busy(RETRY_DELAY * 3, |error| *error == "busy", attempt).await;
        (result, attempts.get())
    }

    #[tokio::test(start_paused = true)]
    async fn busy_attempts_are_retried() {
        assert_eq!(outcome(0, "busy").await, (Ok(()), 1));
        assert_eq!(outcome(3, "busy").await, (Ok(()), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn busy_attempts_end_at_the_deadline() {
        assert_eq!(outcome(u32::MAX, "busy").await, (Err("busy"), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn other_errors_are_not_retried() {
        assert_eq!(outcome(1, "broken").await, (Err("broken"), 1));
    }
}
