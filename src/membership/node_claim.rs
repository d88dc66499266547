//! The claim of this process to the name of its node, for the engine.

use std::future::pending;

use tokio::sync::watch;

use super::{Membership, NodeInUse, NodeName, ReleaseNode};
use crate::supervised::Supervised;

/// A handle to wait for the name, to observe its loss, and to give it up.
#[derive(Clone, Debug)]
pub(crate) struct NodeClaim {
    membership: Supervised<Membership>,
    name: watch::Receiver<NodeName>,
}

impl NodeClaim {
    pub(crate) fn new(membership: Supervised<Membership>, name: watch::Receiver<NodeName>) -> Self {
        Self { membership, name }
    }

    /// Waits until this process holds the name.
    ///
    /// # Errors
    /// Another running process holds it.
    pub(crate) async fn granted(&self) -> Result<(), NodeInUse> {
        self.wait_for(|name| matches!(name, NodeName::Held | NodeName::InUse(_))).await;
        self.check()
    }

    /// Fails if another running process holds the name, as far as it is known.
    pub(crate) fn check(&self) -> Result<(), NodeInUse> {
        match &*self.name.borrow() {
            NodeName::InUse(in_use) => Err(in_use.clone()),
            NodeName::Pending | NodeName::Held | NodeName::Released => Ok(()),
        }
    }

    /// Waits until another running process holds the name.
    pub(crate) async fn lost(&self) {
        self.wait_for(|name| matches!(name, NodeName::InUse(_))).await;
    }

    async fn wait_for(&self, is_reached: impl Fn(&NodeName) -> bool) {
        if self.name.clone().wait_for(|name| is_reached(name)).await.is_err() {
            // The actor has ended with its thread, so the name does not change any more.
            pending::<()>().await;
        }
    }

    /// Gives up the name. If that fails, the name is free when the lease expires.
    pub(crate) async fn release(&self) {
        // The actor logs a failure.
        let _ = self.membership.ask(|answer| ReleaseNode { answer }).await;
    }
}
