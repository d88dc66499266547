//! Supervision of actors: replaces an actor that panics by a new one.
//!
//! The supervisor of actix restarts an actor that stops, but a panic unwinds through it. This module handles panics.
//! The shards of `groups`, the actor of `membership`, that of `pipeline` and the reconciler of hubs are supervised by it.
//!
//! A supervised actor starts on the arbiter that the caller passes, and ends with the thread of that arbiter. A message
//! is repeated after a panic only if its sender allows that.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{dev::ToEnvelope, prelude::*};
use log::error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};

/// The maximum time that a caller waits for a restart. A restart takes microseconds. A longer wait means that the actor
/// panics immediately after each start.
const RESTART_TIMEOUT: Duration = Duration::from_secs(5);

/// The bounds of the pause before a restart. The pause doubles with each restart.
const MIN_RESTART_BACKOFF: Duration = Duration::from_millis(10);
const MAX_RESTART_BACKOFF: Duration = Duration::from_secs(1);

/// An actor that has run longer than this is restarted at once.
const RESTART_BACKOFF_RESET: Duration = Duration::from_secs(10);

/// The actor died before it answered, and no restarted actor answered either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an actor of the engine died while it was asked")]
pub(crate) struct Died;

/// The maximum number of callers that ask at a time whether an actor lives. More of them wait.
const MAX_PROBES: usize = 16;

/// An incarnation of a supervised actor.
struct Incarnation<A: Actor> {
    address: Addr<A>,
    /// Each sender gets an answer if the actor lives, and is dropped with the actor.
    probes: mpsc::Sender<oneshot::Sender<()>>,
}

impl<A: Actor> Clone for Incarnation<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), probes: self.probes.clone() }
    }
}

impl<A: Actor> Incarnation<A> {
    /// The answer to a message. Without one, waits until the actor has died, or shows that it lives: its callers learn of a
    /// panic before its mailbox is closed, and it would lose a message that they send meanwhile.
    async fn settle<T>(&self, answer: Option<T>) -> Result<T, Died> {
        if answer.is_none() {
            let (probe, probed) = oneshot::channel();
            if self.probes.send(probe).await.is_ok() {
                // An error means that the actor has died.
                let _ = probed.await;
            }
        }
        answer.ok_or(Died)
    }
}

/// A handle to the current incarnation of a supervised actor.
pub(crate) struct Supervised<A: Actor> {
    current: watch::Receiver<Option<Incarnation<A>>>,
    restarts: Arc<AtomicU64>,
}

impl<A: Actor> Clone for Supervised<A> {
    fn clone(&self) -> Self {
        Self { current: self.current.clone(), restarts: Arc::clone(&self.restarts) }
    }
}

impl<A: Actor> std::fmt::Debug for Supervised<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervised").field("restarts", &self.restarts).finish_non_exhaustive()
    }
}

impl<A: Actor<Context = Context<A>>> Supervised<A> {
    /// Starts the actor that `make` creates on `arbiter`. Starts another each time it panics.
    pub(crate) fn start(name: &'static str, arbiter: &ArbiterHandle, make: impl Fn() -> A + Send + 'static) -> Self {
        let (publisher, current) = watch::channel(None);
        let restarts = Arc::new(AtomicU64::new(0));
        arbiter.spawn(supervise(name, make, publisher, Arc::clone(&restarts)));
        Self { current, restarts }
    }

    /// True once the thread of the actor has ended. Then the actor is not restarted.
    pub(crate) fn has_stopped(&self) -> bool {
        self.current.has_changed().is_err()
    }

    /// The number of restarts.
    #[must_use]
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Waits until the actor is restarted, from now on. Waits forever if its thread ends.
    pub(crate) async fn restarted(&self) {
        let (known, mut current) = (self.restarts(), self.current.clone());
        if current.wait_for(|_| self.restarts() > known).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Sends a message and awaits the answer. Sends it again if the actor dies first, so it is only for messages that
    /// may be handled twice.
    ///
    /// # Errors
    /// [`Died`], if the second attempt fails as well, or if no actor runs for 5 seconds.
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

    /// Sends a message once and awaits the answer. After an error, the next message reaches the restarted actor.
    ///
    /// # Errors
    /// [`Died`], if the actor dies before it answers, or if no actor runs for 5 seconds. The actor may have handled the
    /// message.
    pub(crate) async fn send_once<M>(&self, message: M) -> Result<M::Result, Died>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let actor = self.running().await?;
        let result = actor.address.send(message).await;
        actor.settle(result.ok()).await
    }

    /// Like [`Supervised::send`], for a message that carries the sender of its answer because the actor answers it
    /// later.
    ///
    /// # Errors
    /// [`Died`], as for [`Supervised::send`].
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
        let actor = self.running().await?;
        let (answer, answered) = oneshot::channel();
        let answer = match actor.address.send(message(answer)).await {
            Ok(()) => answered.await.ok(),
            Err(_) => None,
        };
        actor.settle(answer).await
    }

    async fn running(&self) -> Result<Incarnation<A>, Died> {
        let mut current = self.current.clone();
        let running = current.wait_for(|actor| actor.as_ref().is_some_and(|actor| actor.address.connected()));
        let actor = timeout(RESTART_TIMEOUT, running).await.map_err(|_| Died)?.map_err(|_| Died)?;
        actor.clone().ok_or(Died)
    }
}

async fn supervise<A: Actor<Context = Context<A>>>(
    name: &'static str,
    make: impl Fn() -> A,
    publisher: watch::Sender<Option<Incarnation<A>>>,
    restarts: Arc<AtomicU64>,
) {
    let mut backoff = Duration::ZERO;
    loop {
        let started = Instant::now();
        let (actor, stopped) = start_monitored(make());
        publisher.send_replace(Some(actor));
        // Nothing is ever sent. The wait ends when the sender is dropped with the actor.
        let _ = stopped.await;
        restarts.fetch_add(1, Ordering::Relaxed);
        backoff = if started.elapsed() > RESTART_BACKOFF_RESET {
            Duration::ZERO
        } else {
            (backoff * 2).clamp(MIN_RESTART_BACKOFF, MAX_RESTART_BACKOFF)
        };
        error!(actor = name, restarts = restarts.load(Ordering::Relaxed); "actor died; restarting it");
        sleep(backoff).await;
    }
}

/// Starts an actor. Returns it, and a receiver that fails when the actor is dropped for any reason.
///
/// Order: actix drops the futures of an actor after its mailbox, so a dropped probe means that the mailbox is closed.
fn start_monitored<A: Actor<Context = Context<A>>>(actor: A) -> (Incarnation<A>, oneshot::Receiver<()>) {
    let (stop_sender, stopped) = oneshot::channel::<()>();
    let (probes, mut received) = mpsc::channel::<oneshot::Sender<()>>(MAX_PROBES);
    let address = A::create(move |ctx| {
        let answer_probes = async move {
            while let Some(probe) = received.recv().await {
                // The caller may have given up.
                let _ = probe.send(());
            }
            pending::<()>().await;
            drop(stop_sender);
        };
        ctx.spawn(answer_probes.into_actor(&actor));
        actor
    });
    (Incarnation { address, probes }, stopped)
}

/// Command: makes an actor panic, so that tests can observe the consequences.
#[cfg(any(test, feature = "testkit"))]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Crash;

/// Implements the handler of [`Crash`] for `$actor`.
#[cfg(any(test, feature = "testkit"))]
macro_rules! may_crash {
    ($actor:ty) => {
        impl actix::Handler<crate::supervised::Crash> for $actor {
            type Result = ();

            fn handle(&mut self, _: crate::supervised::Crash, _: &mut Self::Context) {
                panic!("crashed by a test");
            }
        }
    };
}
#[cfg(any(test, feature = "testkit"))]
pub(crate) use may_crash;

#[cfg(test)]
mod tests;
