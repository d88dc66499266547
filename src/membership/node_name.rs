//! Whether this process holds the name of its node in the store, judged by the answers to its renewals.
//!
//! [`Claimant`] is pure. A holder that renews its lease is alive: then the name is in use. A holder that does not renew it
//! has died, and its lease expires.

use std::sync::Arc;

use actix::prelude::*;
use log::{error, warn};
use tokio::time::Instant;

use super::{
    CLAIM_INTERVAL, LocalBoxActorFuture, Membership, Reply,
    deadline::{call_once, send_reply},
};
use crate::{
    ids::NodeId,
    store::{Error, NodeLease, Process, Renewal},
};

/// Another running process uses the name of this node in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node name `{node}` is used by {process}; processes that share a store need different names")]
pub struct NodeInUse {
    /// The name.
    pub node: NodeId,
    /// The process that uses it.
    pub process: Process,
}

/// Whether this process holds the name of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum NodeName {
    /// The store has not granted it yet.
    #[default]
    Pending,
    /// This process holds it.
    Held,
    /// Another running process holds it.
    InUse(NodeInUse),
    /// This process held it and has given it up.
    Released,
}

/// Follows the answers to the renewals of one node.
#[derive(Default)]
pub(super) struct Claimant {
    /// The lease of another process, as it was seen first.
    other: Option<NodeLease>,
}

impl Claimant {
    pub(super) fn sees_other_process(&self) -> bool {
        self.other.is_some()
    }

    /// Evaluates the answer to a renewal.
    pub(super) fn observe(&mut self, node: &NodeId, renewal: &Renewal) -> NodeName {
        let Renewal::Held(lease) = renewal else {
            self.other = None;
            return NodeName::Held;
        };
        let seen = self.other.as_ref().filter(|seen| seen.process.id == lease.process.id);
        match seen {
            Some(seen) if seen.until != lease.until => {
                NodeName::InUse(NodeInUse { node: node.clone(), process: lease.process.clone() })
            }
            Some(_) => NodeName::Pending,
            None => {
                self.other = Some(lease.clone());
                NodeName::Pending
            }
        }
    }
}

/// Command: gives up the name of the node, so that another process can take it at once. Leases are not written any
/// more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ReleaseNode {
    pub(crate) answer: Reply<()>,
}

impl Handler<ReleaseNode> for Membership {
    type Result = ();

    fn handle(&mut self, ReleaseNode { answer }: ReleaseNode, ctx: &mut Self::Context) {
        if self.has_name(&NodeName::Held) {
            self.pending_release = Some(answer);
            self.start_write(ctx);
        } else {
            send_reply(answer, Ok(()));
        }
    }
}

impl Membership {
    /// Publishes whether this process holds the name, after the answer to a renewal. Repeats the renewal soon while
    /// another process holds it, but may be dead.
    pub(super) fn follow_node_name(&mut self, renewal: &Renewal, ctx: &mut Context<Self>) {
        let (node, was_held) = (&self.config.node.id, self.claimant.sees_other_process());
        let name = self.claimant.observe(node, renewal);
        match (&name, renewal) {
            (NodeName::InUse(in_use), _) if !self.has_name(&name) => error!("{in_use}"),
            (NodeName::Pending, Renewal::Held(lease)) => {
                if !was_held {
                    warn!(node:% = node; "waiting for the node name, which {} holds; if that process is dead, its lease expires within {} s", lease.process, self.config.lease.as_secs());
                }
                self.schedule_claim(ctx);
            }
            _ => {}
        }
        self.reports.node_name.send_replace(name);
    }

    fn schedule_claim(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.has_claim_timer, true) {
            return;
        }
        ctx.run_later(CLAIM_INTERVAL, |this, ctx| {
            this.has_claim_timer = false;
            this.begin_renewal(ctx);
        });
    }

    /// Gives up the name. If that fails, the name is free when the lease expires.
    pub(super) fn release_node(&mut self, answer: Reply<()>) -> LocalBoxActorFuture<Self, ()> {
        let (store, node) = (Arc::clone(&self.store.leases), self.config.node.clone());
        let deadline = Instant::now() + self.config.deadline;
        // Order: no renewal may take the name again.
        self.reports.node_name.send_replace(NodeName::Released);
        let released = async move { call_once(deadline, store.release(&node)).await };
        Box::pin(released.into_actor(self).map(|released, _, _| {
            if let Err(error) = &released {
                warn!(error:% = error; "failed to release the node name");
            }
            send_reply(answer, released);
        }))
    }
}

/// The result of a check of the store, which also fails while another process uses the name.
pub(super) fn check_result(checked: Result<(), Error>, name: &NodeName) -> Result<(), Error> {
    match name {
        NodeName::InUse(in_use) => checked.and(Err(Error::Unavailable(in_use.to_string()))),
        NodeName::Pending | NodeName::Held | NodeName::Released => checked,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn held_by(id: &str, until_secs: u64) -> Renewal {
        let until = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(until_secs));
        Renewal::Held(NodeLease { process: process(id), until })
    }

    fn process(id: &str) -> Process {
        Process { id: id.into(), host: "web-1".into(), pid: 7, since: SystemTime::UNIX_EPOCH }
    }

    fn states(renewals: &[Renewal]) -> Vec<&'static str> {
        let mut claimant = Claimant::default();
        let name_of = |renewal| match claimant.observe(&"alpha".into(), renewal) {
            NodeName::Held => "held",
            NodeName::Pending => "pending",
            NodeName::InUse(_) => "in use",
            NodeName::Released => "released",
        };
        renewals.iter().map(name_of).collect()
    }

    #[test]
    fn holder_that_renews_its_lease_uses_the_name() {
        let renewals = [held_by("one", 30), held_by("one", 30), held_by("one", 40), held_by("one", 40)];
        assert_eq!(states(&renewals), ["pending", "pending", "in use", "in use"]);
    }

    #[test]
    fn name_of_a_dead_holder_is_taken_over() {
        let renewed = Renewal::Renewed { closed: 0, users: Vec::new() };
        let renewals = [held_by("one", 30), held_by("one", 30), renewed.clone(), held_by("two", 60), renewed];
        assert_eq!(states(&renewals), ["pending", "pending", "held", "pending", "held"]);
    }

    #[test]
    fn next_holder_is_judged_by_its_own_lease() {
        let renewals = [held_by("one", 30), held_by("two", 60), held_by("two", 60), held_by("two", 70)];
        assert_eq!(states(&renewals), ["pending", "pending", "pending", "in use"]);
    }

    #[test]
    fn error_names_the_node_and_its_process() {
        let error = NodeInUse { node: "alpha".into(), process: process("one") };
        let expected = "the node name `alpha` is used by process 7 on web-1 since 1970-01-01T00:00:00Z; processes that \
                        share a store need different names";
        assert_eq!(error.to_string(), expected);
    }
}
