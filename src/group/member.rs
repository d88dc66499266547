//! Who can be in a group, and what a member that is an actor is told.

use std::sync::{Arc, Weak};

use actix::prelude::*;

use crate::{
    ids::{ConnectionId, GroupKey},
    message::Message,
    outbox::Outbox,
};

/// Who can be reached through a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Whose membership this is; an actor has an id of its own, in the manner of a connection.
    pub id: ConnectionId,
    /// Where its messages go.
    pub reach: MemberSink,
}

/// How a member is reached.
#[derive(Clone, Debug)]
pub enum MemberSink {
    /// A client, through its outbox.
    Outbox(Arc<Outbox>),
    /// An actor of the application. A message that finds its mailbox full is not delivered to it.
    Actor(Recipient<Delivery>, Weak<MembershipToken>),
}

/// An actor's will to be a member: it is one as long as this is held.
#[derive(Debug)]
pub struct MembershipToken;

impl MemberSink {
    /// True until the membership is given up from its own side.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Outbox(outbox) => outbox.is_open(),
            Self::Actor(actor, stay) => actor.connected() && stay.strong_count() > 0,
        }
    }
}

/// What a member actor is told: somebody called the group.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Delivery {
    /// The group.
    pub group: Arc<GroupKey>,
    /// The call; its arguments are JSON.
    pub message: Arc<Message>,
}
