//! A database server that stops, dies or is paused while clients connect and change memberships.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hubcast_fixtures::{databases::DatabaseServer, servers::ServerProcess};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{CoreClient, ServiceProcess, wait_until, wait_until_async};

/// The number of messages that established clients exchange in each outage.
const MESSAGES: usize = 50;

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

const OUTAGES: [Outage; 3] = [
    (ServerProcess::stop, ServerProcess::restart),
    (ServerProcess::kill, ServerProcess::restart),
    (ServerProcess::pause, ServerProcess::resume),
];

async fn check_outages(database: DatabaseServer) {
    let (url, data) = (database.new_database(), tempfile::tempdir().unwrap());
    let settings = [("HUBCAST_STORE__URL", &*url), ("HUBCAST_STORE__DEADLINE", "2s")];
    let service = ServiceProcess::start_with(data.path(), &settings).await;
    let mut ann = CoreClient::connect_and_join(service.address, "ann", "lobby").await;
    let mut bob = CoreClient::connect_and_join(service.address, "bob", "lobby").await;
    let writer = Writer::start(&service).await;
    for (begin, end) in OUTAGES {
        writer.wait_for_progress().await;
        begin(&database.process);
        check_established_traffic(&mut ann, &mut bob).await;
        check_new_client_is_refused(&service).await;
        check_established_traffic(&mut ann, &mut bob).await;
        end(&database.process);
        wait_until_async(async || service.is_ready().await).await;
        CoreClient::connect_and_join(service.address, "dan", "lobby").await;
        writer.wait_for_progress().await;
    }
    let acknowledged = writer.stop().await;
    let stored = database.query(&url, "SELECT room_name FROM user_rooms WHERE user_name = 'writer'");
    let stored: BTreeSet<_> = stored.lines().map(str::to_owned).collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged, but not stored: {lost:?}");
    let (_, log) = service.stop().await;
    assert!(log.is_empty(), "{log:?}");
}

async fn check_established_traffic(ann: &mut CoreClient, bob: &mut CoreClient) {
    for number in 0..MESSAGES {
        let text = number.to_string();
        ann.invoke("SendToOthers", json!(["lobby", text])).await;
        assert_eq!(bob.next_chat_message().await, ("ann".into(), text));
    }
}

/// The default policy refuses clients whose durable groups are unknown, and lets them return.
async fn check_new_client_is_refused(service: &ServiceProcess) {
    // A check that succeeded within the last second still counts.
    wait_until_async(async || !service.is_ready().await).await;
    let mut cid = CoreClient::connect(service.address, "/chat?user=cid").await;
    assert!(cid.expect_close().await.allow_reconnect);
}

#[tokio::test]
async fn service_survives_outages_of_postgresql() {
    check_outages(DatabaseServer::postgres()).await;
}

#[tokio::test]
async fn service_survives_outages_of_mariadb() {
    check_outages(DatabaseServer::mariadb()).await;
}
