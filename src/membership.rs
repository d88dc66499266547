//! The actor that reads and writes durable memberships and connection leases in the store.
//!
//! It loads the durable groups of the users of new connections, writes changes in the order of their requests, and
//! maintains the leases of open connections. Loads that arrive while a query runs are batched into the next query, so a
//! storm of reconnects costs a few queries instead of one for each connection.
//!
//! There is one supervised membership actor for each process. Connections and hubs send it requests. It does not touch
//! live groups, and answers every request within [`MembershipConfig::deadline`].

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

use deadline::{WithDeadline, answer_loads, call_once, retry_until, send_reply};

/// The mailbox capacity of the actor. When the mailbox is full, senders wait.
const MAILBOX_CAPACITY: usize = 1024;

/// The maximum number of pending loads, of pending writes and of pending lease changes. Further loads and writes are
/// answered with [`Error::Unavailable`]. Of the lease changes, the oldest are dropped.
const MAX_PENDING: usize = 100_000;

/// The maximum number of users in one query.
const MAX_LOAD_BATCH: usize = 1_000;

/// The settings of the membership actor.
#[derive(Clone, Debug)]
pub(crate) struct MembershipConfig {
    /// The identity of this process.
    pub(crate) node: Node,
    /// The maximum time to answer a request, including queueing, retries and pauses. Default 5 s: a client waits that
    /// long for its connection.
    pub(crate) deadline: Duration,
    /// The duration of this node's lease. A node that has not renewed its lease for that long counts as dead, and other
    /// nodes delete the leases of its connections. Default 30 s. Renewals happen at every third of the duration.
    pub(crate) lease: Duration,
}

/// Query: asks for the durable groups of a user.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Load {
    pub(crate) owner: Owner,
    pub(crate) answer: Reply<Vec<GroupName>>,
}

/// Command: adds or removes a durable membership.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Write {
    pub(crate) owner: Owner,
    pub(crate) group: GroupName,
    pub(crate) op: WriteOp,
    pub(crate) answer: Reply<Change>,
}

/// The sender of an answer. It is dropped without an answer if the actor dies. The request may be repeated then.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// The kind of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteOp {
    Add,
    Remove,
}

/// Command: records that a connection has opened or closed. Its lease is written later, in a batch.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LeaseUpdate {
    pub(crate) change: LeaseChange,
}

impl LeaseUpdate {
    /// The update for a connection that has opened.
    pub(crate) fn opened(handle: &ConnectionHandle) -> Self {
        Self { change: LeaseChange::Opened(lease_of(handle)) }
    }

    /// The update for a connection that has closed.
    pub(crate) fn closed(handle: &ConnectionHandle) -> Self {
        Self { change: LeaseChange::Closed(handle.id.clone()) }
    }
}

fn lease_of(handle: &ConnectionHandle) -> Lease {
    Lease {
        connection: handle.id.clone(),
        user: handle.user.clone(),
        user_agent: handle.info.user_agent.clone(),
        transport: handle.info.transport().to_owned(),
        since: handle.info.since,
    }
}

/// A write to the store.
enum StoreWrite {
    Membership(Write),
    Renew,
    Leases,
}

/// The membership actor. See the module documentation.
pub(crate) struct Membership {
    store: Arc<dyn DynStore>,
    config: MembershipConfig,
    connections: Connections,
    metrics: Arc<Metrics>,
    pending_loads: VecDeque<WithDeadline<Load>>,
    is_loading: bool,
    pending_writes: VecDeque<WithDeadline<StoreWrite>>,
    pending_leases: Vec<LeaseChange>,
    is_writing: bool,
    /// The time of the last renewal of this node's lease by this incarnation of the actor.
    last_renewal: Option<Instant>,
}

impl Membership {
    pub(crate) fn new(
        store: Arc<dyn DynStore>,
        config: MembershipConfig,
        connections: Connections,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            config,
            connections,
            metrics,
            pending_loads: VecDeque::new(),
            is_loading: false,
            pending_writes: VecDeque::new(),
            pending_leases: Vec::new(),
            is_writing: false,
            last_renewal: None,
        }
    }

    fn with_deadline<T>(&self, value: T) -> WithDeadline<T> {
        WithDeadline { deadline: Instant::now() + self.config.deadline, value }
    }

    fn queue(&mut self, write: StoreWrite, ctx: &mut Context<Self>) {
        let entry = self.with_deadline(write);
        self.pending_writes.push_back(entry);
        self.start_write(ctx);
    }

    /// Starts a query for the pending loads, unless one is running.
    fn start_load(&mut self, ctx: &mut Context<Self>) {
        if self.is_loading || self.pending_loads.is_empty() {
            return;
        }
        self.is_loading = true;
        let batch: Vec<_> = self.pending_loads.drain(..self.pending_loads.len().min(MAX_LOAD_BATCH)).collect();
        let store = Arc::clone(&self.store);
        let answered = async move { answer_loads(&*store, batch).await };
        ctx.spawn(answered.into_actor(self).map(|failed, this, ctx| {
            this.metrics.store_failures.add(failed);
            this.is_loading = false;
            this.start_load(ctx);
        }));
    }

    /// Starts the next pending write, unless one is running.
    fn start_write(&mut self, ctx: &mut Context<Self>) {
        if self.is_writing {
            return;
        }
        let Some(WithDeadline { deadline, value }) = self.pending_writes.pop_front() else { return };
        self.is_writing = true;
        let done: LocalBoxActorFuture<Self, ()> = match value {
            StoreWrite::Membership(write) => self.write_membership(write, deadline),
            StoreWrite::Renew => self.renew(deadline),
            StoreWrite::Leases => self.write_leases(deadline),
        };
        ctx.spawn(done.map(|(), this, ctx| {
            this.is_writing = false;
            this.start_write(ctx);
        }));
    }

    fn write_membership(&self, write: Write, deadline: Instant) -> LocalBoxActorFuture<Self, ()> {
        let store = Arc::clone(&self.store);
        let written = async move {
            let Write { owner, group, op, answer } = write;
            let result = retry_until(deadline, || match op {
                WriteOp::Add => store.add(&owner, &group),
                WriteOp::Remove => store.remove(&owner, &group),
            });
            let result = result.await;
            let failed = u64::from(result.is_err());
            // The requester may be gone. The change is in the store regardless.
            send_reply(answer, result);
            failed
        };
        Box::pin(written.into_actor(self).map(|failed, this, _| this.metrics.store_failures.add(failed)))
    }

    fn renew(&self, deadline: Instant) -> LocalBoxActorFuture<Self, ()> {
        let (store, config) = (Arc::clone(&self.store), self.config.clone());
        let renewed =
            async move { call_once(deadline, store.renew(&config.node, SystemTime::now(), config.lease)).await };
        Box::pin(renewed.into_actor(self).map(|renewed, this, ctx| match renewed {
            Ok(reclaimed) => this.on_renewed(reclaimed, ctx),
            Err(error) => warn!(error:% = error; "failed to renew the lease of this node"),
        }))
    }

    fn on_renewed(&mut self, reclaimed: u64, ctx: &mut Context<Self>) {
        self.metrics.leases_reclaimed.add(reclaimed);
        if reclaimed > 0 {
            info!(connections = reclaimed; "deleted leases of dead connections");
        }
        let last = self.last_renewal.replace(Instant::now());
        if last.is_none_or(|last| last.elapsed() > self.config.lease) {
            self.rewrite_leases(ctx);
        }
    }

    /// Queues the leases of all connections. An earlier incarnation may have died with unwritten changes, and other
    /// nodes may have deleted the leases of a node that renewed too late. Writing a lease twice is harmless.
    fn rewrite_leases(&mut self, ctx: &mut Context<Self>) {
        let handles = self.connections.all();
        if handles.is_empty() {
            return;
        }
        self.pending_leases.extend(handles.iter().map(|handle| LeaseChange::Opened(lease_of(handle))));
        self.queue(StoreWrite::Leases, ctx);
    }

    /// Writes all pending lease changes. If that fails, they stay pending.
    fn write_leases(&mut self, deadline: Instant) -> LocalBoxActorFuture<Self, ()> {
        let (store, node) = (Arc::clone(&self.store), self.config.node.clone());
        let changes = std::mem::take(&mut self.pending_leases);
        let written = async move {
            let written = call_once(deadline, store.lease(&node, &changes)).await;
            (written, changes)
        };
        Box::pin(written.into_actor(self).map(|(written, mut changes), this, _| {
            if let Err(error) = written {
                warn!(leases = changes.len(), error:% = error; "failed to write connection leases; will retry");
                changes.append(&mut this.pending_leases);
                this.pending_leases = changes;
                this.drop_excess_leases();
            }
        }))
    }

    /// Drops the oldest lease changes beyond the limit. Leases only inform operators, so losing some in a long outage
    /// is acceptable.
    fn drop_excess_leases(&mut self) {
        let excess = self.pending_leases.len().saturating_sub(MAX_PENDING);
        self.pending_leases.drain(..excess);
        self.metrics.leases_dropped.add(excess as u64);
    }
}

type LocalBoxActorFuture<A, T> = std::pin::Pin<Box<dyn ActorFuture<A, Output = T>>>;

impl Actor for Membership {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
        self.queue(StoreWrite::Renew, ctx);
        ctx.run_interval(self.config.lease / 3, |this, ctx| {
            this.queue(StoreWrite::Renew, ctx);
            if !this.pending_leases.is_empty() {
                this.queue(StoreWrite::Leases, ctx);
            }
        });
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
        self.queue(StoreWrite::Membership(write), ctx);
    }
}

fn reject_overload<T>(answer: Reply<T>) {
    send_reply(answer, Err(Error::Unavailable(format!("{MAX_PENDING} requests are waiting for it"))));
}

impl Handler<LeaseUpdate> for Membership {
    type Result = ();

    fn handle(&mut self, LeaseUpdate { change }: LeaseUpdate, ctx: &mut Self::Context) {
        let is_first = self.pending_leases.is_empty();
        self.pending_leases.push(change);
        self.drop_excess_leases();
        if is_first {
            self.queue(StoreWrite::Leases, ctx);
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Membership);

#[cfg(test)]
mod tests;
