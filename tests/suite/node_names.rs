//! Two service processes that would use the same data directory or the same node name.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::ServiceProcess;

/// The term of the lease of a node in the store.
const LEASE: Duration = Duration::from_secs(30);

fn database_in(data: &TempDir) -> String {
    format!("sqlite://{}/hubcast.db", data.path().display())
}

#[tokio::test]
async fn second_process_on_a_data_directory_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let first = ServiceProcess::start(data.path()).await;
    let (code, log) = ServiceProcess::run_to_end(data.path(), &[]).await;
    assert_eq!(code, Some(1));
    let holder = format!("data_dir: {} is used by process {} on ", data.path().display(), first.id());
    assert!(log.contains(&holder) && log.contains("(node `hubcast`)"), "{log}");
    let restarted = first.kill_and_restart(data.path()).await;
    assert_eq!(restarted.stop().await.0, Some(0));
}

#[tokio::test]
async fn second_process_with_a_node_name_is_refused() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = ServiceProcess::start(data.path()).await;
    let url = database_in(&data);
    let (code, log) = ServiceProcess::run_to_end(other.path(), &[("HUBCAST_STORE__URL", &url)]).await;
    assert_eq!(code, Some(1));
    let holder = format!("node: the node name `hubcast` is used by process {} on ", first.id());
    assert!(log.contains(&holder), "{log}");
    let named = [("HUBCAST_STORE__URL", &*url), ("HUBCAST_NODE", "beta")];
    let second = ServiceProcess::start_with(other.path(), &named).await;
    assert_eq!(first.admin_json("/admin/overview").await["node"], "hubcast");
    assert_eq!(second.admin_json("/admin/overview").await["node"], "beta");
}

#[tokio::test]
async fn process_takes_over_its_data_directory_at_once() {
    let data = tempfile::tempdir().unwrap();
    ServiceProcess::start(data.path()).await.kill().await;
    let killed = Instant::now();
    ServiceProcess::start(data.path()).await;
    assert!(killed.elapsed() < LEASE, "it did not wait for the end of the lease: {:?}", killed.elapsed());
}

#[tokio::test]
async fn stopped_process_frees_its_node_name() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ServiceProcess::start(data.path()).await.stop().await;
    let stopped = Instant::now();
    ServiceProcess::start_with(other.path(), &[("HUBCAST_STORE__URL", &database_in(&data))]).await;
    assert!(stopped.elapsed() < LEASE, "it did not wait for the end of the lease: {:?}", stopped.elapsed());
}
