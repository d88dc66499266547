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
use tokio::{sync::oneshot, time::Instant};

use crate::{
    connections::{ConnectionHandle, Connections},
    ids::GroupName,
    metrics::Metrics,
    store::{Change, DynStore, Error, Lease, LeaseChange, Node, Owner},
};

mod deadline;

use deadline::{WithDeadline, answer_loads, insist, once, tell};

/// How many messages may wait for the supervisor. Beyond it, whoever asks waits.
const MAILBOX: usize = 1024;

/// How many questions may wait for the store. Beyond it, the answer is that the store is unavailable.
const WAITING: usize = 100_000;

/// How many users one query asks for.
const BATCH: usize = 1_000;

/// How this process keeps house with the store.
#[derive(Clone, Debug)]
pub(crate) struct MembershipConfig {
    /// This process.
    pub(crate) node: Node,
    /// How long an answer may take, waiting, attempts and pauses included. Default 5 s: a client waits that
    /// long for its connection without giving up.
    pub(crate) deadline: Duration,
    /// For how long a dead process's rows are believed. Default 30 s, renewed every third of it.
    pub(crate) lease: Duration,
}

/// A question: which groups does this user belong to?
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Load {
    pub(crate) owner: Owner,
    pub(crate) answer: Reply<Vec<GroupName>>,
}

/// A command: write a membership, or its end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Write {
    pub(crate) owner: Owner,
    pub(crate) group: GroupName,
    pub(crate) verb: Verb,
    pub(crate) answer: Reply<Change>,
}

/// Where the answer goes. It is dropped unsent if the supervisor dies; the question may be put again.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Remove,
}

/// A command: take note that a connection has begun or ended. Its row follows when the store has time.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LeaseUpdate {
    pub(crate) change: LeaseChange,
}

impl LeaseUpdate {
    /// The note that this connection has begun.
    pub(crate) fn opened(handle: &ConnectionHandle) -> Self {
        Self { change: LeaseChange::Opened(lease_of(handle)) }
    }

    /// The note that it has ended.
    pub(crate) fn closed(handle: &ConnectionHandle) -> Self {
        Self { change: LeaseChange::Closed(handle.id.clone()) }
    }
}

fn lease_of(handle: &ConnectionHandle) -> Lease {
    Lease {
        connection: handle.id.clone(),
        user: handle.user.clone(),
        user_agent: handle.about.user_agent.clone(),
        transport: handle.about.transport().to_owned(),
        since: handle.about.since,
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
    housekeeping: MembershipConfig,
    connections: Connections,
    metrics: Arc<Metrics>,
    loads: VecDeque<WithDeadline<Load>>,
    is_loading: bool,
    jobs: VecDeque<WithDeadline<Job>>,
    leases: Vec<LeaseChange>,
    is_writing: bool,
    /// When the lease was last renewed by this incarnation.
    renewed: Option<Instant>,
}

impl Membership {
    pub(crate) fn new(
        store: Arc<dyn DynStore>,
        housekeeping: MembershipConfig,
        connections: Connections,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            housekeeping,
            connections,
            metrics,
            loads: VecDeque::new(),
            is_loading: false,
            jobs: VecDeque::new(),
            leases: Vec::new(),
            is_writing: false,
            renewed: None,
        }
    }

    fn due<T>(&self, what: T) -> WithDeadline<T> {
        WithDeadline { by: Instant::now() + self.housekeeping.deadline, what }
    }

    fn queue(&mut self, job: Job, ctx: &mut Context<Self>) {
        let due = self.due(job);
        self.jobs.push_back(due);
        self.write(ctx);
    }

    /// Asks the store for everybody who waits, unless it is being asked.
    fn load(&mut self, ctx: &mut Context<Self>) {
        if self.is_loading || self.loads.is_empty() {
            return;
        }
        self.is_loading = true;
        let batch: Vec<_> = self.loads.drain(..self.loads.len().min(BATCH)).collect();
        let store = Arc::clone(&self.store);
        let answered = async move { answer_loads(&*store, batch).await };
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
        let Some(WithDeadline { by, what }) = self.jobs.pop_front() else { return };
        self.is_writing = true;
        let done: LocalBoxActorFuture<Self, ()> = match what {
            Job::Write(write) => self.write_membership(write, by),
            Job::Renew => self.renew(by),
            Job::Leases => self.write_leases(by),
        };
        ctx.spawn(done.map(|(), this, ctx| {
            this.is_writing = false;
            this.write(ctx);
        }));
    }

    fn write_membership(&self, write: Write, by: Instant) -> LocalBoxActorFuture<Self, ()> {
        let store = Arc::clone(&self.store);
        let written = async move {
            let Write { owner, group, verb, answer } = write;
            let result = insist(by, || match verb {
                Verb::Add => store.add(&owner, &group),
                Verb::Remove => store.remove(&owner, &group),
            });
            let result = result.await;
            let failed = u64::from(result.is_err());
            // Nobody may be waiting any more; the row is written all the same.
            tell(answer, result);
            failed
        };
        Box::pin(written.into_actor(self).map(|failed, this, _| this.metrics.store_failures.add(failed)))
    }

    fn renew(&self, by: Instant) -> LocalBoxActorFuture<Self, ()> {
        let (store, housekeeping) = (Arc::clone(&self.store), self.housekeeping.clone());
        let renewed =
            async move { once(by, store.renew(&housekeeping.node, SystemTime::now(), housekeeping.lease)).await };
        Box::pin(renewed.into_actor(self).map(|renewed, this, ctx| match renewed {
            Ok(reclaimed) => this.renewed(reclaimed, ctx),
            Err(error) => warn!(error:% = error; "this node's lease is not renewed"),
        }))
    }

    fn renewed(&mut self, reclaimed: u64, ctx: &mut Context<Self>) {
        self.metrics.leases_reclaimed.add(reclaimed);
        if reclaimed > 0 {
            info!(connections = reclaimed; "removed rows of connections that nobody holds");
        }
        let last = self.renewed.replace(Instant::now());
        if last.is_none_or(|last| last.elapsed() > self.housekeeping.lease) {
            self.reopen(ctx);
        }
    }

    /// Writes the rows of all connections: a predecessor may have died with some unwritten, and a node that
    /// renews too late may have been taken for dead. Writing one twice does no harm.
    fn reopen(&mut self, ctx: &mut Context<Self>) {
        let living = self.connections.all();
        if living.is_empty() {
            return;
        }
        self.leases.extend(living.iter().map(|handle| LeaseChange::Opened(lease_of(handle))));
        self.queue(Job::Leases, ctx);
    }

    /// Writes all rows that wait. What cannot be written now is kept for the next time.
    fn write_leases(&mut self, by: Instant) -> LocalBoxActorFuture<Self, ()> {
        let (store, node) = (Arc::clone(&self.store), self.housekeeping.node.clone());
        let changes = std::mem::take(&mut self.leases);
        let written = async move {
            let written = once(by, store.lease(&node, &changes)).await;
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

impl Actor for Membership {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.queue(Job::Renew, ctx);
        ctx.run_interval(self.housekeeping.lease / 3, |this, ctx| {
            this.queue(Job::Renew, ctx);
            if !this.leases.is_empty() {
                this.queue(Job::Leases, ctx);
            }
        });
    }
}

impl Handler<Load> for Membership {
    type Result = ();

    fn handle(&mut self, load: Load, ctx: &mut Self::Context) {
        if self.loads.len() >= WAITING {
            refuse(load.answer);
            return;
        }
        let due = self.due(load);
        self.loads.push_back(due);
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
        self.queue(Job::Write(write), ctx);
    }
}

fn refuse<T>(answer: Reply<T>) {
    tell(answer, Err(Error::Unavailable(format!("{WAITING} questions wait for it"))));
}

impl Handler<LeaseUpdate> for Membership {
    type Result = ();

    fn handle(&mut self, LeaseUpdate { change }: LeaseUpdate, ctx: &mut Self::Context) {
        let is_first = self.leases.is_empty();
        self.leases.push(change);
        self.bound_leases();
        if is_first {
            self.queue(Job::Leases, ctx);
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Membership);

#[cfg(test)]
mod tests;
