//! All groups: finds them, spawns them for their first member, retires them after their last.
//!
//! Role: the only place that starts a [`Group`](crate::group) and hands out its address.
//! Life: one shard for each worker thread, each supervised; a group's home is a hash of its name. A shard
//! that was restarted takes over the groups that its predecessor left.
//! Neighbours: connections and hubs above come in through [`GroupDirectory`]; groups below.
//! Never: a shard owns a map and awaits nothing. It counts the joins that it passes on, and retires a group
//! only if the group has seen them all: no join is lost to a dying group, no group outlives its members.

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
        Admission, Delivery, DeliveryCount, Generation, Group, Inspect, Leave, Left, Member, MemberRange, MemberSink,
        MembershipToken, Publish, Shard, Snapshot,
    },
    ids::{ConnectionId, ConnectionSet, GroupKey, HubName},
    message::Message,
    outbox::FlushScheduler,
    supervised::{Died, Supervised},
};

mod shard;

use shard::{Groups, JoinGroup};

/// How often a join is tried again when its group dies before it answers.
const ATTEMPTS: usize = 3;

/// Why a group could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The group died meanwhile. Its members are joining afresh; the same call may succeed in a moment.
    #[error("the group was interrupted, try again")]
    Interrupted,
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

type Directory = SharedMap<Arc<GroupKey>, GroupHandle, foldhash::fast::RandomState>;

struct Inner {
    directory: Directory,
    numbers: AtomicU64,
    count: usize,
    shards: SharedMap<usize, Supervised<Groups>, foldhash::fast::RandomState>,
    /// Held while a shard is given a home.
    settling: Mutex<()>,
    /// Where a shard lives that is first needed by a thread which runs no actors.
    fallback: ArbiterHandle,
}

/// The way to every group of the process, from any thread.
#[derive(Clone)]
pub struct GroupDirectory(Arc<Inner>);

impl std::fmt::Debug for GroupDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllGroups").field("groups", &self.count()).finish_non_exhaustive()
    }
}

impl GroupDirectory {
    /// No groups yet; `shards` threads will share them, and `fallback` is one that runs actors in any case.
    #[must_use]
    pub(crate) fn new(shards: usize, fallback: ArbiterHandle) -> Self {
        Self(Arc::new(Inner {
            directory: Directory::default(),
            numbers: AtomicU64::new(1),
            count: shards.max(1),
            shards: SharedMap::default(),
            settling: Mutex::default(),
            fallback,
        }))
    }

    /// Gives the calling worker thread a shard, if there is one without a home. A shard that nobody
    /// adopts finds a home on the thread that first needs it.
    pub(crate) fn adopt_shard(&self) {
        if let Some(index) = (0..self.0.count).find(|index| self.settled(*index).is_none()) {
            self.shard(index);
        }
    }

    /// Kills every shard, or one group; a group that there is not is dead already.
    #[cfg(any(test, feature = "testkit"))]
    pub(crate) async fn crash(&self, group: Option<&GroupKey>) {
        use crate::supervised::Crash;
        match group {
            Some(key) => {
                if let Some(living) = self.living(key) {
                    let _ = living.address.send(Crash).await;
                }
            }
            None => {
                for shard in (0..self.0.count).filter_map(|index| self.settled(index)) {
                    let _ = shard.send_once(Crash).await;
                }
            }
        }
    }

    /// The shard of that number, if it has a home. Its thread may have gone, as with a server that was stopped.
    fn settled(&self, index: usize) -> Option<Supervised<Groups>> {
        self.0.shards.pin().get(&index).filter(|shard| !shard.has_gone()).cloned()
    }

    /// The shard of that number, which is given a home here if it has none.
    fn shard(&self, index: usize) -> Supervised<Groups> {
        self.settled(index).unwrap_or_else(|| {
            // A panic under the lock has settled nothing.
            let _settling = self.0.settling.lock().unwrap_or_else(PoisonError::into_inner);
            self.settled(index).unwrap_or_else(|| self.settle(index))
        })
    }

    fn settle(&self, index: usize) -> Supervised<Groups> {
        let (all, arbiter) = (self.clone(), Arbiter::try_current().unwrap_or_else(|| self.0.fallback.clone()));
        let shard = Supervised::start("groups", &arbiter, move || Groups::new(index, all.clone()));
        self.0.shards.pin().insert(index, shard.clone());
        shard
    }

    /// A number that no group and no shard had before.
    fn next_number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn spawn(&self, key: &Arc<GroupKey>, shard: Shard, scheduler: &FlushScheduler) -> GroupHandle {
        let generation = Generation(self.next_number());
        let address = Group::new(Arc::clone(key), generation, shard, scheduler.clone()).start();
        let living = GroupHandle { address, generation };
        self.0.directory.pin().insert(Arc::clone(key), living.clone());
        living
    }

    fn home_of(&self, key: &GroupKey) -> usize {
        let hash = FixedState::default().hash_one(key);
        usize::try_from(hash % self.0.count as u64).expect("less than a count")
    }

    fn living(&self, key: &GroupKey) -> Option<GroupHandle> {
        self.0.directory.pin().get(key).cloned()
    }

    /// Makes `member` a member; the group comes into being if it has to.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies again and again meanwhile.
    pub(crate) async fn join(&self, key: &Arc<GroupKey>, member: Member) -> Result<Admission, Error> {
        let shard = self.shard(self.home_of(key));
        for _ in 0..ATTEMPTS {
            let enter = JoinGroup { key: Arc::clone(key), member: member.clone() };
            if let Ok(admission) = shard.send(enter).await? {
                return Ok(admission);
            }
        }
        Err(Error::Interrupted)
    }

    /// Ends a membership and answers what it was. Order: a join that is under way may arrive after it; whoever wants
    /// both waits for the first.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies meanwhile.
    pub(crate) async fn leave(&self, key: &Arc<GroupKey>, id: &ConnectionId) -> Result<Left, Error> {
        Ok(self.ask(key, || Leave { id: id.clone() }).await?.unwrap_or(Left::NoMember))
    }

    /// Ends a membership of a connection that ends, without waiting.
    #[expect(clippy::disallowed_methods, reason = "at most one for each join, so as bounded as the joins are")]
    pub(crate) fn abandon(&self, key: &GroupKey, id: &ConnectionId) {
        if let Some(group) = self.living(key) {
            group.address.do_send(Leave { id: id.clone() });
        }
    }

    /// Sends a call to the members, except some.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies meanwhile; some members may have got it.
    pub(crate) async fn publish(
        &self,
        key: &Arc<GroupKey>,
        message: &Arc<Message>,
        except: &ConnectionSet,
    ) -> Result<DeliveryCount, Error> {
        let publish = || Publish { message: Arc::clone(message), except: except.clone() };
        Ok(self.ask(key, publish).await?.unwrap_or_default())
    }

    /// Who is in a group; nothing if there is no such group.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies meanwhile.
    pub(crate) async fn inspect(&self, key: &Arc<GroupKey>) -> Result<Option<Snapshot>, Error> {
        self.survey(key, MemberRange::ALL).await
    }

    /// Some of who is in a group; nothing if there is no such group.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies meanwhile.
    pub(crate) async fn survey(&self, key: &Arc<GroupKey>, span: MemberRange) -> Result<Option<Snapshot>, Error> {
        self.ask(key, || Inspect(span.clone())).await
    }

    /// Asks a group that exists. One that retires meanwhile had no members, and is as good as absent.
    async fn ask<M>(&self, key: &GroupKey, message: impl Fn() -> M) -> Result<Option<M::Result>, Error>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Group: Handler<M>,
    {
        while let Some(group) = self.living(key) {
            match group.address.send(message()).await {
                Ok(result) => return Ok(Some(result)),
                Err(_) if self.living(key).is_some_and(|now| now.generation == group.generation) => {
                    return Err(Error::Interrupted);
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// How many groups there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.directory.pin().values().filter(|group| group.address.connected()).count()
    }

    /// The groups of a hub, or all of them, in no order.
    #[must_use]
    pub fn keys(&self, hub: Option<&HubName>) -> Vec<Arc<GroupKey>> {
        let directory = self.0.directory.pin();
        let wanted =
            directory.iter().filter(|(key, group)| group.address.connected() && hub.is_none_or(|hub| key.hub == *hub));
        wanted.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// How often a shard had to be started again.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.0.shards.pin().values().map(Supervised::restarts).sum()
    }

    /// Makes an actor of the application a member, until the answer is dropped.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies again and again meanwhile.
    pub(crate) async fn join_actor(
        &self,
        key: Arc<GroupKey>,
        actor: Recipient<Delivery>,
    ) -> Result<ActorMembership, Error> {
        let stay = Arc::new(MembershipToken);
        let reach = MemberSink::Actor(actor, Arc::downgrade(&stay));
        let membership = ActorMembership { groups: self.clone(), key, id: ConnectionId::random(), stay: Some(stay) };
        self.join(&membership.key, Member { id: membership.id.clone(), reach }).await?;
        Ok(membership)
    }
}

/// The membership of an actor; it ends when this is dropped.
#[derive(Debug)]
pub struct ActorMembership {
    groups: GroupDirectory,
    key: Arc<GroupKey>,
    id: ConnectionId,
    stay: Option<Arc<MembershipToken>>,
}

impl ActorMembership {
    /// The id under which the actor is a member; a send can except it.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }
}

impl Drop for ActorMembership {
    fn drop(&mut self) {
        // Order: a join that is under way must find it gone, should the leave overtake it.
        self.stay = None;
        self.groups.abandon(&self.key, &self.id);
    }
}

#[cfg(test)]
mod tests;
