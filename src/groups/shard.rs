//! One shard of the group directory: an actor that owns a map of groups and never awaits.
//!
//! It counts the joins that it forwards to a group, and retires the group only if the group has received all of them.

use std::{collections::HashMap, sync::Arc};

use actix::prelude::*;

use super::{GroupDirectory, GroupHandle};
use crate::{
    group::{Admission, Emptied, Group, GroupCrashed, Join, Member, RetireDecision, Shard, ShardChanged},
    ids::GroupKey,
    outbox::FlushScheduler,
};

/// The mailbox capacity of a shard. When the mailbox is full, senders wait.
const MAILBOX_CAPACITY: usize = 1024;

/// Command: adds a member to a group, and spawns the group if it does not exist.
#[derive(Clone, Message)]
#[rtype(result = "Result<Admission, MailboxError>")]
pub(super) struct JoinGroup {
    pub(super) key: Arc<GroupKey>,
    pub(super) member: Member,
}

struct GroupEntry {
    handle: GroupHandle,
    /// The number of joins that this incarnation of the shard has forwarded to the group.
    joins: u64,
}

/// The actor of one shard.
pub(super) struct GroupShard {
    index: usize,
    epoch: u64,
    directory: GroupDirectory,
    scheduler: FlushScheduler,
    entries: HashMap<Arc<GroupKey>, GroupEntry, foldhash::fast::RandomState>,
}

impl GroupShard {
    pub(super) fn new(index: usize, directory: GroupDirectory) -> Self {
        Self {
            index,
            epoch: directory.next_number(),
            directory,
            scheduler: FlushScheduler::default(),
            entries: HashMap::default(),
        }
    }

    /// The live group of this key. Spawns one if there is none or the last one has stopped.
    fn entry(&mut self, key: &Arc<GroupKey>, ctx: &Context<Self>) -> &mut GroupEntry {
        if self.entries.get(key).is_some_and(|entry| !entry.handle.address.connected()) {
            self.entries.remove(key);
        }
        let (directory, scheduler) = (&self.directory, &self.scheduler);
        self.entries
            .entry(Arc::clone(key))
            .or_insert_with(|| GroupEntry { handle: directory.spawn(key, shard(ctx), scheduler), joins: 0 })
    }

    fn join(&mut self, key: &Arc<GroupKey>, member: Member, ctx: &Context<Self>) -> JoinFuture {
        let epoch = self.epoch;
        let entry = self.entry(key, ctx);
        entry.joins += 1;
        Box::pin(entry.handle.address.send(Join { member, epoch }))
    }

    fn remove(&mut self, key: &Arc<GroupKey>) {
        self.entries.remove(key);
        self.directory.0.groups.pin().remove(key);
    }

    /// Takes over the live groups of the previous incarnation of this shard, and removes those that have stopped since.
    fn take_over(&mut self, ctx: &Context<Self>) {
        let groups = self.directory.0.groups.pin();
        let is_mine = |key: &GroupKey| self.directory.shard_of(key) == self.index;
        groups.retain(|key, handle| !is_mine(key) || handle.address.connected());
        let mine = groups.iter().filter(|(key, _)| is_mine(key));
        self.entries =
            mine.map(|(key, handle)| (Arc::clone(key), GroupEntry { handle: handle.clone(), joins: 0 })).collect();
        let addresses: Vec<_> = self.entries.values().map(|entry| entry.handle.address.clone()).collect();
        actix::spawn(notify_shard_changed(addresses, ShardChanged { shard: shard(ctx), epoch: self.epoch }));
    }
}

/// Resolves to the group's answer to a join.
type JoinFuture = ResponseFuture<Result<Admission, MailboxError>>;

fn shard(ctx: &Context<GroupShard>) -> Shard {
    Shard { emptied: ctx.address().recipient(), crashed: ctx.address().recipient() }
}

async fn notify_shard_changed(groups: Vec<Addr<Group>>, shard_changed: ShardChanged) {
    for group in groups {
        // Sending fails if the group has stopped in the meantime. Then it needs no shard.
        let _ = group.send(shard_changed.clone()).await;
    }
}

impl Actor for GroupShard {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
        self.take_over(ctx);
    }
}

impl Handler<JoinGroup> for GroupShard {
    type Result = JoinFuture;

    fn handle(&mut self, JoinGroup { key, member }: JoinGroup, ctx: &mut Self::Context) -> Self::Result {
        self.join(&key, member, ctx)
    }
}

impl Handler<Emptied> for GroupShard {
    type Result = RetireDecision;

    fn handle(&mut self, emptied: Emptied, _: &mut Self::Context) -> RetireDecision {
        let Some(entry) = self.entries.get(&emptied.key).filter(|entry| entry.handle.generation == emptied.generation)
        else {
            return RetireDecision::Retire;
        };
        if emptied.joins != (self.epoch, entry.joins) {
            return RetireDecision::KeepAlive;
        }
        self.remove(&emptied.key);
        RetireDecision::Retire
    }
}

impl Handler<GroupCrashed> for GroupShard {
    type Result = ();

    fn handle(&mut self, crashed: GroupCrashed, ctx: &mut Self::Context) {
        if self.entries.get(&crashed.key).is_some_and(|entry| entry.handle.generation == crashed.generation) {
            self.remove(&crashed.key);
        }
        for member in crashed.actors {
            let join = self.join(&crashed.key, member, ctx);
            // If the next group crashes as well, it sends its own `GroupCrashed`.
            ctx.spawn(join.into_actor(self).map(|_, _, _| ()));
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(GroupShard);
