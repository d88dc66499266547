//! Stress test: a million concurrent joins, leaves, connection ends and publishes, while groups are created and
//! retired.
//!
//! Each driver alone changes the memberships of its own connections, so it knows them exactly. The answers of the
//! groups must agree with that model after each operation and at the end.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;

const OPERATIONS: usize = 1_000_000;
const THREADS: usize = 2;
const DRIVERS: usize = 16;
/// Few connections over many groups: a group rarely has more than two members, and retires often.
const CONNECTIONS: usize = 2;
const GROUPS: usize = 48;
/// The minimum number of groups that a meaningful run creates and retires.
const MIN_GROUPS_CREATED: u64 = 50_000;

/// The expected members of each group.
type Model = BTreeMap<usize, BTreeSet<ConnectionId>>;

/// Performs random operations with its own connections.
struct Driver {
    groups: GroupDirectory,
    keys: Arc<[Arc<GroupKey>]>,
    random: SmallRng,
    connections: Vec<Member>,
    model: Model,
}

impl Driver {
    fn new(groups: GroupDirectory, keys: Arc<[Arc<GroupKey>]>, seed: u64) -> Self {
        let connections = (0..CONNECTIONS).map(|_| client().0).collect();
        Self { groups, keys, random: SmallRng::seed_from_u64(seed), connections, model: Model::new() }
    }

    async fn run(mut self, operations: usize) -> Self {
        for _ in 0..operations {
            let (index, group) = (self.random.random_range(0..CONNECTIONS), self.random.random_range(0..GROUPS));
            match self.random.random_range(0..100) {
                0..35 => self.join(index, group).await,
                35..70 => self.leave(index, self.group_of(index).unwrap_or(group)).await,
                70..75 => self.leave(index, group).await,
                75..90 => self.publish(self.group_of(index).unwrap_or(group)).await,
                90..95 => self.end_connection(index),
                _ => self.end_connection_while_joining(index, group).await,
            }
        }
        self
    }

    /// A group that the connection is a member of.
    fn group_of(&self, index: usize) -> Option<usize> {
        let id = &self.connections[index].id;
        self.model.iter().find(|(_, members)| members.contains(id)).map(|(group, _)| *group)
    }

    async fn join(&mut self, index: usize, group: usize) {
        let member = self.connections[index].clone();
        let is_new = self.model.entry(group).or_default().insert(member.id.clone());
        let expected = if is_new { Joined::Now } else { Joined::Already };
        let answer = self.groups.join(&self.keys[group], member).await.unwrap();
        assert!(matches!(answer, Admission::Member(joined, _) if joined == expected), "{answer:?}, not {expected:?}");
    }

    async fn leave(&mut self, index: usize, group: usize) {
        let id = &self.connections[index].id;
        let was_member = self.model.entry(group).or_default().remove(id);
        let left = self.groups.leave(&self.keys[group], id).await.unwrap();
        assert_eq!(left == Left::Now, was_member);
    }

    async fn publish(&mut self, group: usize) {
        let DeliveryCount(reached) =
            self.groups.publish(&self.keys[group], &message(), &ConnectionSet::default()).await.unwrap();
        let own = self.model.get(&group).map_or(0, BTreeSet::len);
        assert!(reached >= own, "{reached} of at least {own} members");
    }

    /// Ends a connection as the engine does: its outbox closes, then it leaves all its groups. A new one replaces it.
    fn end_connection(&mut self, index: usize) {
        let member = std::mem::replace(&mut self.connections[index], client().0);
        close(&member);
        for (group, members) in &mut self.model {
            if members.remove(&member.id) {
                self.groups.leave_detached(&self.keys[*group], &member.id);
            }
        }
    }

    async fn end_connection_while_joining(&mut self, index: usize, group: usize) {
        let (groups, key) = (self.groups.clone(), Arc::clone(&self.keys[group]));
        let member = self.connections[index].clone();
        self.model.entry(group).or_default().insert(member.id.clone());
        let join = actix::spawn(async move { groups.join(&key, member).await });
        tokio::task::yield_now().await;
        self.end_connection(index);
        join.await.unwrap().unwrap();
    }
}

/// Runs the drivers on their own threads, each with a shard, and returns them with their models.
async fn drive(groups: &GroupDirectory, keys: &Arc<[Arc<GroupKey>]>, threads: &[Arbiter], seed: u64) -> Vec<Driver> {
    let runs = (0..DRIVERS).map(|number| {
        let driver = Driver::new(groups.clone(), Arc::clone(keys), seed.wrapping_add(number as u64));
        let (done, finished) = tokio::sync::oneshot::channel();
        threads[number % THREADS].spawn(async move {
            driver.groups.start_unassigned_shard();
            // Sending fails only if the test has failed and dropped the receiver.
            let _ = done.send(driver.run(OPERATIONS / DRIVERS).await);
        });
        async { finished.await.expect("no driver fails") }
    });
    join_all(runs).await
}

async fn compare(groups: &GroupDirectory, keys: &[Arc<GroupKey>], drivers: &[Driver]) {
    for (group, key) in keys.iter().enumerate() {
        let of_driver = |driver: &Driver| driver.model.get(&group).cloned().unwrap_or_default();
        let expected: BTreeSet<_> = drivers.iter().flat_map(of_driver).collect();
        let snapshot = groups.inspect(key).await.unwrap().unwrap_or_default();
        assert_eq!(snapshot.members.into_iter().collect::<BTreeSet<_>>(), expected, "{key}");
    }
}

#[actix::test]
async fn million_operations_match_model_without_leaks() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let groups = GroupDirectory::new(THREADS, Arbiter::current());
    let threads: Vec<_> = (0..THREADS).map(|_| Arbiter::new()).collect();
    let keys: Arc<[_]> = (0..GROUPS).map(|number| key(&format!("group {number}"))).collect();
    let mut drivers = drive(&groups, &keys, &threads, seed).await;
    let numbers = groups.next_number();
    assert!(numbers > MIN_GROUPS_CREATED, "only {numbers} groups were created");
    compare(&groups, &keys, &drivers).await;
    for driver in &mut drivers {
        (0..CONNECTIONS).for_each(|index| driver.end_connection(index));
    }
    wait_until_empty(&groups).await;
    for thread in threads {
        thread.stop();
    }
}
