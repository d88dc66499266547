//! Calls to the store with deadlines, and replies to the requesters within theirs.

use std::{collections::VecDeque, pin::pin, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{Load, Reply, Write};
use crate::{
    ids::GroupName,
    store::{self, Answer, Change, DynMembershipStore, Error},
};

/// The pause before a call is repeated that found the store unavailable.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A request that is given up if it is not done by its deadline.
pub(super) struct WithDeadline<T> {
    pub(super) deadline: Instant,
    pub(super) value: T,
}

/// Loads a batch with one query. Returns the answers, and the number of failed loads. A load whose deadline is over before
/// the query has a result is answered here.
///
/// Invariant: the deadlines of the batch are in order.
pub(super) async fn query_loads(
    store: &dyn DynMembershipStore,
    batch: Vec<WithDeadline<Load>>,
) -> (Vec<Answer<Result<Vec<GroupName>, Error>>>, u64) {
    let Some(latest) = batch.last().map(|load| load.deadline) else { return (Vec::new(), 0) };
    let (owners, mut waiting): (Vec<_>, VecDeque<_>) = batch
        .into_iter()
        .map(|WithDeadline { deadline, value }| (value.owner, WithDeadline { deadline, value: value.answer }))
        .unzip();
    let total = owners.len();
    let mut query = pin!(retry_until(latest, || store.groups_of(&owners)));
    let result = loop {
        let Some(earliest) = waiting.front().map(|answer| answer.deadline) else {
            return (Vec::new(), total as u64);
        };
        select! {
            biased;
            result = &mut query => break result,
            () = sleep_until(earliest) => {
                waiting.pop_front().into_iter().for_each(|late| send_reply(late.value, Err(Error::timed_out())));
            }
        }
    };
    let expired = total - waiting.len();
    let failed = if result.is_err() { total } else { expired };
    let results: Vec<_> = match result {
        Ok(groups) => groups.into_iter().skip(expired).map(Ok).collect(),
        Err(error) => vec![Err(error); waiting.len()],
    };
    let answer = |(WithDeadline { deadline, value: to }, value)| Answer { value, to, deadline };
    (waiting.into_iter().zip(results).map(answer).collect(), failed as u64)
}

/// Writes a batch of requests in one transaction, and answers each by its deadline. Returns the number of failed changes.
///
/// At a deadline, the call of the store is dropped, which takes the change back, and the rest is written again.
pub(super) async fn write_changes(store: &dyn DynMembershipStore, mut batch: Vec<WithDeadline<Write>>) -> u64 {
    let (mut failed, mut last) = (0, Error::timed_out());
    while let Some(earliest) = batch.iter().map(|write| write.deadline).min() {
        let changes: Vec<_> = batch.iter().flat_map(|write| &write.value.changes).cloned().collect();
        match timeout_at(earliest, store.apply(&changes)).await {
            Ok(Ok(effects)) => {
                send_effects(batch, effects);
                return failed;
            }
            Ok(Err(error @ Error::Unavailable(_))) => {
                last = error;
                sleep_until(earliest.min(Instant::now() + RETRY_PAUSE)).await;
            }
            Ok(Err(error)) => return failed + give_up_or_split(store, batch, error).await,
            Err(_) => {}
        }
        failed += fail_expired(&mut batch, &last);
    }
    failed
}

/// Answers each write with the effects of its changes.
fn send_effects(batch: Vec<WithDeadline<Write>>, effects: Vec<Change>) {
    let mut effects = effects.into_iter();
    for Write { changes, answer } in batch.into_iter().map(|write| write.value) {
        let own = Vec::from_iter(effects.by_ref().take(changes.len()));
        let is_complete = own.len() == changes.len();
        send_reply(answer, if is_complete { Ok(own) } else { Err(Error::missing_effect()) });
    }
}

/// A store that cannot carry out one change of a batch refuses the whole batch. The others must not fail with it.
async fn give_up_or_split(store: &dyn DynMembershipStore, batch: Vec<WithDeadline<Write>>, error: Error) -> u64 {
    if let [_] = &*batch {
        batch.into_iter().for_each(|write| send_reply(write.value.answer, Err(error.clone())));
        return 1;
    }
    let mut failed = 0;
    for write in batch {
        failed += Box::pin(write_changes(store, vec![write])).await;
    }
    failed
}

fn fail_expired(batch: &mut Vec<WithDeadline<Write>>, error: &Error) -> u64 {
    let now = Instant::now();
    let expired: Vec<_> = batch.extract_if(.., |write| write.deadline <= now).collect();
    let failed = expired.len() as u64;
    expired.into_iter().for_each(|write| send_reply(write.value.answer, Err(error.clone())));
    failed
}

pub(super) fn send_reply<T>(answer: Reply<T>, result: Result<T, Error>) {
    // The requester may be gone, for example a connection that has ended.
    let _ = answer.send(result);
}

/// Awaits a call to the store until `deadline`.
pub(super) async fn call_once<T>(deadline: Instant, call: store::StoreFuture<'_, T>) -> Result<T, Error> {
    timeout_at(deadline, call).await.unwrap_or_else(|_| Err(Error::timed_out()))
}

/// Repeats a call to the store while the store is unavailable, until `deadline`.
pub(super) async fn retry_until<'a, T: 'a>(
    deadline: Instant,
    call: impl Fn() -> store::StoreFuture<'a, T>,
) -> Result<T, Error> {
    let mut last = Error::timed_out();
    loop {
        match timeout_at(deadline, call()).await {
            Err(_) => return Err(last),
            Ok(Err(Error::Unavailable(why))) => last = Error::Unavailable(why),
            Ok(answer) => return answer,
        }
        if timeout_at(deadline, sleep(RETRY_PAUSE)).await.is_err() {
            return Err(last);
        }
    }
}
