//! The group actor: the members of one group, and the fan-out of messages to them.
//!
//! A group processes publishes one at a time and pushes each message into the outbox of every member, so all members
//! see the messages in the same order. A member that is an actor of the application receives a [`Delivery`] instead.
//!
//! A shard of `groups` spawns a group for its first join and retires it after its last member has left. If a group
//! panics, its members are notified and join again.
//!
//! A group does not know what a connection or a transport is. It never awaits anything while it handles a message.

use std::sync::Arc;

use actix::prelude::*;
use log::{Level, log};

use crate::{
    ids::{ConnectionId, ConnectionSet, GroupKey},
    message::Message,
    outbox::{FlushBatch, FlushScheduler, Push, SharedMessage},
};

mod member;
mod roster;

pub use member::Delivery;
pub(crate) use member::{Member, MemberSink, MembershipToken};
use roster::Roster;
pub(crate) use roster::{Joined, Left};

/// The mailbox capacity of a group. When the mailbox is full, senders wait.
const MAILBOX_CAPACITY: usize = 256;

/// Command: adds `member` to the group. Only a shard of `groups` sends it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Admission")]
pub(crate) struct Join {
    pub(crate) member: Member,
    /// The incarnation of the shard that forwards the join.
    pub(crate) epoch: u64,
}

/// The result of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub(crate) enum Admission {
    /// The connection or actor is a member, as of now or already before.
    Member(Joined, Generation),
    /// The connection ended or the actor gave up its membership in the meantime, so it was not added.
    Ended,
}

/// Tells apart the successive groups of the same name. A later group has a greater generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(pub(crate) u64);

/// Command: ends a membership.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Left")]
pub(crate) struct Leave {
    pub(crate) id: ConnectionId,
}

/// Command: sends a message to the members.
#[derive(Clone, Debug, Message)]
#[rtype(result = "DeliveryCount")]
pub(crate) struct Publish {
    pub(crate) message: Arc<Message>,
    /// The members that do not receive the message.
    pub(crate) except: ConnectionSet,
}

/// The number of members that a message was handed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, MessageResponse)]
pub(crate) struct DeliveryCount(pub usize);

/// The recipients of a group's reports: the shard that the group belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) emptied: Recipient<Emptied>,
    pub(crate) crashed: Recipient<GroupCrashed>,
}

/// Command: another incarnation of the shard has taken over the group.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ShardChanged {
    /// The recipients of the group's reports from now on.
    pub(crate) shard: Shard,
    pub(crate) epoch: u64,
}

/// Query: asks for a [`GroupSnapshot`] of the group. Operators and tests use it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "GroupSnapshot")]
pub(crate) struct Inspect(pub(crate) MemberRange);

/// Selects the members that a [`GroupSnapshot`] lists, in the order of their ids.
#[derive(Clone, Debug)]
pub(crate) struct MemberRange {
    /// Lists only members with a greater id than this one. `None` lists from the first.
    pub after: Option<ConnectionId>,
    /// The maximum number of members to list.
    pub limit: usize,
}

impl MemberRange {
    /// All members.
    pub(crate) const ALL: Self = Self { after: None, limit: usize::MAX };
    /// No members, only the total.
    pub(crate) const NONE: Self = Self { after: None, limit: 0 };
}

/// The state of a group at one moment.
#[derive(Clone, Debug, Default, MessageResponse)]
pub struct GroupSnapshot {
    /// The members in the requested `MemberRange`, in the order of their ids.
    pub members: Vec<ConnectionId>,
    /// The subset of `members` that are actors of the application, in the same order.
    pub actors: Vec<ConnectionId>,
    /// The number of all members.
    pub total: usize,
    /// The number of messages that were published to the group.
    pub published: u64,
}

/// Report of a group to its shard: the group has no members.
#[derive(Clone, Debug, Message)]
#[rtype(result = "RetireDecision")]
pub(crate) struct Emptied {
    pub(crate) key: Arc<GroupKey>,
    pub(crate) generation: Generation,
    /// The incarnation of the shard, and the number of its joins that the group has received.
    pub(crate) joins: (u64, u64),
}

/// Report of a group to its shard: the group panicked or its thread ended.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct GroupCrashed {
    pub(crate) key: Arc<GroupKey>,
    pub(crate) generation: Generation,
    /// The members that are actors. The shard adds them to the next group of the name, since actors receive no
    /// notification of the crash. Clients are notified and join again by themselves.
    pub(crate) actors: Vec<Member>,
}

/// The shard's answer to [`Emptied`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub(crate) enum RetireDecision {
    /// No join is in flight, and the shard will send none: the group must stop.
    Retire,
    /// A join is in flight: the group must not stop.
    KeepAlive,
}

/// The group actor. See the module documentation.
pub(crate) struct Group {
    key: Arc<GroupKey>,
    generation: Generation,
    shard: Shard,
    scheduler: FlushScheduler,
    roster: Roster<MemberSink>,
    published: u64,
    /// The value of [`Roster::joins`] in the [`Emptied`] report that awaits its answer, if there is one.
    reported_joins: Option<(u64, u64)>,
    has_retired: bool,
}

impl Group {
    /// Creates a group without members. The caller sends the first [`Join`] next. `generation` must be greater than
    /// that of every earlier group of the same name.
    pub(crate) fn new(key: Arc<GroupKey>, generation: Generation, shard: Shard, scheduler: FlushScheduler) -> Self {
        Self {
            key,
            generation,
            shard,
            scheduler,
            roster: Roster::default(),
            published: 0,
            reported_joins: None,
            has_retired: false,
        }
    }

    /// Reports an empty roster to the shard, once for each count of joins. The group stops if the shard answers that no
    /// join is in flight.
    fn report_if_empty(&mut self, ctx: &mut Context<Self>) {
        let joins = self.roster.joins();
        if !self.roster.is_empty() || self.reported_joins == Some(joins) {
            return;
        }
        self.reported_joins = Some(joins);
        let report = Emptied { key: Arc::clone(&self.key), generation: self.generation, joins };
        let answer = self.shard.emptied.send(report).into_actor(self).map(Self::on_retire_decision);
        ctx.spawn(answer);
    }

    fn on_retire_decision(decision: Result<RetireDecision, MailboxError>, group: &mut Self, ctx: &mut Context<Self>) {
        match decision {
            Ok(RetireDecision::Retire) => {
                group.has_retired = true;
                ctx.stop();
            }
            Ok(RetireDecision::KeepAlive) => group.report_if_empty(ctx),
            // The shard has died. Its successor will send `ShardChanged`.
            Err(_) => group.reported_joins = None,
        }
    }

    fn deliver(
        &self,
        sink: &MemberSink,
        message: &Arc<Message>,
        shared: &SharedMessage,
        batch: &mut FlushBatch,
    ) -> bool {
        match sink {
            MemberSink::Outbox(outbox) => outbox.push_batched(shared, batch) == Push::Queued,
            MemberSink::Actor(actor, _) => {
                let delivery = Delivery { group: Arc::clone(&self.key), message: Arc::clone(message) };
                actor.try_send(delivery).is_ok()
            }
        }
    }

    fn remove_closed_actors(&mut self, ctx: &mut Context<Self>) {
        let closed = self.roster.iter().filter(|(_, sink)| matches!(sink, MemberSink::Actor(..)) && !sink.is_open());
        let closed: Vec<_> = closed.map(|(id, _)| id.clone()).collect();
        for id in closed {
            self.roster.leave(&id);
        }
        self.report_if_empty(ctx);
    }
}

impl Actor for Group {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
    }
}

/// A group that is dropped without having retired has panicked, or its thread has ended. It notifies its members and
/// its shard.
impl Drop for Group {
    #[expect(clippy::disallowed_methods, reason = "at most one for each group")]
    fn drop(&mut self) {
        if self.has_retired {
            return;
        }
        // A group is also dropped when its thread ends. That is not an error.
        let level = if std::thread::panicking() { Level::Error } else { Level::Debug };
        log!(
            level, group:% = self.key, members = self.roster.len();
            "group actor was dropped without retiring; its members rejoin"
        );
        let mut actors = Vec::new();
        for (id, sink) in self.roster.iter() {
            match sink {
                MemberSink::Outbox(outbox) => outbox.report_group_lost(Arc::clone(&self.key), self.generation.0),
                MemberSink::Actor(..) => actors.push(Member { id: id.clone(), sink: sink.clone() }),
            }
        }
        self.shard.crashed.do_send(GroupCrashed { key: Arc::clone(&self.key), generation: self.generation, actors });
    }
}

impl Handler<Join> for Group {
    type Result = Admission;

    fn handle(&mut self, Join { member, epoch }: Join, ctx: &mut Self::Context) -> Admission {
        self.roster.count_join(epoch);
        // A member that has ended in the meantime has already sent its `Leave`. Adding it now would leave it in the
        // roster for ever.
        let admission = if member.sink.is_open() {
            Admission::Member(self.roster.join(&member.id, member.sink), self.generation)
        } else {
            Admission::Ended
        };
        self.report_if_empty(ctx);
        admission
    }
}

impl Handler<Leave> for Group {
    type Result = Left;

    fn handle(&mut self, Leave { id }: Leave, ctx: &mut Self::Context) -> Left {
        let left = self.roster.leave(&id);
        self.report_if_empty(ctx);
        left
    }
}

impl Handler<Publish> for Group {
    type Result = DeliveryCount;

    fn handle(&mut self, Publish { message, except }: Publish, ctx: &mut Self::Context) -> DeliveryCount {
        self.published += 1;
        let (mut reached, mut has_closed_actor, mut batch) = (0, false, self.scheduler.batch());
        let shared = SharedMessage::new(Message::clone(&message));
        for (id, sink) in self.roster.iter() {
            if except.contains(id) {
                if let MemberSink::Outbox(outbox) = sink {
                    outbox.skip(&message);
                }
            } else if self.deliver(sink, &message, &shared, &mut batch) {
                reached += 1;
            } else {
                has_closed_actor |= matches!(sink, MemberSink::Actor(..));
            }
        }
        batch.schedule();
        if has_closed_actor {
            self.remove_closed_actors(ctx);
        }
        DeliveryCount(reached)
    }
}

impl Handler<ShardChanged> for Group {
    type Result = ();

    fn handle(&mut self, ShardChanged { shard, epoch }: ShardChanged, ctx: &mut Self::Context) {
        self.shard = shard;
        self.roster.set_epoch(epoch);
        self.reported_joins = None;
        self.report_if_empty(ctx);
    }
}

impl Handler<Inspect> for Group {
    type Result = GroupSnapshot;

    fn handle(&mut self, Inspect(range): Inspect, _: &mut Self::Context) -> GroupSnapshot {
        let listed = self.roster.range(range.after.as_ref(), range.limit);
        let actors = listed.iter().filter(|(_, sink)| matches!(sink, MemberSink::Actor(..)));
        GroupSnapshot {
            actors: actors.map(|(id, _)| id.clone()).collect(),
            members: listed.iter().map(|(id, _)| id.clone()).collect(),
            total: self.roster.len(),
            published: self.published,
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Group);
