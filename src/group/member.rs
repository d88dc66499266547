//! The members of groups: clients and actors of the application.

use std::sync::{Arc, Weak};

use actix::prelude::*;

use crate::{
    ids::{ConnectionId, GroupKey},
    message::Message,
    outbox::Outbox,
};

/// A member of a group, or a candidate that joins.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The id of the member. An actor gets a random id of the same form as a connection's.
    pub id: ConnectionId,
    /// The destination of its messages.
    pub sink: MemberSink,
}

/// The destination of a member's messages.
#[derive(Clone, Debug)]
pub(crate) enum MemberSink {
    /// A client, through its outbox.
    Outbox(Arc<Outbox>),
    /// An actor of the application. A message is dropped if the actor's mailbox is full.
    Actor(Recipient<Delivery>, Weak<MembershipToken>),
}

/// Keeps the membership of an actor alive: the actor is a member until the token is dropped.
#[derive(Debug)]
pub(crate) struct MembershipToken;

impl MemberSink {
    /// True until the outbox is closed, the actor has stopped, or its [`MembershipToken`] is dropped.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Outbox(outbox) => outbox.is_open(),
            Self::Actor(actor, token) => actor.connected() && token.strong_count() > 0,
        }
    }
}

/// The message that a member actor receives for each message that is sent to its group.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Delivery {
    /// The group.
    pub group: Arc<GroupKey>,
    /// The invocation of a client method. Its arguments are JSON.
    pub message: Arc<Message>,
}
