//! The requests to the membership actor.

use std::time::SystemTime;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::{
    connections::ConnectionHandle,
    ids::GroupName,
    store::{Change, CloseReason, Error, Lease, LeaseChange, LeaseEnd, MembershipChange, Owner},
};

/// Query: asks for the durable groups of a user.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Load {
    pub(crate) owner: Owner,
    pub(crate) answer: Reply<Vec<GroupName>>,
}

/// Command: adds or removes durable memberships, in one call of the store. The answer has the effect of each change.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Write {
    /// At least one change.
    pub(crate) changes: Vec<MembershipChange>,
    pub(crate) answer: Reply<Vec<Change>>,
}

/// The sender of an answer. It is dropped without an answer if the actor dies. The request may be repeated then.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

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

    /// The update for a connection that ends now.
    pub(crate) fn closed(handle: &ConnectionHandle, reason: CloseReason) -> Self {
        let (connection, since, at) = (handle.id.clone(), handle.info.since, SystemTime::now());
        Self { change: LeaseChange::Closed(LeaseEnd { connection, since, at, reason }) }
    }
}

pub(super) fn lease_of(handle: &ConnectionHandle) -> Lease {
    Lease {
        connection: handle.id.clone(),
        user: handle.user.clone(),
        user_agent: handle.info.user_agent.clone().into(),
        transport: handle.info.transport().to_owned(),
        since: handle.info.since,
    }
}
