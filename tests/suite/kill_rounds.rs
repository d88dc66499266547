//! A service that is killed by SIGKILL again and again while clients change the durable groups of their users.
//!
//! After each restart, every acknowledged change is stored, and the connections of each user are in exactly its stored
//! groups. A change that was on its way when the process was killed may be stored or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::join_all;
use hubcast_fixtures::databases::DatabaseServer;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::{CoreClient, ServiceProcess, wait_until, wait_until_async, with_timeout};

/// The number of rounds in an ordinary run.
const ROUNDS: usize = 5;

/// The number of rounds in `tests/run --long`.
const MANY_ROUNDS: usize = 200;

const USERS: usize = 6;

/// The number of clients of each user. Each changes rooms of its own, so that the result does not depend on the order of
/// changes by two clients.
const CLIENTS: usize = 2;

/// The number of rooms of each client.
const ROOMS: usize = 12;

/// The maximum number of changes that are sent in a round before the process is killed.
const MAX_CHANGES: usize = 200;

/// The durable rooms of a user, as far as acknowledged changes tell. A room with a change that was not acknowledged is in
/// neither set.
#[derive(Clone, Debug, Default)]
struct KnownRooms {
    member: BTreeSet<String>,
    not_member: BTreeSet<String>,
    /// The number of acknowledged changes.
    acknowledged: usize,
}

impl KnownRooms {
    fn forget(&mut self, room: &str) {
        self.member.remove(room);
        self.not_member.remove(room);
    }

    fn record(&mut self, room: String, is_member: bool) {
        self.acknowledged += 1;
        if is_member {
            self.member.insert(room)
        } else {
            self.not_member.insert(room)
        };
    }

    fn merge(&mut self, other: Self) {
        self.member.extend(other.member);
        self.not_member.extend(other.not_member);
        self.acknowledged += other.acknowledged;
    }
}

/// Changes random rooms until the connection ends. Returns what is known of the rooms of this client.
fn start_client(
    mut client: CoreClient,
    rooms: Vec<String>,
    mut known: KnownRooms,
    mut rng: SmallRng,
    sent: Arc<AtomicUsize>,
) -> JoinHandle<KnownRooms> {
    tokio::spawn(async move {
        loop {
            let room = rooms[rng.random_range(0..rooms.len())].clone();
            let is_member = rng.random();
            let method = if is_member { "AddToRoom" } else { "RemoveFromRoom" };
            known.forget(&room);
            sent.fetch_add(1, Ordering::Relaxed);
            let Some(completion) = client.try_invoke(method, json!([room])).await else { return known };
            // On a busy machine, a change can miss its deadline. It is not acknowledged then.
            if completion.get("error").is_none() {
                known.record(room, is_member);
            }
        }
    })
}

fn user(number: usize) -> String {
    format!("user-{number}")
}

fn rooms_of(client: usize) -> Vec<String> {
    (0..ROOMS).map(|room| format!("room {client}-{room}")).collect()
}

struct KillRounds {
    service: ServiceProcess,
    data: TempDir,
    settings: Vec<(&'static str, String)>,
    rng: SmallRng,
    known: Vec<KnownRooms>,
    sent: usize,
}

impl KillRounds {
    async fn start(url: Option<String>, seed: u64) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut settings = vec![
            ("HUBCAST_LIMITS__DURABLE_CHANGES", "none".to_owned()),
            // A server can carry out a COMMIT of the killed process after the restart.
            ("HUBCAST_STORE__RECONCILE_INTERVAL", "100ms".to_owned()),
        ];
        settings.extend(url.map(|url| ("HUBCAST_STORE__URL", url)));
        let service = ServiceProcess::start_with(data.path(), &borrowed(&settings)).await;
        let rng = SmallRng::seed_from_u64(seed);
        Self { service, data, settings, rng, known: vec![KnownRooms::default(); USERS], sent: 0 }
    }

    /// Changes rooms, kills the service meanwhile and starts it again.
    async fn run_round(mut self) -> Self {
        let sent = Arc::<AtomicUsize>::default();
        let mut clients = Vec::new();
        for number in 0..USERS * CLIENTS {
            let client = self.connect(number / CLIENTS).await;
            let (rooms, rng) = (rooms_of(number % CLIENTS), SmallRng::seed_from_u64(self.rng.random()));
            let known = &mut self.known[number / CLIENTS];
            let own = KnownRooms {
                member: rooms.iter().filter(|room| known.member.contains(*room)).cloned().collect(),
                not_member: rooms.iter().filter(|room| known.not_member.contains(*room)).cloned().collect(),
                acknowledged: 0,
            };
            rooms.iter().for_each(|room| known.forget(room));
            clients.push(start_client(client, rooms, own, rng, Arc::clone(&sent)));
        }
        let kill_after = self.rng.random_range(1..=MAX_CHANGES);
        with_timeout(wait_until(|| sent.load(Ordering::Relaxed) >= kill_after)).await;
        for _ in 0..self.rng.random_range(0..100) {
            tokio::task::yield_now().await;
        }
        let (data, settings) = (self.data.path().to_owned(), self.settings.clone());
        self.service = self.service.kill_and_restart_with(&data, &borrowed(&settings)).await;
        for (number, known) in join_all(clients).await.into_iter().enumerate() {
            self.known[number / CLIENTS].merge(known.unwrap());
        }
        self.sent += sent.load(Ordering::Relaxed);
        self
    }

    async fn connect(&self, number: usize) -> CoreClient {
        let path = format!("/chat?user={}", user(number));
        let mut client = CoreClient::connect(self.service.address, &path).await;
        // Its durable groups are joined before the first invocation runs.
        client.invoke("WhoAmI", json!([])).await;
        client
    }

    /// The rooms of a user with the number of its connections in them, each with whether it is stored.
    async fn rooms(&self, number: usize) -> BTreeMap<String, (u64, bool)> {
        let path = format!("/admin/users/{}", user(number));
        let answer = self.service.admin_json(&path).await;
        let rows = answer["groups"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let row = |row: &serde_json::Value| {
            let connections = row["connections"].as_u64().unwrap();
            (row["name"].as_str().unwrap().to_owned(), (connections, row["durable"].as_bool().unwrap()))
        };
        rows.iter().map(row).collect()
    }

    fn acknowledged(&self) -> usize {
        self.known.iter().map(|known| known.acknowledged).sum()
    }

    /// Checks all users with a connection each. What is stored is known then.
    async fn check(&mut self) {
        let clients = join_all((0..USERS).map(|number| self.connect(number))).await;
        for number in 0..USERS {
            let rooms = self.rooms(number).await;
            let is_stored = |room: &String| rooms.get(room).is_some_and(|(_, is_durable)| *is_durable);
            let known = &self.known[number];
            let lost: Vec<_> = known.member.iter().filter(|room| !is_stored(room)).collect();
            let undone: Vec<_> = known.not_member.iter().filter(|room| is_stored(room)).collect();
            assert!(lost.is_empty() && undone.is_empty(), "user {number}: not stored {lost:?}, not removed {undone:?}");
            let agree = async || self.rooms(number).await.values().all(|(live, is_stored)| (*live == 1) == *is_stored);
            with_timeout(wait_until_async(agree)).await;
            let stored: BTreeSet<_> = self.rooms(number).await.into_keys().collect();
            let all = (0..CLIENTS).flat_map(rooms_of);
            let (member, not_member) = all.partition(|room| stored.contains(room));
            self.known[number] = KnownRooms { member, not_member, ..self.known[number] };
        }
        drop(clients);
    }
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[expect(clippy::print_stdout, reason = "a failed test shows its output")]
async fn check_rounds(url: Option<String>, rounds: usize) {
    let seed = rand::random();
    println!("seed {seed}");
    let mut test = KillRounds::start(url, seed).await;
    for round in 1..=rounds {
        test = test.run_round().await;
        test.check().await;
        println!("round {round}: {} of {} changes acknowledged", test.acknowledged(), test.sent);
    }
    assert!(test.acknowledged() >= rounds, "the rounds have changed memberships");
}

#[tokio::test]
async fn acknowledged_changes_survive_kills_on_sqlite() {
    check_rounds(None, ROUNDS).await;
}

#[tokio::test]
async fn acknowledged_changes_survive_kills_on_postgresql() {
    check_rounds(Some(DatabaseServer::shared_postgres().new_database()), ROUNDS).await;
}

#[tokio::test]
#[ignore = "it takes minutes: run `tests/run --long`"]
async fn acknowledged_changes_survive_many_kills_on_sqlite() {
    check_rounds(None, MANY_ROUNDS).await;
}

#[tokio::test]
#[ignore = "it takes minutes: run `tests/run --long`"]
async fn acknowledged_changes_survive_many_kills_on_postgresql() {
    check_rounds(Some(DatabaseServer::shared_postgres().new_database()), MANY_ROUNDS).await;
}
