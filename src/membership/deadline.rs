//! Asking the store within a time, and answering whoever waits within theirs.

use std::{collections::VecDeque, pin::pin, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{Load, Reply};
use crate::store::{self, DynStore, Error};

/// The pause before the store is asked again that was unavailable.
const PAUSE: Duration = Duration::from_millis(100);

/// What is to be done before a moment, or given up.
///
/// Invariant: of two that wait, the later one may wait longer. Since each is given up in its time, none
/// waits for another beyond its own.
pub(super) struct WithDeadline<T> {
    pub(super) by: Instant,
    pub(super) what: T,
}

/// Answers a batch of questions with one query, each in its time, and tells how many could not be answered.
pub(super) async fn answer_loads(store: &dyn DynStore, batch: Vec<WithDeadline<Load>>) -> u64 {
    let Some(latest) = batch.last().map(|load| load.by) else { return 0 };
    let (owners, mut waiting): (Vec<_>, VecDeque<_>) =
        batch.into_iter().map(|WithDeadline { by, what }| (what.owner, WithDeadline { by, what: what.answer })).unzip();
    let asked = owners.len();
    let mut query = pin!(insist(latest, || store.groups_of(&owners)));
    let result = loop {
        let Some(first) = waiting.front().map(|answer| answer.by) else { return asked as u64 };
        select! {
            biased;
            result = &mut query => break result,
            () = sleep_until(first) => waiting.pop_front().into_iter().for_each(|late| tell(late.what, Err(Error::no_answer()))),
        }
    };
    let expired = asked - waiting.len();
    let failed = if result.is_err() { asked } else { expired };
    let each: Vec<_> = match result {
        Ok(groups) => groups.into_iter().skip(expired).map(Ok).collect(),
        Err(error) => vec![Err(error); waiting.len()],
    };
    waiting.into_iter().zip(each).for_each(|(answer, groups)| tell(answer.what, groups));
    failed as u64
}

pub(super) fn tell<T>(answer: Reply<T>, result: Result<T, Error>) {
    // Whoever asked may have gone, as a connection that has ended.
    let _ = answer.send(result);
}

/// Asks once.
pub(super) async fn once<T>(by: Instant, asked: store::StoreFuture<'_, T>) -> Result<T, Error> {
    timeout_at(by, asked).await.unwrap_or_else(|_| Err(Error::no_answer()))
}

/// Asks until the store answers, but not beyond `by`.
pub(super) async fn insist<'a, T: 'a>(by: Instant, ask: impl Fn() -> store::StoreFuture<'a, T>) -> Result<T, Error> {
    let mut last = Error::no_answer();
    loop {
        match timeout_at(by, ask()).await {
            Err(_) => return Err(last),
            Ok(Err(Error::Unavailable(why))) => last = Error::Unavailable(why),
            Ok(answer) => return answer,
        }
        if timeout_at(by, sleep(PAUSE)).await.is_err() {
            return Err(last);
        }
    }
}
