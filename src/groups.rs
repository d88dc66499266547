//! The directory of all groups: finds groups, spawns a group for its first member and retires it after its last.
//!
//! Only this module starts a [`Group`](crate::group) and hands out its address. Connections and hubs use it through
//! [`GroupDirectory`].
//!
//! Groups are divided among shards by a hash of their key. There is one supervised shard actor for each worker thread.
//! A restarted shard takes over the groups that its predecessor left.
//!
//! A shard owns a map and never awaits. It counts the joins that it forwards to a group, and retires the group only if
//! the group has received all of them. Therefore no join is lost to a retiring group, and no group outlives its
//! members.

use std::{
    hash::BuildHasher,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::prelude::*;
use foldhash::fast::FixedState;
use papaya::HashMap as SharedMap;

use crate::{
    group::{
        Admission, Delivery, DeliveryCount, Generation, Group, GroupSnapshot, Inspect, Leave, Left, Member,
        MemberRange, MemberSink, MembershipToken, Publish, Shard,
    },
    ids::{ConnectionId, ConnectionSet, GroupKey, HubName, InvalidName},
    message::Message,
    outbox::FlushScheduler,
    supervised::{Died, Supervised},
};

mod shard;

use shard::{GroupShard, JoinGroup};

/// The number of attempts to join. A join is repeated if the group panics before it answers.
const MAX_JOIN_ATTEMPTS: usize = 3;

/// Why an operation on a group failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The group panicked during the operation. Its members are joining again. The same call may succeed when repeated.
    #[error("the group was interrupted, try again")]
    Interrupted,
    /// The name of the group has more than 256 characters or contains U+0000. Nothing has changed.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
}

impl From<Died> for Error {
    fn from(_: Died) -> Self {
        Self::Interrupted
    }
}

#[derive(Clone)]
struct GroupHandle {
    address: Addr<Group>,
    generation: Generation,
}

type GroupMap = SharedMap<Arc<GroupKey>, GroupHandle, foldhash::fast::RandomState>;

struct Inner {
    groups: GroupMap,
    next_number: AtomicU64,
    shard_count: usize,
    shards: SharedMap<usize, Supervised<GroupShard>, foldhash::fast::RandomState>,
    /// Held while a shard is started, so that no shard is started twice.
    starting: Mutex<()>,
    /// The thread for a shard that is started by a thread without an arbiter.
    fallback: ArbiterHandle,
}

/// Gives access to every group of the process, from any thread.
#[derive(Clone)]
pub struct GroupDirectory(Arc<Inner>);

impl std::fmt::Debug for GroupDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupDirectory").field("groups", &self.count()).finish_non_exhaustive()
    }
}

impl GroupDirectory {
    /// Creates an empty directory with `shards` shards. `fallback` runs the shards that a thread without an arbiter
    /// starts.
    #[must_use]
    pub(crate) fn new(shards: usize, fallback: ArbiterHandle) -> Self {
        Self(Arc::new(Inner {
            groups: GroupMap::default(),
            next_number: AtomicU64::new(1),
            shard_count: shards.max(1),
            shards: SharedMap::default(),
            starting: Mutex::default(),
            fallback,
        }))
    }

    /// Starts a shard on the calling worker thread, if there is one that does not run. The thread that first needs a
    /// shard starts it if no worker thread has done so.
    pub(crate) fn start_unassigned_shard(&self) {
        if let Some(index) = (0..self.0.shard_count).find(|index| self.running_shard(*index).is_none()) {
            self.shard(index);
        }
    }

    /// Crashes one group, or every shard if `group` is `None`. Does nothing if the group does not exist.
    #[cfg(any(test, feature = "testkit"))]
    pub(crate) async fn crash(&self, group: Option<&GroupKey>) {
        use crate::supervised::Crash;
        match group {
            Some(key) => {
                if let Some(handle) = self.find(key) {
                    let _ = handle.address.send(Crash).await;
                }
            }
            None => {
                for shard in (0..self.0.shard_count).filter_map(|index| self.running_shard(index)) {
                    let _ = shard.send_once(Crash).await;
                }
            }
        }
    }

    /// The shard with this index, if it runs. It does not run before its start and after its thread has ended, as when
    /// a server was stopped.
    fn running_shard(&self, index: usize) -> Option<Supervised<GroupShard>> {
        self.0.shards.pin().get(&index).filter(|shard| !shard.has_stopped()).cloned()
    }

    /// The shard with this index. Starts it on the calling thread if it does not run.
    fn shard(&self, index: usize) -> Supervised<GroupShard> {
        self.running_shard(index).unwrap_or_else(|| {
            // The lock guards no data, so a poisoned lock is usable.
            let _starting = self.0.starting.lock().unwrap_or_else(PoisonError::into_inner);
            self.running_shard(index).unwrap_or_else(|| self.start_shard(index))
        })
    }

    fn start_shard(&self, index: usize) -> Supervised<GroupShard> {
        let (directory, arbiter) = (self.clone(), Arbiter::try_current().unwrap_or_else(|| self.0.fallback.clone()));
        let shard = Supervised::start("groups", &arbiter, move || GroupShard::new(index, directory.clone()));
        self.0.shards.pin().insert(index, shard.clone());
        shard
    }

    /// A number that is greater than that of every earlier group and shard.
    fn next_number(&self) -> u64 {
        self.0.next_number.fetch_add(1, Ordering::Relaxed)
    }

    fn spawn(&self, key: &Arc<GroupKey>, shard: Shard, scheduler: &FlushScheduler) -> GroupHandle {
        let generation = Generation(self.next_number());
        let address = Group::new(Arc::clone(key), generation, shard, scheduler.clone()).start();
        let handle = GroupHandle { address, generation };
        self.0.groups.pin().insert(Arc::clone(key), handle.clone());
        handle
    }

    /// The index of the shard that a group belongs to.
    fn shard_of(&self, key: &GroupKey) -> usize {
        let hash = FixedState::default().hash_one(key);
        usize::try_from(hash % self.0.shard_count as u64).expect("less than shard_count, a usize")
    }

    /// The key that all members of a group share, or `key` itself if there is no such group.
    pub(crate) fn shared_key(&self, key: &Arc<GroupKey>) -> Arc<GroupKey> {
        Arc::clone(self.0.groups.pin().get_key_value(key).map_or(key, |(shared, _)| shared))
    }

    fn find(&self, key: &GroupKey) -> Option<GroupHandle> {
        self.0.groups.pin().get(key).cloned()
    }

    /// Adds `member` to a group, and creates the group if it does not exist.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group panics on every attempt.
    pub(crate) async fn join(&self, key: &Arc<GroupKey>, member: Member) -> Result<Admission, Error> {
        let shard = self.shard(self.shard_of(key));
        for _ in 0..MAX_JOIN_ATTEMPTS {
            let join = JoinGroup { key: Arc::clone(key), member: member.clone() };
            if let Ok(admission) = shard.send(join).await? {
                return Ok(admission);
            }
        }
        Err(Error::Interrupted)
    }

    /// Ends a membership, and returns whether there was one. Order: a join of the same member that is still in flight
    /// may arrive after the leave. A caller that does both awaits the first.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group panics in the meantime.
    pub(crate) async fn leave(&self, key: &Arc<GroupKey>, id: &ConnectionId) -> Result<Left, Error> {
        Ok(self.ask(key, || Leave { id: id.clone() }).await?.unwrap_or(Left::NotMember))
    }

    /// Ends a membership without waiting for the result: for a connection or an actor membership that ends.
    #[expect(clippy::disallowed_methods, reason = "at most one for each join, so bounded by the joins")]
    pub(crate) fn leave_detached(&self, key: &GroupKey, id: &ConnectionId) {
        if let Some(group) = self.find(key) {
            group.address.do_send(Leave { id: id.clone() });
        }
    }

    /// Sends a message to the members of a group, except those in `except`.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group panics in the meantime. Some members may have received the message.
    pub(crate) async fn publish(
        &self,
        key: &Arc<GroupKey>,
        message: &Arc<Message>,
        except: &ConnectionSet,
    ) -> Result<DeliveryCount, Error> {
        let publish = || Publish { message: Arc::clone(message), except: except.clone() };
        Ok(self.ask(key, publish).await?.unwrap_or_default())
    }

    /// The state of a group with all members, or `None` if there is no such group.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group panics in the meantime.
    pub(crate) async fn inspect(&self, key: &Arc<GroupKey>) -> Result<Option<GroupSnapshot>, Error> {
        self.inspect_range(key, MemberRange::ALL).await
    }

    /// The state of a group with the members in `range`, or `None` if there is no such group.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group panics in the meantime.
    pub(crate) async fn inspect_range(
        &self,
        key: &Arc<GroupKey>,
        range: MemberRange,
    ) -> Result<Option<GroupSnapshot>, Error> {
        self.ask(key, || Inspect(range.clone())).await
    }

    /// Sends a message to a group and awaits the answer. Returns `None` if there is no such group, or if it retires in
    /// the meantime, since a retiring group has no members.
    async fn ask<M>(&self, key: &GroupKey, message: impl Fn() -> M) -> Result<Option<M::Result>, Error>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Group: Handler<M>,
    {
        while let Some(group) = self.find(key) {
            match group.address.send(message()).await {
                Ok(result) => return Ok(Some(result)),
                Err(_) if self.find(key).is_some_and(|found| found.generation == group.generation) => {
                    return Err(Error::Interrupted);
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// The number of groups.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.groups.pin().values().filter(|group| group.address.connected()).count()
    }

    /// The keys of all groups of `hub`, or of all hubs if it is `None`, in no particular order.
    #[must_use]
    pub fn keys(&self, hub: Option<&HubName>) -> Vec<Arc<GroupKey>> {
        let groups = self.0.groups.pin();
        let wanted =
            groups.iter().filter(|(key, group)| group.address.connected() && hub.is_none_or(|hub| key.hub == *hub));
        wanted.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// The number of restarts of all shards.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.0.shards.pin().values().map(Supervised::restarts).sum()
    }

    /// Adds an actor of the application to a group. The membership ends when the returned value is dropped.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group panics on every attempt.
    pub(crate) async fn join_actor(
        &self,
        key: Arc<GroupKey>,
        actor: Recipient<Delivery>,
    ) -> Result<ActorMembership, Error> {
        let token = Arc::new(MembershipToken);
        let sink = MemberSink::Actor(actor, Arc::downgrade(&token));
        let membership = ActorMembership { groups: self.clone(), key, id: ConnectionId::random(), token: Some(token) };
        self.join(&membership.key, Member { id: membership.id.clone(), sink }).await?;
        Ok(membership)
    }
}

/// The membership of an actor in a group. It ends when this value is dropped.
#[derive(Debug)]
pub struct ActorMembership {
    groups: GroupDirectory,
    key: Arc<GroupKey>,
    id: ConnectionId,
    token: Option<Arc<MembershipToken>>,
}

impl ActorMembership {
    /// The id of the actor as a member of the group. A send can exclude it.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }
}

impl Drop for ActorMembership {
    fn drop(&mut self) {
        // Order: drop the token first. If the leave overtakes a join that is in flight, the join must find the token
        // gone.
        self.token = None;
        self.groups.leave_detached(&self.key, &self.id);
    }
}

#[cfg(test)]
mod tests;
