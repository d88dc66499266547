//! The answers to the requests that one call of a store serves, spread over time. All of them at once would wake hundreds
//! of clients on each thread, and the messages of established clients would wait behind them.

use std::{sync::LazyLock, thread::available_parallelism, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

/// The number of answers between two pauses, for each processor. So at least 1,000 clients of each processor get their
/// answers in a second, more than join their groups in that time.
const ANSWERS_PER_PROCESSOR: usize = 2;

/// The number of answers between two pauses. The number of processors is read once, because reading it takes several
/// system calls.
static ANSWERS_AT_ONCE: LazyLock<usize> =
    LazyLock::new(|| ANSWERS_PER_PROCESSOR * available_parallelism().map_or(1, usize::from));

/// The pause between answers. A timer of the runtime ends up to a millisecond late.
const PAUSE: Duration = Duration::from_millis(1);

/// An answer to one request.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) to: oneshot::Sender<T>,
    /// The latest time to send it.
    pub(crate) deadline: Instant,
}

/// Sends the answers in order, and each by its deadline. Answers whose requesters are gone are dropped.
pub(crate) async fn send_spread<T>(answers: impl IntoIterator<Item = Answer<T>>) {
    for (number, Answer { value, to, deadline }) in answers.into_iter().enumerate() {
        if number > 0 && number.is_multiple_of(*ANSWERS_AT_ONCE) {
            sleep_until(deadline.min(Instant::now() + PAUSE)).await;
        }
        let _ = to.send(value);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::join;

    use super::*;

    /// The delays of four times as many answers as are sent at once.
    async fn delays(time_left: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let deadline = start + time_left;
        let (answers, receivers): (Vec<_>, Vec<_>) = (0..4 * *ANSWERS_AT_ONCE)
            .map(|value| {
                let (to, receiver) = oneshot::channel();
                (Answer { value, to, deadline }, receiver)
            })
            .unzip();
        let receive = async |(number, receiver): (usize, oneshot::Receiver<usize>)| {
            assert_eq!(receiver.await, Ok(number));
            start.elapsed()
        };
        join!(send_spread(answers), join_all(receivers.into_iter().enumerate().map(receive))).1
    }

    #[tokio::test(start_paused = true)]
    async fn few_answers_are_sent_at_a_time() {
        let delays = delays(Duration::from_secs(1)).await;
        let mut times = delays.clone();
        times.dedup();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= PAUSE), "{times:?}");
        let counts = times.iter().map(|time| delays.iter().filter(|delay| *delay == time).count());
        assert_eq!(Vec::from_iter(counts), [*ANSWERS_AT_ONCE; 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_do_not_wait_beyond_their_deadline() {
        assert!(delays(Duration::ZERO).await.iter().all(Duration::is_zero));
    }
}
