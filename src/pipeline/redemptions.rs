//! Redemptions of rejoin tokens on their way to the store, in batches.
//!
//! Redemptions that arrive while a call of the store runs share the next call, so a storm of reconnects costs a few calls
//! instead of one for each client. Clones share the queue, which outlives the actor.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    metrics::Metrics,
    store::{Answer, BackgroundQueue, BatchPacing, Error, QueueWorker, Redeemed, Redemption, StoreHandle, send_spread},
};

/// The maximum number of tokens in one call.
const MAX_BATCH: usize = 1_000;

/// The maximum number of tokens in one call that need a stored list, since each list can have 256 KiB.
const MAX_LISTS: usize = 64;

/// The maximum number of redemptions that wait for a call. Further ones fail at once.
const MAX_WAITING: usize = 100_000;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Redemptions {
    store: StoreHandle,
    queue: BackgroundQueue<Queue>,
    metrics: Arc<Metrics>,
}

struct Queue {
    waiting: VecDeque<Waiting>,
    pacing: BatchPacing,
}

struct Waiting {
    redemption: Redemption,
    requester: Requester,
}

/// The caller of [`Redemptions::redeem`].
struct Requester {
    to: oneshot::Sender<Result<Redeemed, Error>>,
    /// The latest time to send an answer that exists.
    answer_by: Instant,
}

impl Requester {
    fn answer(self, value: Result<Redeemed, Error>) -> Answer<Result<Redeemed, Error>> {
        Answer { value, to: self.to, deadline: self.answer_by }
    }
}

impl Queue {
    fn push(&mut self, waiting: Waiting) -> Result<(), Error> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(Error::Unavailable(format!("{MAX_WAITING} rejoin tokens are waiting for it")));
        }
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// The time until the next call; `None` if nothing waits.
    fn pause(&self, now: Instant) -> Option<Duration> {
        (!self.waiting.is_empty()).then(|| self.pacing.pause(now, self.waiting.len()))
    }

    fn take_batch(&mut self, now: Instant) -> Vec<Waiting> {
        let mut lists = 0;
        let has_room = |waiting: &&Waiting| {
            lists += usize::from(waiting.redemption.list_of.is_some());
            lists <= MAX_LISTS
        };
        let count = self.waiting.iter().take(MAX_BATCH).take_while(has_room).count();
        let batch: Vec<_> = self.waiting.drain(..count).filter(|waiting| !waiting.requester.to.is_closed()).collect();
        self.pacing.record(now, batch.len());
        batch
    }
}

impl Redemptions {
    pub(crate) fn new(store: StoreHandle, metrics: Arc<Metrics>) -> Self {
        let pacing = BatchPacing::new(store.deadline(), MAX_BATCH);
        Self { store, queue: BackgroundQueue::new(Queue { waiting: VecDeque::new(), pacing }), metrics }
    }

    /// The time limit of [`Redemptions::redeem`].
    pub(super) fn time_limit(&self) -> Duration {
        self.store.deadline()
    }

    /// Redeems a token. If the caller gives up while the redemption waits, the token is not used.
    ///
    /// # Errors
    /// Those of the store, and [`Error::Unavailable`] if it does not answer before its deadline.
    pub(super) async fn redeem(&self, redemption: Redemption) -> Result<Redeemed, Error> {
        let (to, redeemed) = oneshot::channel();
        let (now, time_limit) = (Instant::now(), self.store.deadline());
        // Order: the answer is sent before the caller gives up. A token whose answer is lost is used.
        let (answer_by, deadline) = (now + time_limit / 10 * 9, now + time_limit);
        let waiting = Waiting { redemption, requester: Requester { to, answer_by } };
        if let Some(worker) = self.queue.add(|queue| queue.push(waiting))? {
            actix::spawn(self.clone().run(worker));
        }
        match timeout_at(deadline, redeemed).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(Error::Unavailable("the call has crashed".into()))),
            Err(_) => Err(Error::timed_out()),
        }
    }

    /// Makes calls until no redemption waits.
    async fn run(self, mut worker: QueueWorker<Queue>) {
        while let Some(pause) = worker.next(|queue| queue.pause(Instant::now())) {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let batch = self.queue.with(|queue| queue.take_batch(Instant::now()));
            let this = self.clone();
            // A panic of the store drops the answers of its batch only.
            let _ = actix::spawn(async move { this.answer(batch).await }).await;
        }
    }

    /// Redeems the tokens of a batch by one call. A store that does not support a value of one token refuses the whole
    /// batch; then each token has a call of its own.
    async fn answer(&self, batch: Vec<Waiting>) {
        let (redemptions, requesters): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.redemption, waiting.requester)).unzip();
        let answers: Vec<_> = match self.call(&redemptions).await {
            Err(Error::Unsupported(_) | Error::Corrupt(_)) if redemptions.len() > 1 => {
                return self.answer_each(&redemptions, requesters).await;
            }
            Ok(redeemed) => {
                let mut redeemed = redeemed.into_iter();
                let answer =
                    |requester: Requester| requester.answer(redeemed.next().ok_or_else(Error::missing_verdict));
                requesters.into_iter().map(answer).collect()
            }
            Err(error) => requesters.into_iter().map(|requester| requester.answer(Err(error.clone()))).collect(),
        };
        // The next call does not wait for it.
        actix::spawn(send_spread(answers));
    }

    async fn answer_each(&self, redemptions: &[Redemption], requesters: Vec<Requester>) {
        let waiting = redemptions.iter().zip(requesters).filter(|(_, requester)| !requester.to.is_closed());
        for (redemption, requester) in waiting {
            let redeemed = self.call(std::slice::from_ref(redemption)).await;
            let redeemed = redeemed.and_then(|redeemed| redeemed.into_iter().next().ok_or_else(Error::missing_verdict));
            // The caller may have given up meanwhile.
            let _ = requester.to.send(redeemed);
        }
    }

    async fn call(&self, redemptions: &[Redemption]) -> Result<Vec<Redeemed>, Error> {
        match redemptions {
            [] => Ok(Vec::new()),
            _ => {
                self.metrics.store_redemptions.increment();
                self.store.call(|store| store.tokens.redeem_all(redemptions)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use futures_util::future::join_all;
    use tokio::{join, time::timeout};

    use super::*;
    use crate::store::{
        Holder, StoreParts, TokenUse, Verdict,
        faulty::{FaultMode, FaultyStore},
        memory::MemoryStore,
    };

    const DEADLINE: Duration = Duration::from_secs(5);

    type Store = Arc<FaultyStore<MemoryStore>>;

    fn redemptions() -> (Store, Redemptions) {
        let store = Arc::new(FaultyStore::new(MemoryStore::default()));
        let handle = StoreHandle::new(StoreParts::of(Arc::clone(&store)), DEADLINE);
        (store, Redemptions::new(handle, Arc::default()))
    }

    fn token(family: &str) -> Redemption {
        let now = SystemTime::now();
        let holder = Holder { connection: family.into(), node: "alpha".into() };
        let token_use = TokenUse { family: family.into(), epoch: 1, expires_at: now + DEADLINE, holder, ended: None };
        Redemption { user: None, issued_at: now, groups: Vec::new(), list_of: None, single_use: Some(token_use) }
    }

    async fn verdict(redemptions: &Redemptions, family: &str) -> Result<Verdict, Error> {
        redemptions.redeem(token(family)).await.map(|redeemed| redeemed.verdict)
    }

    #[actix::test]
    async fn tokens_of_a_storm_share_calls() {
        tokio::time::pause();
        let (store, redemptions) = redemptions();
        let families: Vec<_> = (0..2_500).map(|number| number.to_string()).collect();
        let verdicts = join_all(families.iter().map(|family| verdict(&redemptions, family))).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Ok(Verdict::Accepted))));
        assert_eq!(store.calls().len(), 3, "of at most 1,000 tokens");
    }

    #[actix::test]
    async fn concurrent_uses_of_a_token_in_a_batch_accept_one() {
        let (store, redemptions) = redemptions();
        let verdicts = join_all((0..8).map(|_| verdict(&redemptions, "f"))).await;
        let accepted = verdicts.iter().filter(|verdict| matches!(verdict, Ok(Verdict::Accepted)));
        assert_eq!((accepted.count(), store.calls().len()), (1, 1));
    }

    #[actix::test]
    async fn abandoned_redemption_does_not_use_its_token() {
        tokio::time::pause();
        let (store, redemptions) = redemptions();
        store.set_mode(FaultMode::Hold);
        let abandoned = async {
            store.wait_for_calls(1).await;
            assert!(timeout(Duration::from_millis(1), redemptions.redeem(token("late"))).await.is_err());
            store.set_mode(FaultMode::None);
        };
        let (first, ()) = join!(verdict(&redemptions, "first"), abandoned);
        assert!(matches!(first, Ok(Verdict::Accepted)));
        assert!(matches!(verdict(&redemptions, "late").await, Ok(Verdict::Accepted)), "it is unused");
    }

    /// All of them at once, although answers are spread otherwise.
    #[actix::test]
    async fn answers_late_in_the_time_limit_arrive() {
        tokio::time::pause();
        let (store, redemptions) = redemptions();
        store.set_mode(FaultMode::Hold);
        let families: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
        let release = async {
            sleep(DEADLINE - Duration::from_millis(10)).await;
            store.set_mode(FaultMode::None);
        };
        let (first, all, ()) = join!(
            verdict(&redemptions, "first"),
            join_all(families.iter().map(|family| verdict(&redemptions, family))),
            release
        );
        let accepted = |verdict: &Result<Verdict, Error>| matches!(verdict, Ok(Verdict::Accepted));
        assert!(accepted(&first) && all.iter().all(accepted), "{:?}", all.iter().find(|verdict| !accepted(verdict)));
    }

    #[actix::test]
    async fn silent_store_fails_redemptions_at_their_deadline() {
        tokio::time::pause();
        let (store, redemptions) = redemptions();
        store.set_mode(FaultMode::Hold);
        let start = Instant::now();
        let late = async {
            store.wait_for_calls(1).await;
            verdict(&redemptions, "second").await
        };
        let failed = join!(verdict(&redemptions, "first"), late);
        assert!(matches!(failed, (Err(Error::Unavailable(_)), Err(Error::Unavailable(_)))), "{failed:?}");
        assert!(start.elapsed() < DEADLINE * 2, "{:?}", start.elapsed());
        store.set_mode(FaultMode::None);
        assert!(matches!(verdict(&redemptions, "third").await, Ok(Verdict::Accepted)));
    }
}
