//! The supervisor of durable membership: the one actor that talks to the store about who belongs where.
//!
//! Role: loads users' groups for connections that begin, writes changes in their order, keeps the rows of
//! open connections. Whatever waits while the store is busy goes into its next query: a storm of
//! reconnections costs a few queries, not one for each.
//! Life: one for each process, supervised. Neighbours: connections and hubs ask it; it asks the store.
//! Never: it does not touch live groups, and no answer of it takes longer than its deadline.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix::prelude::*;
use log::{info, warn};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    connections::{Connections, Seat},
    ids::GroupName,
    metrics::Metrics,
    store::{Change, DynStore, Error, Lease, LeaseChange, Node, Owner},
};

/// How many messages may wait for the supervisor. Beyond it, whoever asks waits.
const MAILBOX: usize = 1024;

/// How many questions may wait for the store. Beyond it, the answer is that the store is unavailable.
const WAITING: usize = 100_000;

/// How many users one query asks for.
const BATCH: usize = 1_000;

/// The pause before the store is asked again that was unavailable.
const PAUSE: Duration = Duration::from_millis(100);

/// How this process keeps house with the store.
#[derive(Clone, Debug)]
pub struct Housekeeping {
    /// This process.
    pub node: Node,
    /// How long an answer may take, attempts and pauses included. Default 5 s: a client waits that long
    /// for its connection without giving up.
    pub deadline: Duration,
    /// For how long a dead process's rows are believed. Default 30 s, renewed every third of it.
    pub lease: Duration,
}

/// A question: which groups does this user belong to?
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Load {
    pub(crate) owner: Owner,
    pub(crate) answer: Answer<Vec<GroupName>>,
}

/// A command: write a membership, or its end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Write {
    pub(crate) owner: Owner,
    pub(crate) group: GroupName,
    pub(crate) verb: Verb,
    pub(crate) answer: Answer<Change>,
}

/// Where the answer goes. It is dropped unsent if the supervisor dies; the question may be put again.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Remove,
}

/// A command: take note that a connection has begun or ended. Its row follows when the store has time.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Note {
    pub(crate) change: LeaseChange,
}

impl Note {
    /// The note that this connection has begun.
    pub(crate) fn opened(seat: &Seat) -> Self {
        Self { change: LeaseChange::Opened(lease_of(seat)) }
    }

    /// The note that it has ended.
    pub(crate) fn closed(seat: &Seat) -> Self {
        Self { change: LeaseChange::Closed(seat.id.clone()) }
    }
}

fn lease_of(seat: &Seat) -> Lease {
    Lease {
        connection: seat.id.clone(),
        user: seat.user.clone(),
        user_agent: seat.about.user_agent.clone(),
        transport: seat.about.transport().to_owned(),
        since: seat.about.since,
    }
}

/// One thing to write.
enum Job {
    Write(Write),
    Renew,
    Leases,
}

/// See the module's documentation.
pub(crate) struct Membership {
    store: Arc<dyn DynStore>,
    housekeeping: Housekeeping,
    connections: Connections,
    metrics: Arc<Metrics>,
    loads: Vec<Load>,
    is_loading: bool,
    jobs: VecDeque<Job>,
    leases: Vec<LeaseChange>,
    is_writing: bool,
}

impl Membership {
    pub(crate) fn new(
        store: Arc<dyn DynStore>,
        housekeeping: Housekeeping,
        connections: Connections,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            housekeeping,
            connections,
            metrics,
            loads: Vec::new(),
            is_loading: false,
            jobs: VecDeque::new(),
            leases: Vec::new(),
            is_writing: false,
        }
    }

    /// Asks the store for everybody who waits, unless it is being asked.
    fn load(&mut self, ctx: &mut Context<Self>) {
        if self.is_loading || self.loads.is_empty() {
            return;
        }
        self.is_loading = true;
        let batch: Vec<_> = self.loads.drain(..self.loads.len().min(BATCH)).collect();
        let (store, deadline) = (Arc::clone(&self.store), self.housekeeping.deadline);
        let answered = async move { answer_loads(&*store, batch, deadline).await };
        ctx.spawn(answered.into_actor(self).map(|failed, this, ctx| {
            this.metrics.store_failures.add(failed);
            this.is_loading = false;
            this.load(ctx);
        }));
    }

    /// Writes the next thing, unless something is being written.
    fn write(&mut self, ctx: &mut Context<Self>) {
        if self.is_writing {
            return;
        }
        let Some(job) = self.jobs.pop_front() else { return };
        self.is_writing = true;
        let done: LocalBoxActorFuture<Self, ()> = match job {
            Job::Write(write) => self.write_membership(write),
            Job::Renew => self.renew(),
            Job::Leases => self.write_leases(),
        };
        ctx.spawn(done.map(|(), this, ctx| {
            this.is_writing = false;
            this.write(ctx);
        }));
    }

    fn write_membership(&self, write: Write) -> LocalBoxActorFuture<Self, ()> {
        let (store, deadline) = (Arc::clone(&self.store), self.housekeeping.deadline);
        let written = async move {
            let Write { owner, group, verb, answer } = write;
            let result = within(deadline, || match verb {
                Verb::Add => store.add(&owner, &group),
                Verb::Remove => store.remove(&owner, &group),
            });
            let result = result.await;
            let failed = u64::from(result.is_err());
            // Nobody may be waiting any more; the row is written all the same.
            let _ = answer.send(result);
            failed
        };
        Box::pin(written.into_actor(self).map(|failed, this, _| this.metrics.store_failures.add(failed)))
    }

    fn renew(&self) -> LocalBoxActorFuture<Self, ()> {
        let (store, housekeeping) = (Arc::clone(&self.store), self.housekeeping.clone());
        let renewed = async move { store.renew(&housekeeping.node, SystemTime::now(), housekeeping.lease).await };
        Box::pin(renewed.into_actor(self).map(|renewed, this, _| match renewed {
            Ok(reclaimed) => {
                this.metrics.leases_reclaimed.add(reclaimed);
                if reclaimed > 0 {
                    info!(connections = reclaimed; "removed what dead processes had left");
                }
            }
            Err(error) => warn!(error:% = error; "this node's lease is not renewed"),
        }))
    }

    /// Writes all rows that wait. What cannot be written now is kept for the next time.
    fn write_leases(&mut self) -> LocalBoxActorFuture<Self, ()> {
        let (store, node) = (Arc::clone(&self.store), self.housekeeping.node.clone());
        let changes = std::mem::take(&mut self.leases);
        let written = async move {
            let written = store.lease(&node, &changes).await;
            (written, changes)
        };
        Box::pin(written.into_actor(self).map(|(written, mut changes), this, _| {
            if let Err(error) = written {
                warn!(rows = changes.len(), error:% = error; "connections' rows are not written yet");
                changes.append(&mut this.leases);
                this.leases = changes;
                this.bound_leases();
            }
        }))
    }

    /// Rows are a convenience for operators: those of a long outage are given up.
    fn bound_leases(&mut self) {
        let excess = self.leases.len().saturating_sub(WAITING);
        self.leases.drain(..excess);
        self.metrics.leases_dropped.add(excess as u64);
    }
}

type LocalBoxActorFuture<A, T> = std::pin::Pin<Box<dyn ActorFuture<A, Output = T>>>;

/// Answers a batch of questions with one query, and tells how many could not be answered.
async fn answer_loads(store: &dyn DynStore, batch: Vec<Load>, deadline: Duration) -> u64 {
    let (owners, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|load| (load.owner, load.answer)).unzip();
    let result = within(deadline, || store.groups_of(&owners)).await;
    let failed = if result.is_err() { answers.len() as u64 } else { 0 };
    let each: Vec<_> = match result {
        Ok(groups) => groups.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error); answers.len()],
    };
    for (answer, groups) in answers.into_iter().zip(each) {
        // A connection that has ended meanwhile waits no more.
        let _ = answer.send(groups);
    }
    failed
}

/// Asks until the store answers, for at most `deadline`.
async fn within<'a, T: 'a>(deadline: Duration, ask: impl Fn() -> crate::store::Answer<'a, T>) -> Result<T, Error> {
    let end = Instant::now() + deadline;
    let mut last = Error::Unavailable("no answer in time".into());
    loop {
        match timeout_at(end, ask()).await {
            Err(_) => return Err(last),
            Ok(Err(Error::Unavailable(why))) => last = Error::Unavailable(why),
            Ok(answer) => return answer,
        }
        if timeout_at(end, sleep(PAUSE)).await.is_err() {
            return Err(last);
        }
    }
}

impl Actor for Membership {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.jobs.push_back(Job::Renew);
        // A predecessor may have died with rows unwritten; writing one twice does no harm.
        self.leases = self.connections.all().iter().map(|seat| LeaseChange::Opened(lease_of(seat))).collect();
        ctx.run_interval(self.housekeeping.lease / 3, |this, ctx| {
            this.jobs.push_back(Job::Renew);
            this.jobs.push_back(Job::Leases);
            this.write(ctx);
        });
        self.write(ctx);
    }
}

impl Handler<Load> for Membership {
    type Result = ();

    fn handle(&mut self, load: Load, ctx: &mut Self::Context) {
        if self.loads.len() >= WAITING {
            refuse(load.answer);
            return;
        }
        self.loads.push(load);
        self.load(ctx);
    }
}

impl Handler<Write> for Membership {
    type Result = ();

    fn handle(&mut self, write: Write, ctx: &mut Self::Context) {
        if self.jobs.len() >= WAITING {
            refuse(write.answer);
            return;
        }
        self.jobs.push_back(Job::Write(write));
        self.write(ctx);
    }
}

fn refuse<T>(answer: Answer<T>) {
    // Whoever asked may have gone.
    let _ = answer.send(Err(Error::Unavailable(format!("{WAITING} questions wait for it"))));
}

impl Handler<Note> for Membership {
    type Result = ();

    fn handle(&mut self, Note { change }: Note, ctx: &mut Self::Context) {
        if self.leases.is_empty() {
            self.jobs.push_back(Job::Leases);
        }
        self.leases.push(change);
        self.bound_leases();
        self.write(ctx);
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Membership);

#[cfg(test)]
mod tests;
