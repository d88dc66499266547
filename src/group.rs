//! One group: its members, their common order, and the fan-out.
//!
//! Role: takes publishes one after the other and pushes each into the outbox of every member.
//! Life: spawned by `groups` for the first join, retires when its last member has left; if it panics, its
//! members are told and join afresh.
//! Neighbours: outboxes and member actors below it, its shard of `groups` above.
//! Never: it does not know what a connection or a transport is, and waits for nobody.

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

pub use member::{Delivery, Member, MemberSink, MembershipToken};
use roster::Roster;
pub use roster::{Joined, Left};

/// How many messages may wait for a group. Beyond it, whoever publishes waits.
const MAILBOX: usize = 256;

/// A command: makes `member` a member. Sent by `groups` alone.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Admission")]
pub(crate) struct Join {
    pub(crate) member: Member,
    /// The incarnation of the shard that passes it on.
    pub(crate) epoch: u64,
}

/// What became of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub(crate) enum Admission {
    /// The member is in, since now or already.
    Member(Joined, Generation),
    /// The connection has ended meanwhile and was not let in.
    Ended,
}

/// Which of the groups that had a name one after the other; a later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub(crate) u64);

/// A command: ends a membership.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Left")]
pub(crate) struct Leave {
    pub(crate) id: ConnectionId,
}

/// A command: sends a call to the members.
#[derive(Clone, Debug, Message)]
#[rtype(result = "DeliveryCount")]
pub(crate) struct Publish {
    pub(crate) message: Arc<Message>,
    /// Who is left out.
    pub(crate) except: ConnectionSet,
}

/// How many members a publish was handed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, MessageResponse)]
pub struct DeliveryCount(pub usize);

/// The shard that a group belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) emptied: Recipient<Emptied>,
    pub(crate) fallen: Recipient<GroupCrashed>,
}

/// A command: another incarnation of the shard has taken the group over.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ShardChanged {
    /// Whom to tell from now on how the group fares.
    pub(crate) shard: Shard,
    pub(crate) epoch: u64,
}

/// The query of operators and tests.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Snapshot")]
pub(crate) struct Inspect(pub(crate) MemberRange);

/// Which members of a group a [`Snapshot`] lists, in the order of their ids.
#[derive(Clone, Debug)]
pub struct MemberRange {
    /// Only those after this one; from the first when absent.
    pub after: Option<ConnectionId>,
    /// At most so many.
    pub limit: usize,
}

impl MemberRange {
    /// Every member.
    pub const ALL: Self = Self { after: None, limit: usize::MAX };
    /// None of them: only how many there are.
    pub const NONE: Self = Self { after: None, limit: 0 };
}

/// What a group looks like from outside.
#[derive(Clone, Debug, Default, MessageResponse)]
pub struct Snapshot {
    /// Its members, those that were asked for, in the order of their ids.
    pub members: Vec<ConnectionId>,
    /// Which of these are actors of the application, in the same order.
    pub actors: Vec<ConnectionId>,
    /// How many members it has in all.
    pub total: usize,
    /// How many calls it has passed on.
    pub published: u64,
}

/// What an empty group tells its shard.
#[derive(Clone, Debug, Message)]
#[rtype(result = "RetireDecision")]
pub(crate) struct Emptied {
    pub(crate) key: Arc<GroupKey>,
    pub(crate) generation: Generation,
    /// The incarnation of the shard that was counted for, and how many of its joins had arrived.
    pub(crate) joins: (u64, u64),
}

/// What a group that panics leaves to its shard.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct GroupCrashed {
    pub(crate) key: Arc<GroupKey>,
    pub(crate) generation: Generation,
    /// Its actors, who are not told and are to be let in afresh. Clients join by themselves.
    pub(crate) actors: Vec<Member>,
}

/// What the shard answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub(crate) enum RetireDecision {
    /// No join is on its way, and none will be: the group is to end.
    Retire,
    /// A join is on its way.
    MembershipToken,
}

/// See the module's documentation.
pub(crate) struct Group {
    key: Arc<GroupKey>,
    generation: Generation,
    shard: Shard,
    scheduler: FlushScheduler,
    roster: Roster<MemberSink>,
    published: u64,
    /// Joins seen at the report of emptiness that is under way.
    reported: Option<(u64, u64)>,
    has_retired: bool,
}

impl Group {
    /// A group without members, of which its first is on the way. `generation` differs from that of any
    /// earlier group of the name.
    pub(crate) fn new(key: Arc<GroupKey>, generation: Generation, shard: Shard, scheduler: FlushScheduler) -> Self {
        Self {
            key,
            generation,
            shard,
            scheduler,
            roster: Roster::default(),
            published: 0,
            reported: None,
            has_retired: false,
        }
    }

    /// Tells the shard once that nobody is left, and ends if no join is on its way.
    fn report_if_empty(&mut self, ctx: &mut Context<Self>) {
        let joins = self.roster.joins();
        if !self.roster.is_empty() || self.reported == Some(joins) {
            return;
        }
        self.reported = Some(joins);
        let report = Emptied { key: Arc::clone(&self.key), generation: self.generation, joins };
        let answer = self.shard.emptied.send(report).into_actor(self).map(Self::meet_fate);
        ctx.spawn(answer);
    }

    fn meet_fate(fate: Result<RetireDecision, MailboxError>, group: &mut Self, ctx: &mut Context<Self>) {
        match fate {
            Ok(RetireDecision::Retire) => {
                group.has_retired = true;
                ctx.stop();
            }
            Ok(RetireDecision::MembershipToken) => group.report_if_empty(ctx),
            // The shard has died; its successor will make itself known.
            Err(_) => group.reported = None,
        }
    }

    fn deliver(
        &self,
        reach: &MemberSink,
        message: &Arc<Message>,
        shared: &SharedMessage,
        batch: &mut FlushBatch,
    ) -> bool {
        match reach {
            MemberSink::Outbox(outbox) => outbox.push_in(shared, batch) == Push::Queued,
            MemberSink::Actor(actor, _) => {
                let delivery = Delivery { group: Arc::clone(&self.key), message: Arc::clone(message) };
                actor.try_send(delivery).is_ok()
            }
        }
    }

    fn prune_actors(&mut self, ctx: &mut Context<Self>) {
        let gone = self.roster.iter().filter(|(_, reach)| matches!(reach, MemberSink::Actor(..)) && !reach.is_open());
        let gone: Vec<_> = gone.map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.roster.leave(&id);
        }
        self.report_if_empty(ctx);
    }
}

impl Actor for Group {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

/// A group that goes without having been told to has panicked: its members must know, and its shard.
impl Drop for Group {
    #[expect(clippy::disallowed_methods, reason = "at most one for each group")]
    fn drop(&mut self) {
        if self.has_retired {
            return;
        }
        // A group also goes when its thread does, and then there is nothing wrong.
        let level = if std::thread::panicking() { Level::Error } else { Level::Debug };
        log!(level, group:% = self.key, members = self.roster.len(); "group died, its members join afresh");
        let mut actors = Vec::new();
        for (id, reach) in self.roster.iter() {
            match reach {
                MemberSink::Outbox(outbox) => outbox.tell_lost(Arc::clone(&self.key), self.generation.0),
                MemberSink::Actor(..) => actors.push(Member { id: id.clone(), reach: reach.clone() }),
            }
        }
        self.shard.fallen.do_send(GroupCrashed { key: Arc::clone(&self.key), generation: self.generation, actors });
    }
}

impl Handler<Join> for Group {
    type Result = Admission;

    fn handle(&mut self, Join { member, epoch }: Join, ctx: &mut Self::Context) -> Admission {
        self.roster.count_join(epoch);
        // A member that has ended meanwhile has sent its leave already; it must not come in after it.
        let admission = if member.reach.is_open() {
            Admission::Member(self.roster.join(&member.id, member.reach), self.generation)
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
        let (mut reached, mut closed, mut batch) = (0, false, self.scheduler.batch());
        let shared = SharedMessage::new(Message::clone(&message));
        for (id, reach) in self.roster.iter() {
            if except.contains(id) {
                if let MemberSink::Outbox(outbox) = reach {
                    outbox.pass_over(&message);
                }
            } else if self.deliver(reach, &message, &shared, &mut batch) {
                reached += 1;
            } else {
                closed |= matches!(reach, MemberSink::Actor(..));
            }
        }
        batch.schedule();
        if closed {
            self.prune_actors(ctx);
        }
        DeliveryCount(reached)
    }
}

impl Handler<ShardChanged> for Group {
    type Result = ();

    fn handle(&mut self, ShardChanged { shard, epoch }: ShardChanged, ctx: &mut Self::Context) {
        self.shard = shard;
        self.roster.count_for(epoch);
        self.reported = None;
        self.report_if_empty(ctx);
    }
}

impl Handler<Inspect> for Group {
    type Result = Snapshot;

    fn handle(&mut self, Inspect(span): Inspect, _: &mut Self::Context) -> Snapshot {
        let listed = self.roster.span(span.after.as_ref(), span.limit);
        let actors = listed.iter().filter(|(_, reach)| matches!(reach, MemberSink::Actor(..)));
        Snapshot {
            actors: actors.map(|(id, _)| id.clone()).collect(),
            members: listed.iter().map(|(id, _)| id.clone()).collect(),
            total: self.roster.len(),
            published: self.published,
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Group);
