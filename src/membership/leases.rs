//! The leases: the membership actor renews that of the node, and writes those of connections.

use actix::prelude::*;
use log::{debug, info, warn};
use tokio::time::Instant;

use super::{
    LeaseUpdate, LocalBoxActorFuture, Membership, NodeName, deadline::call_once, lease_calls, node_name,
    outage::OutageStep, requests::lease_of,
};
use crate::store::{Error, LastSeen, LeaseChange, Renewal};

impl Membership {
    pub(super) fn renew(&mut self) -> LocalBoxActorFuture<Self, ()> {
        self.is_renewal_due = false;
        let (store, config) = (self.store.clone(), self.config.clone());
        let deadline = Instant::now() + config.deadline;
        let renewed = async move { call_once(deadline, Box::pin(lease_calls::renew(&store, &config))).await };
        Box::pin(renewed.into_actor(self).map(Self::on_renewal))
    }

    fn on_renewal(renewal: Result<Renewal, Error>, this: &mut Self, ctx: &mut Context<Self>) {
        let renewal = match renewal {
            Ok(renewal) => renewal,
            Err(error) => return this.on_checked(Err(error)),
        };
        this.follow_node_name(&renewal, ctx);
        if let Renewal::Renewed { closed, users } = renewal {
            this.on_renewed(closed, users);
        }
        this.check_memberships(ctx);
    }

    /// Reads memberships beside the writes: their store can be another one, and leases need not wait for it.
    fn check_memberships(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_reading, true) {
            return;
        }
        let (store, config) = (self.store.clone(), self.config.clone());
        let deadline = Instant::now() + config.deadline;
        let reading =
            async move { call_once(deadline, Box::pin(lease_calls::read_memberships(&store, &config.node))).await };
        ctx.spawn(reading.into_actor(self).map(|read, this, _| {
            this.is_reading = false;
            this.on_checked(read);
        }));
    }

    /// The node was renewed and memberships were read, or one of them has failed.
    fn on_checked(&mut self, checked: Result<(), Error>) {
        self.log_outage(checked.as_ref().err());
        self.checks.answer(node_name::check_result(checked, &self.reports.node_name.borrow()));
    }

    fn log_outage(&mut self, failure: Option<&Error>) {
        match (self.outage.observe(failure.is_none(), Instant::now()), failure) {
            (Some(OutageStep::Began), Some(error)) => warn!(error:% = error; "the store began to fail"),
            (Some(OutageStep::Ended { lasted }), _) => {
                info!(seconds = lasted.as_secs(); "the store answers again");
            }
            (_, Some(error)) => debug!(error:% = error; "the store still fails"),
            (_, None) => {}
        }
    }

    fn on_renewed(&mut self, closed: u64, users: Vec<LastSeen>) {
        self.metrics.leases_reclaimed.add(closed);
        self.metrics.presence_failures.add(self.reports.report_lost(users));
        if closed > 0 {
            info!(connections = closed; "closed leases of dead connections");
        }
        let last = self.last_renewal.replace(Instant::now());
        if last.is_none_or(|last| last.elapsed() > self.config.lease) {
            self.rewrite_leases();
        }
    }

    /// Queues the leases of all connections. An earlier incarnation may have died with unwritten changes, and other
    /// nodes may have closed the leases of a node that renewed too late. Writing a lease twice is harmless.
    fn rewrite_leases(&mut self) {
        for handle in self.connections.all() {
            self.queue_lease(LeaseChange::Opened(lease_of(&handle)));
        }
    }

    fn queue_lease(&mut self, change: LeaseChange) {
        let dropped = self.pending_leases.push(change);
        self.metrics.leases_dropped.add(dropped);
    }

    /// Starts the write of leases that wait for more of them.
    pub(super) fn await_lease_pause(&mut self, ctx: &mut Context<Self>) {
        let pause = self.pending_leases.pause(Instant::now());
        if pause.is_zero() || std::mem::replace(&mut self.has_lease_timer, true) {
            return;
        }
        ctx.run_later(pause, |this, ctx| {
            this.has_lease_timer = false;
            this.start_write(ctx);
        });
    }

    /// Writes a batch of pending lease changes. If that fails, they stay pending.
    pub(super) fn write_leases(&mut self) -> LocalBoxActorFuture<Self, ()> {
        let (store, node) = (self.store.clone(), self.config.node.clone());
        let (changes, deadline) =
            (self.pending_leases.take_batch(Instant::now()), Instant::now() + self.config.deadline);
        let written = async move {
            let written = call_once(deadline, Box::pin(lease_calls::write(&store, &node, &changes))).await;
            (written, changes)
        };
        Box::pin(written.into_actor(self).map(|(written, changes), this, _| {
            this.last_lease_write = Instant::now();
            if let Err(error) = written {
                warn!(leases = changes.len(), error:% = error; "failed to write connection leases; will retry");
                let dropped = this.pending_leases.put_back(changes);
                this.metrics.leases_dropped.add(dropped);
                this.may_write_leases = false;
            }
        }))
    }

    /// Begins a renewal of the node, and then a retry of leases that could not be written.
    pub(super) fn begin_renewal(&mut self, ctx: &mut Context<Self>) {
        if self.has_name(&NodeName::Released) {
            return;
        }
        (self.is_renewal_due, self.may_write_leases) = (true, true);
        self.start_write(ctx);
    }
}

impl Handler<LeaseUpdate> for Membership {
    type Result = ();

    fn handle(&mut self, LeaseUpdate { change }: LeaseUpdate, ctx: &mut Self::Context) {
        self.queue_lease(change);
        self.start_write(ctx);
    }
}
