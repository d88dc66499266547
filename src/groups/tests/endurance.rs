//! A million joins, leaves, deaths and publishes at once, while groups come and go all the time.
//!
//! Each driver knows what its own connections are members of, since nobody else moves them: whatever the
//! groups say must agree with that, after each answer and at the end.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;

const OPERATIONS: usize = 1_000_000;
const THREADS: usize = 2;
const DRIVERS: usize = 16;
/// Few connections over many groups: a group rarely has more than a member or two, and dies often.
const CONNECTIONS: usize = 2;
const GROUPS: usize = 48;
/// So many groups at least must have come and gone, or the run has shown nothing.
const LIVES: u64 = 50_000;

/// The members of each group, as far as one driver or all of them know.
type Model = BTreeMap<usize, BTreeSet<ConnectionId>>;

/// One of many who join, leave, die and publish.
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
            let (place, group) = (self.random.random_range(0..CONNECTIONS), self.random.random_range(0..GROUPS));
            match self.random.random_range(0..100) {
                0..35 => self.join(place, group).await,
                35..70 => self.leave(place, self.group_of(place).unwrap_or(group)).await,
                70..75 => self.leave(place, group).await,
                75..90 => self.publish(self.group_of(place).unwrap_or(group)).await,
                90..95 => self.die(place),
                _ => self.die_while_joining(place, group).await,
            }
        }
        self
    }

    /// A group that this connection is in.
    fn group_of(&self, place: usize) -> Option<usize> {
        let id = &self.connections[place].id;
        self.model.iter().find(|(_, members)| members.contains(id)).map(|(group, _)| *group)
    }

    async fn join(&mut self, place: usize, group: usize) {
        let member = self.connections[place].clone();
        let is_new = self.model.entry(group).or_default().insert(member.id.clone());
        let expected = if is_new { Joined::Now } else { Joined::Already };
        let answer = self.groups.join(&self.keys[group], member).await.unwrap();
        assert!(matches!(answer, Admission::Member(joined, _) if joined == expected), "{answer:?}, not {expected:?}");
    }

    async fn leave(&mut self, place: usize, group: usize) {
        let id = &self.connections[place].id;
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

    /// As a connection ends: its outbox closes, then it leaves whatever it may be in.
    fn die(&mut self, place: usize) {
        let member = std::mem::replace(&mut self.connections[place], client().0);
        close(&member);
        for (group, members) in &mut self.model {
            if members.remove(&member.id) {
                self.groups.abandon(&self.keys[*group], &member.id);
            }
        }
    }

    async fn die_while_joining(&mut self, place: usize, group: usize) {
        let (groups, key) = (self.groups.clone(), Arc::clone(&self.keys[group]));
        let member = self.connections[place].clone();
        self.model.entry(group).or_default().insert(member.id.clone());
        let join = actix::spawn(async move { groups.join(&key, member).await });
        tokio::task::yield_now().await;
        self.die(place);
        join.await.unwrap().unwrap();
    }
}

/// Runs the drivers on threads of their own, each with a shard, and answers what they know in the end.
async fn drive(groups: &GroupDirectory, keys: &Arc<[Arc<GroupKey>]>, threads: &[Arbiter], seed: u64) -> Vec<Driver> {
    let runs = (0..DRIVERS).map(|number| {
        let driver = Driver::new(groups.clone(), Arc::clone(keys), seed.wrapping_add(number as u64));
        let (done, finished) = tokio::sync::oneshot::channel();
        threads[number % THREADS].spawn(async move {
            driver.groups.adopt_shard();
            // Whoever waits has failed already.
            let _ = done.send(driver.run(OPERATIONS / DRIVERS).await);
        });
        async { finished.await.expect("no driver has found a fault") }
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
async fn a_million_operations_lose_no_join_and_leak_no_group() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let groups = GroupDirectory::new(THREADS, Arbiter::current());
    let threads: Vec<_> = (0..THREADS).map(|_| Arbiter::new()).collect();
    let keys: Arc<[_]> = (0..GROUPS).map(|number| key(&format!("group {number}"))).collect();
    let mut drivers = drive(&groups, &keys, &threads, seed).await;
    let lives = groups.next_number();
    assert!(lives > LIVES, "only {lives} groups have lived");
    compare(&groups, &keys, &drivers).await;
    for driver in &mut drivers {
        (0..CONNECTIONS).for_each(|place| driver.die(place));
    }
    gone(&groups).await;
    for thread in threads {
        thread.stop();
    }
}
