//! Keeps an actor alive: when it panics, another takes its place.
//!
//! Role: what actix's own supervisor does not do: that one restarts an actor which stops, but a panic
//! unwinds through it.
//! Life: started with the engine, on the thread that it is given; ends with that thread.
//! Neighbours: `groups`, `membership` and `pipeline` are built on it.
//! Never: it does not know what the actor does, and repeats only what its sender allows to be repeated.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{dev::ToEnvelope, prelude::*};
use log::error;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};

/// How long a caller waits for a successor. Starting one takes microseconds; more than this means that
/// the actor dies as soon as it lives.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first and the longest pause before a successor of an actor that died young.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An actor that lived this long is restarted at once.
const GROWN_UP: Duration = Duration::from_secs(10);

/// The actor died, and no successor could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an actor of the engine died while it was asked")]
pub(crate) struct Died;

/// The address of whichever incarnation of `A` is alive.
pub(crate) struct Supervised<A: Actor> {
    living: watch::Receiver<Option<Addr<A>>>,
    restarts: Arc<AtomicU64>,
}

impl<A: Actor> Clone for Supervised<A> {
    fn clone(&self) -> Self {
        Self { living: self.living.clone(), restarts: Arc::clone(&self.restarts) }
    }
}

impl<A: Actor> std::fmt::Debug for Supervised<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervised").field("restarts", &self.restarts).finish_non_exhaustive()
    }
}

impl<A: Actor<Context = Context<A>>> Supervised<A> {
    /// Starts the actor that `make` makes on `arbiter`, and again whenever it has panicked.
    pub(crate) fn start(name: &'static str, arbiter: &ArbiterHandle, make: impl Fn() -> A + Send + 'static) -> Self {
        let (lives, living) = watch::channel(None);
        let restarts = Arc::new(AtomicU64::new(0));
        arbiter.spawn(supervise(name, make, lives, Arc::clone(&restarts)));
        Self { living, restarts }
    }

    /// True once the thread has gone that the actor was started on: nobody starts it again.
    pub(crate) fn has_gone(&self) -> bool {
        self.living.has_changed().is_err()
    }

    /// How often the actor had to be started again.
    #[must_use]
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Asks the actor, and once more if it dies meanwhile: only for what may be done twice.
    ///
    /// # Errors
    /// [`Died`], when the second attempt fails as well or nobody is alive for 5 seconds.
    pub(crate) async fn send<M>(&self, message: M) -> Result<M::Result, Died>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        match self.send_once(message.clone()).await {
            Ok(result) => Ok(result),
            Err(Died) => self.send_once(message).await,
        }
    }

    /// Asks the actor; if it dies meanwhile, nobody knows whether it has done what was asked.
    ///
    /// # Errors
    /// [`Died`], when it dies before it answers or nobody is alive for 5 seconds.
    pub(crate) async fn send_once<M>(&self, message: M) -> Result<M::Result, Died>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        self.address().await?.send(message).await.map_err(|_| Died)
    }

    /// Like [`Supervised::send`], for a message that carries where its answer goes, since the actor answers
    /// later than it handles it.
    ///
    /// # Errors
    /// [`Died`], as there.
    pub(crate) async fn ask<M, T>(&self, message: impl Fn(oneshot::Sender<T>) -> M) -> Result<T, Died>
    where
        M: Message<Result = ()> + Send + 'static,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        match self.ask_once(&message).await {
            Ok(answer) => Ok(answer),
            Err(Died) => self.ask_once(&message).await,
        }
    }

    async fn ask_once<M, T>(&self, message: impl Fn(oneshot::Sender<T>) -> M) -> Result<T, Died>
    where
        M: Message<Result = ()> + Send + 'static,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let (answer, answered) = oneshot::channel();
        self.send_once(message(answer)).await?;
        answered.await.map_err(|_| Died)
    }

    async fn address(&self) -> Result<Addr<A>, Died> {
        let mut living = self.living.clone();
        let found = living.wait_for(|address| address.as_ref().is_some_and(Addr::connected));
        let address = timeout(PATIENCE, found).await.map_err(|_| Died)?.map_err(|_| Died)?;
        address.clone().ok_or(Died)
    }
}

async fn supervise<A: Actor<Context = Context<A>>>(
    name: &'static str,
    make: impl Fn() -> A,
    lives: watch::Sender<Option<Addr<A>>>,
    restarts: Arc<AtomicU64>,
) {
    let mut pause = Duration::ZERO;
    loop {
        let born = Instant::now();
        let (address, death) = live(make());
        lives.send_replace(Some(address));
        // The sender is dropped with the actor, and never used.
        let _ = death.await;
        restarts.fetch_add(1, Ordering::Relaxed);
        pause = if born.elapsed() > GROWN_UP { Duration::ZERO } else { (pause * 2).clamp(PAUSE, LONGEST_PAUSE) };
        error!(actor = name, restarts = restarts.load(Ordering::Relaxed); "actor died and is started again");
        sleep(pause).await;
    }
}

/// Starts an actor and answers its address and a receiver that fails when the actor is dropped, however
/// that comes about.
fn live<A: Actor<Context = Context<A>>>(actor: A) -> (Addr<A>, oneshot::Receiver<()>) {
    let (alive, death) = oneshot::channel::<()>();
    let address = A::create(move |ctx| {
        let pulse = async move {
            std::future::pending::<()>().await;
            drop(alive);
        };
        ctx.spawn(pulse.into_actor(&actor));
        actor
    });
    (address, death)
}

/// Tells an actor to panic, so that a test can see what its death does to others.
#[cfg(any(test, feature = "testkit"))]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Crash;

/// Lets `$actor` be killed by [`Crash`].
#[cfg(any(test, feature = "testkit"))]
macro_rules! may_crash {
    ($actor:ty) => {
        impl actix::Handler<crate::supervised::Crash> for $actor {
            type Result = ();

            fn handle(&mut self, _: crate::supervised::Crash, _: &mut Self::Context) {
                panic!("told to crash");
            }
        }
    };
}
#[cfg(any(test, feature = "testkit"))]
pub(crate) use may_crash;

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u32);

    impl Actor for Counter {
        type Context = Context<Self>;
    }

    #[derive(Clone, Message)]
    #[rtype(result = "u32")]
    struct Count;

    impl Handler<Count> for Counter {
        type Result = u32;

        fn handle(&mut self, _: Count, _: &mut Self::Context) -> u32 {
            self.0 += 1;
            self.0
        }
    }

    may_crash!(Counter);

    #[actix::test]
    async fn an_actor_that_panics_is_replaced_by_a_fresh_one() {
        let counter = Supervised::start("counter", &Arbiter::current(), || Counter(0));
        assert_eq!(counter.send(Count).await, Ok(1));
        assert_eq!(counter.send(Count).await, Ok(2));
        for crashes in 1..=3 {
            assert_eq!(counter.send_once(Crash).await, Err(Died));
            assert_eq!(counter.send(Count).await, Ok(1), "a fresh one counts from the start");
            assert_eq!(counter.restarts(), crashes);
        }
    }

    #[actix::test]
    async fn whoever_waits_for_an_actor_that_keeps_dying_is_told_so() {
        let counter = Supervised::start("counter", &Arbiter::current(), || Counter(0));
        assert_eq!(counter.send(Crash).await, Err(Died), "it died on both attempts");
        assert_eq!(counter.send(Count).await, Ok(1));
    }
}
