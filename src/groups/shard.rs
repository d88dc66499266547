//! One shard of all groups: an actor that owns a map and awaits nothing.
//!
//! It counts the joins that it passes on, and retires a group only if the group has seen them all.

use std::{collections::HashMap, sync::Arc};

use actix::prelude::*;

use super::{GroupDirectory, GroupHandle};
use crate::{
    group::{Admission, Emptied, Group, GroupCrashed, Join, Member, RetireDecision, Shard, ShardChanged},
    ids::GroupKey,
    outbox::FlushScheduler,
};

/// How many messages may wait for a shard. Beyond it, whoever joins waits.
const MAILBOX: usize = 1024;

/// A command: lets a member into a group, which is spawned if it has to be.
#[derive(Clone, Message)]
#[rtype(result = "Result<Admission, MailboxError>")]
pub(super) struct JoinGroup {
    pub(super) key: Arc<GroupKey>,
    pub(super) member: Member,
}

struct GroupEntry {
    living: GroupHandle,
    /// How many joins this incarnation of the shard has passed on to it.
    joins: u64,
}

/// One shard.
pub(super) struct Groups {
    index: usize,
    epoch: u64,
    all: GroupDirectory,
    scheduler: FlushScheduler,
    homes: HashMap<Arc<GroupKey>, GroupEntry, foldhash::fast::RandomState>,
}

impl Groups {
    pub(super) fn new(index: usize, all: GroupDirectory) -> Self {
        Self { index, epoch: all.next_number(), all, scheduler: FlushScheduler::default(), homes: HashMap::default() }
    }

    /// The group of that name, alive: a dead one counts as absent.
    fn home(&mut self, key: &Arc<GroupKey>, ctx: &Context<Self>) -> &mut GroupEntry {
        if self.homes.get(key).is_some_and(|home| !home.living.address.connected()) {
            self.homes.remove(key);
        }
        let (all, scheduler) = (&self.all, &self.scheduler);
        self.homes
            .entry(Arc::clone(key))
            .or_insert_with(|| GroupEntry { living: all.spawn(key, shard(ctx), scheduler), joins: 0 })
    }

    fn enter(&mut self, key: &Arc<GroupKey>, member: Member, ctx: &Context<Self>) -> JoinFuture {
        let epoch = self.epoch;
        let home = self.home(key, ctx);
        home.joins += 1;
        Box::pin(home.living.address.send(Join { member, epoch }))
    }

    fn forget(&mut self, key: &Arc<GroupKey>) {
        self.homes.remove(key);
        self.all.0.directory.pin().remove(key);
    }

    /// Takes over the groups that a predecessor left, and forgets those that died after it.
    fn take_over(&mut self, ctx: &Context<Self>) {
        let directory = self.all.0.directory.pin();
        let is_mine = |key: &GroupKey| self.all.home_of(key) == self.index;
        directory.retain(|key, living| !is_mine(key) || living.address.connected());
        let mine = directory.iter().filter(|(key, _)| is_mine(key));
        self.homes =
            mine.map(|(key, living)| (Arc::clone(key), GroupEntry { living: living.clone(), joins: 0 })).collect();
        let addresses: Vec<_> = self.homes.values().map(|home| home.living.address.clone()).collect();
        actix::spawn(adopt(addresses, ShardChanged { shard: shard(ctx), epoch: self.epoch }));
    }
}

/// What a group answers to a join.
type JoinFuture = ResponseFuture<Result<Admission, MailboxError>>;

fn shard(ctx: &Context<Groups>) -> Shard {
    Shard { emptied: ctx.address().recipient(), fallen: ctx.address().recipient() }
}

async fn adopt(groups: Vec<Addr<Group>>, adopt: ShardChanged) {
    for group in groups {
        // A group that has died meanwhile needs no shard.
        let _ = group.send(adopt.clone()).await;
    }
}

impl Actor for Groups {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.take_over(ctx);
    }
}

impl Handler<JoinGroup> for Groups {
    type Result = JoinFuture;

    fn handle(&mut self, JoinGroup { key, member }: JoinGroup, ctx: &mut Self::Context) -> Self::Result {
        self.enter(&key, member, ctx)
    }
}

impl Handler<Emptied> for Groups {
    type Result = RetireDecision;

    fn handle(&mut self, emptied: Emptied, _: &mut Self::Context) -> RetireDecision {
        let Some(home) = self.homes.get(&emptied.key).filter(|home| home.living.generation == emptied.generation)
        else {
            return RetireDecision::Retire;
        };
        if emptied.joins != (self.epoch, home.joins) {
            return RetireDecision::MembershipToken;
        }
        self.forget(&emptied.key);
        RetireDecision::Retire
    }
}

impl Handler<GroupCrashed> for Groups {
    type Result = ();

    fn handle(&mut self, fallen: GroupCrashed, ctx: &mut Self::Context) {
        if self.homes.get(&fallen.key).is_some_and(|home| home.living.generation == fallen.generation) {
            self.forget(&fallen.key);
        }
        for member in fallen.actors {
            let entered = self.enter(&fallen.key, member, ctx);
            // If this one dies as well, it says so itself.
            ctx.spawn(entered.into_actor(self).map(|_, _, _| ()));
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Groups);
