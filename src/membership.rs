//! The actor that reads and writes durable memberships and connection leases in the store.
//!
//! It loads the durable groups of the users of new connections, writes changes of memberships, and maintains the leases
//! of open connections. Requests that arrive while a call of the store runs are batched into the next call, so a storm of
//! reconnects costs a few queries instead of one for each connection, and many changes cost a few transactions.
//!
//! It also holds the name of the node in the store, so that only one process uses it. Leases are written once the store has
//! granted the name.
//!
//! One write runs at a time. The renewal of the node is first, then durable changes, then leases. Users take turns, so
//! that one with many changes does not delay the others. The changes of one user in one hub keep their order.
//!
//! There is one supervised membership actor for each process. Connections and hubs send it requests. It does not touch
//! live groups, and answers every request within [`MembershipConfig::deadline`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::time::Instant;

use crate::{
    connections::Connections,
    metrics::Metrics,
    store::{BatchPacing, Error, Node, Owner, StoreParts, send_spread},
};

mod checks;
mod deadline;
mod lease_calls;
mod lease_queue;
mod leases;
mod node_claim;
mod node_name;
mod outage;
mod reports;
mod requests;
mod turns;

pub(crate) use checks::Check;
use checks::PendingChecks;
use deadline::{WithDeadline, query_loads, send_reply, write_changes};
use lease_queue::LeaseQueue;
pub(crate) use node_claim::NodeClaim;
use node_name::Claimant;
pub use node_name::NodeInUse;
pub(crate) use node_name::{NodeName, ReleaseNode};
use outage::Outage;
pub(crate) use reports::{LostUsers, Reports};
pub(crate) use requests::{LeaseUpdate, Load, Reply, Write};
use turns::Turns;

/// The mailbox capacity of the actor. When the mailbox is full, senders wait.
const MAILBOX_CAPACITY: usize = 1024;

/// The maximum number of pending loads and of pending writes. Further ones are answered with [`Error::Unavailable`].
const MAX_PENDING: usize = 100_000;

/// The maximum number of users in one query.
const MAX_LOAD_BATCH: usize = 1_000;

/// The number of durable changes in one transaction from which on further requests wait for the next one. It takes some
/// tens of milliseconds then. A single request can have more changes.
const MAX_WRITE_BATCH: usize = 256;

/// How long pending leases wait while durable changes are written without a pause.
const MAX_LEASE_DELAY: Duration = Duration::from_secs(1);

/// The minimum time between two searches for writes whose deadline is over.
const MIN_EXPIRY_INTERVAL: Duration = Duration::from_millis(5);

/// The pause between two attempts to get the name of the node while another process holds it.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);

/// The settings of the membership actor.
#[derive(Clone, Debug)]
pub(crate) struct MembershipConfig {
    /// The identity of this process.
    pub(crate) node: Node,
    /// The maximum time to answer a request, including queueing, retries and pauses. Default 5 s: a client waits that
    /// long for its connection.
    pub(crate) deadline: Duration,
    /// The duration of this node's lease. A node that has not renewed its lease for that long counts as dead, and other
    /// nodes close the leases of its connections. Default 30 s. Renewals happen at every third of the duration.
    pub(crate) lease: Duration,
    /// The lifetime of rejoin tokens. The store keeps revocations that long.
    pub(crate) token_lifetime: Duration,
}

/// The membership actor. See the module documentation.
pub(crate) struct Membership {
    store: StoreParts,
    config: MembershipConfig,
    connections: Connections,
    metrics: Arc<Metrics>,
    pending_loads: VecDeque<WithDeadline<Load>>,
    load_pacing: BatchPacing,
    /// A query runs, or is about to start.
    is_loading: bool,
    pending_writes: Turns<Owner, Write>,
    has_expiry_timer: bool,
    pending_leases: LeaseQueue,
    /// False after a failure, until the next renewal is due.
    may_write_leases: bool,
    has_lease_timer: bool,
    last_lease_write: Instant,
    is_renewal_due: bool,
    checks: PendingChecks,
    /// The check whether memberships can be read runs.
    is_reading: bool,
    is_writing: bool,
    /// The time of the last renewal of this node's lease by this incarnation of the actor.
    last_renewal: Option<Instant>,
    outage: Outage,
    claimant: Claimant,
    has_claim_timer: bool,
    reports: Reports,
    /// The request to give up the name of the node. It waits until nothing else is pending.
    pending_release: Option<Reply<()>>,
}

impl Membership {
    pub(crate) fn new(
        store: StoreParts,
        config: MembershipConfig,
        connections: Connections,
        metrics: Arc<Metrics>,
        reports: Reports,
    ) -> Self {
        Self {
            load_pacing: BatchPacing::new(config.deadline, MAX_LOAD_BATCH),
            pending_leases: LeaseQueue::new(config.deadline),
            store,
            config,
            connections,
            metrics,
            pending_loads: VecDeque::new(),
            is_loading: false,
            pending_writes: Turns::new(),
            has_expiry_timer: false,
            may_write_leases: true,
            has_lease_timer: false,
            last_lease_write: Instant::now(),
            is_renewal_due: false,
            checks: PendingChecks::default(),
            is_reading: false,
            is_writing: false,
            last_renewal: None,
            outage: Outage::default(),
            claimant: Claimant::default(),
            has_claim_timer: false,
            reports,
            pending_release: None,
        }
    }

    fn with_deadline<T>(&self, value: T) -> WithDeadline<T> {
        WithDeadline { deadline: Instant::now() + self.config.deadline, value }
    }

    /// Starts a query for the pending loads, unless one is running. In a storm of loads it waits for more of them.
    fn start_load(&mut self, ctx: &mut Context<Self>) {
        if self.is_loading || self.pending_loads.is_empty() {
            return;
        }
        self.is_loading = true;
        let pause = self.load_pacing.pause(Instant::now(), self.pending_loads.len());
        if pause.is_zero() {
            self.load(ctx);
        } else {
            ctx.run_later(pause, |this, ctx| this.load(ctx));
        }
    }

    fn load(&mut self, ctx: &mut Context<Self>) {
        self.metrics.store_loads.increment();
        let batch: Vec<_> = self.pending_loads.drain(..self.pending_loads.len().min(MAX_LOAD_BATCH)).collect();
        self.load_pacing.record(Instant::now(), batch.len());
        let store = Arc::clone(&self.store.memberships);
        let loaded = async move { query_loads(&*store, batch).await };
        ctx.spawn(loaded.into_actor(self).map(|(answers, failed), this, ctx| {
            this.metrics.store_failures.add(failed);
            ctx.spawn(send_spread(answers).into_actor(this));
            this.is_loading = false;
            this.start_load(ctx);
        }));
    }

    /// Starts the next pending write, unless one is running.
    fn start_write(&mut self, ctx: &mut Context<Self>) {
        if self.is_writing {
            return;
        }
        let Some(write) = self.next_write() else { return self.await_lease_pause(ctx) };
        self.is_writing = true;
        ctx.spawn(write.map(|(), this, ctx| {
            this.is_writing = false;
            this.start_write(ctx);
        }));
    }

    fn next_write(&mut self) -> Option<LocalBoxActorFuture<Self, ()>> {
        let may_write_leases = self.may_write_leases && self.has_name(&NodeName::Held);
        let is_due = self.pending_release.is_some() || self.pending_leases.pause(Instant::now()).is_zero();
        let has_leases = may_write_leases && is_due && !self.pending_leases.is_empty();
        let leases_first = self.pending_writes.is_empty() || self.last_lease_write.elapsed() > MAX_LEASE_DELAY;
        if self.is_renewal_due {
            Some(self.renew())
        } else if has_leases && leases_first {
            Some(self.write_leases())
        } else if !self.pending_writes.is_empty() {
            Some(self.write_memberships())
        } else {
            self.pending_release.take().map(|answer| self.release_node(answer))
        }
    }

    fn has_name(&self, name: &NodeName) -> bool {
        *self.reports.node_name.borrow() == *name
    }

    fn take_writes(&mut self) -> Vec<WithDeadline<Write>> {
        self.pending_writes.take(MAX_WRITE_BATCH, |write| write.changes.len())
    }

    fn write_memberships(&mut self) -> LocalBoxActorFuture<Self, ()> {
        let (store, batch) = (Arc::clone(&self.store.memberships), self.take_writes());
        let written = async move { write_changes(&*store, batch).await };
        Box::pin(written.into_actor(self).map(|failed, this, _| this.metrics.store_failures.add(failed)))
    }

    /// Answers each pending write at its deadline, also while a write is running.
    fn watch_deadlines(&mut self, ctx: &mut Context<Self>) {
        if self.has_expiry_timer {
            return;
        }
        let Some(next) = self.pending_writes.next_deadline() else { return };
        self.has_expiry_timer = true;
        let wait = next.saturating_duration_since(Instant::now()).max(MIN_EXPIRY_INTERVAL);
        ctx.run_later(wait, |this, ctx| {
            this.has_expiry_timer = false;
            let expired = this.pending_writes.take_expired(Instant::now());
            this.metrics.store_failures.add(expired.len() as u64);
            expired.into_iter().for_each(|write| send_reply(write.answer, Err(Error::timed_out())));
            this.watch_deadlines(ctx);
        });
    }
}

type LocalBoxActorFuture<A, T> = std::pin::Pin<Box<dyn ActorFuture<A, Output = T>>>;

impl Actor for Membership {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
        self.begin_renewal(ctx);
        ctx.run_interval(self.config.lease / 3, Self::begin_renewal);
    }
}

impl Handler<Load> for Membership {
    type Result = ();

    fn handle(&mut self, load: Load, ctx: &mut Self::Context) {
        if self.pending_loads.len() >= MAX_PENDING {
            reject_overload(load.answer);
            return;
        }
        let entry = self.with_deadline(load);
        self.pending_loads.push_back(entry);
        self.start_load(ctx);
    }
}

impl Handler<Write> for Membership {
    type Result = ();

    fn handle(&mut self, write: Write, ctx: &mut Self::Context) {
        if self.pending_writes.len() >= MAX_PENDING {
            reject_overload(write.answer);
            return;
        }
        let Some(owner) = write.changes.first().map(|change| change.owner.clone()) else {
            return send_reply(write.answer, Ok(Vec::new()));
        };
        let entry = self.with_deadline(write);
        self.pending_writes.push(owner, entry);
        self.watch_deadlines(ctx);
        self.start_write(ctx);
    }
}

fn reject_overload<T>(answer: Reply<T>) {
    send_reply(answer, Err(Error::Unavailable(format!("{MAX_PENDING} requests are waiting for it"))));
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Membership);

#[cfg(test)]
mod tests;
