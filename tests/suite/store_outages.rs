//! The server of a store that stops, dies or is paused while clients connect and change memberships.
//!
//! Two services use the server, each with its own database: one refuses clients whose durable groups are unknown, the
//! other admits them without these groups.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures_util::future::join_all;
use hubcast::store::{
    MembershipStore, Owner,
    azure::{AzureCredential, AzureTableStore},
};
use hubcast_fixtures::{
    azurite::{AZURITE_KEY, Azurite},
    databases::DatabaseServer,
    servers::ServerProcess,
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{CoreClient, ServiceProcess, packages_folder, wait_until, wait_until_async, with_timeout};

/// The number of messages that established clients exchange twice in each outage.
const MESSAGES: usize = 50;

/// The number of clients that connect in each outage.
const CONNECTS: usize = 5;

/// A client that adds its user to one room after another, and remembers which calls succeeded.
struct Writer {
    acknowledged: Arc<AtomicUsize>,
    is_stopped: Arc<AtomicBool>,
    rooms: JoinHandle<BTreeSet<String>>,
}

impl Writer {
    async fn start(service: &ServiceProcess) -> Self {
        let mut client = CoreClient::connect(service.address, "/chat?user=writer").await;
        let (acknowledged, is_stopped) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counter, stopped) = (Arc::clone(&acknowledged), Arc::clone(&is_stopped));
        let rooms = tokio::spawn(async move {
            let mut rooms = BTreeSet::new();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let room = format!("room {number}");
                let completion = client.invoke_raw("AddToRoom", json!([room])).await;
                if completion.get("error").is_none() {
                    rooms.insert(room);
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
            rooms
        });
        Self { acknowledged, is_stopped, rooms }
    }

    /// Waits until a change that begins later is acknowledged.
    async fn wait_for_progress(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        // One call may have been on its way.
        wait_until(|| self.acknowledged.load(Ordering::Relaxed) > before + 1).await;
    }

    /// Returns the rooms of the acknowledged calls.
    async fn stop(self) -> BTreeSet<String> {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.rooms.await.unwrap()
    }
}

/// A way in which the server fails, and its end.
type Outage = (fn(&ServerProcess), fn(&ServerProcess));

const STOP: Outage = (ServerProcess::stop, ServerProcess::restart);
const KILL: Outage = (ServerProcess::kill, ServerProcess::restart);
const PAUSE: Outage = (ServerProcess::pause, ServerProcess::resume);

/// A server that keeps memberships.
enum StoreServer {
    /// It keeps everything.
    Database(DatabaseServer),
    /// It keeps memberships only.
    Azurite(Azurite),
}

impl StoreServer {
    fn process(&self) -> &ServerProcess {
        match self {
            Self::Database(server) => &server.process,
            Self::Azurite(server) => &server.process,
        }
    }

    /// The emulator writes its data when it is stopped, so it is not killed.
    fn outages(&self) -> &'static [Outage] {
        match self {
            Self::Database(_) => &[STOP, KILL, PAUSE],
            Self::Azurite(_) => &[STOP, PAUSE],
        }
    }

    /// A new database or table.
    fn new_url(&self) -> String {
        match self {
            Self::Database(server) => server.new_database(),
            Self::Azurite(server) => server.new_table(),
        }
    }

    /// The stored rooms of the user `writer`.
    async fn stored_rooms(&self, url: &str) -> BTreeSet<String> {
        match self {
            Self::Database(server) => {
                let rows = server.query(url, "SELECT room_name FROM user_rooms WHERE user_name = 'writer'");
                rows.lines().map(str::to_owned).collect()
            }
            Self::Azurite(_) => {
                let store = AzureTableStore::connect(url, AzureCredential::key(AZURITE_KEY)).await.unwrap();
                let writer = Owner { hub: "chat".into(), user: "writer".into() };
                store.groups_of(&[writer]).await.unwrap().concat().iter().map(ToString::to_string).collect()
            }
        }
    }
}

/// The treatment of a client whose durable groups are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Refuse,
    Continue,
}

/// A service with two clients in the lobby, and a client that changes memberships.
struct Site {
    service: ServiceProcess,
    url: String,
    policy: Policy,
    ann: CoreClient,
    bob: CoreClient,
    writer: Writer,
    /// The clients that connected in the current outage.
    admitted: Vec<CoreClient>,
    _data: tempfile::TempDir,
}

impl Site {
    async fn start(server: &StoreServer, policy: Policy) -> Self {
        let (url, data) = (server.new_url(), tempfile::tempdir().unwrap());
        let mut settings = vec![
            ("HUBCAST_STORE__URL", &*url),
            ("HUBCAST_STORE__DEADLINE", "2s"),
            ("HUBCAST_STORE__ON_FAILURE", if policy == Policy::Refuse { "refuse" } else { "continue" }),
            ("HUBCAST_STORE__RECONCILE_INTERVAL", "500ms"),
        ];
        if let StoreServer::Azurite(_) = server {
            settings.push(("HUBCAST_STORE__AZURE_KEY", AZURITE_KEY));
        }
        let service = ServiceProcess::start_with(data.path(), &settings).await;
        CoreClient::connect(service.address, "/chat?user=cid").await.invoke("AddToRoom", json!(["durable"])).await;
        Self {
            ann: CoreClient::connect_and_join(service.address, "ann", "lobby").await,
            bob: CoreClient::connect_and_join(service.address, "bob", "lobby").await,
            writer: Writer::start(&service).await,
            admitted: Vec::new(),
            service,
            url,
            policy,
            _data: data,
        }
    }

    async fn check_outage(&mut self) {
        self.check_established_traffic().await;
        // A check that succeeded within the last second still counts.
        wait_until_async(async || !self.service.is_ready().await).await;
        let connects = (0..CONNECTS).map(|_| self.connect_without_store());
        self.admitted = join_all(connects).await.into_iter().flatten().collect();
        self.check_established_traffic().await;
    }

    async fn check_established_traffic(&mut self) {
        for number in 0..MESSAGES {
            let text = number.to_string();
            self.ann.invoke("SendToOthers", json!(["lobby", text])).await;
            assert_eq!(self.bob.next_chat_message().await, ("ann".into(), text));
        }
    }

    /// Connects a client with a durable room. Returns it if it is admitted.
    async fn connect_without_store(&self) -> Option<CoreClient> {
        let mut cid = CoreClient::connect(self.service.address, "/chat?user=cid").await;
        match self.policy {
            Policy::Refuse => {
                assert!(cid.expect_close().await.allow_reconnect);
                None
            }
            Policy::Continue => {
                assert_eq!(cid.invoke("WhoAmI", json!([])).await, "cid");
                Some(cid)
            }
        }
    }

    /// New clients connect, changes are stored, and clients that were admitted without their groups join them.
    async fn check_recovery(&mut self) {
        wait_until_async(async || self.service.is_ready().await).await;
        CoreClient::connect_and_join(self.service.address, "dan", "lobby").await;
        self.writer.wait_for_progress().await;
        with_timeout(wait_until_async(async || self.members_of_durable_room().await == self.admitted.len())).await;
        self.admitted.clear();
    }

    async fn members_of_durable_room(&self) -> usize {
        let groups = &self.service.admin_json("/admin/users/cid").await["groups"];
        assert_eq!((&groups[0]["name"], &groups[0]["durable"]), (&json!("durable"), &json!(true)), "{groups}");
        groups[0]["connections"].as_u64().unwrap().try_into().unwrap()
    }

    async fn stop(self, server: &StoreServer) {
        let acknowledged = self.writer.stop().await;
        let stored = server.stored_rooms(&self.url).await;
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "acknowledged, but not stored: {lost:?}");
        assert_eq!(self.service.stop().await.0, Some(0));
    }
}

async fn check_outages(server: StoreServer) {
    let mut sites = [Site::start(&server, Policy::Refuse).await, Site::start(&server, Policy::Continue).await];
    for (begin, end) in server.outages() {
        join_all(sites.iter().map(|site| site.writer.wait_for_progress())).await;
        begin(server.process());
        join_all(sites.iter_mut().map(Site::check_outage)).await;
        end(server.process());
        join_all(sites.iter_mut().map(Site::check_recovery)).await;
    }
    join_all(sites.map(|site| site.stop(&server))).await;
}

#[tokio::test]
async fn services_survive_outages_of_postgresql() {
    check_outages(StoreServer::Database(DatabaseServer::postgres())).await;
}

#[tokio::test]
async fn services_survive_outages_of_mariadb() {
    check_outages(StoreServer::Database(DatabaseServer::mariadb())).await;
}

#[tokio::test]
async fn services_survive_outages_of_azurite() {
    check_outages(StoreServer::Azurite(Azurite::start(&packages_folder()))).await;
}
