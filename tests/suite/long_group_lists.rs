//! Clients in more groups than their rejoin token can list.

use futures_util::future::join_all;
use hubcast::{
    KeyRing,
    filters::{RejoiningGroups, on},
    store::sea::SeaStore,
    testkit,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

use crate::{
    rejoin_filters::patient,
    rejoining::{connect_with_token, drop_and_wait, store_full_of_lists},
    support::{ClassicClient, CoreClient, Server, wait_until, with_timeout},
};

const GROUPS: usize = 2_100;

/// Two nodes with the same keys and the same database.
async fn two_nodes() -> (Server, Server) {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let node = |name: &'static str| {
        let (store, keys) = (store.clone(), KeyRing::new(["a secret that both nodes have"]).unwrap());
        Server::start_with(move |engine| engine.node(name).store(store).keys(keys))
    };
    (node("alpha").await, node("beta").await)
}

fn name(number: usize) -> String {
    format!("room {number:05} of a tenant")
}

async fn add_to_groups(server: &Server, id: &str) {
    let groups = server.engine.hub("chat").unwrap().groups();
    for batch in (0..GROUPS).collect::<Vec<_>>().chunks(100) {
        let added = join_all(batch.iter().map(|number| groups.add(id, name(*number)))).await;
        assert!(added.iter().all(Result::is_ok), "{added:?}");
    }
}

/// Reads up to the message `end`, and returns the last token and report before it.
async fn read_to_end(client: &mut CoreClient) -> (Option<String>, Option<Value>) {
    client.invoke_nonblocking("SendTo", json!(["caller", [], "end"])).await;
    let (mut token, mut report) = (None, None);
    loop {
        let (target, arguments) = client.next_invocation().await;
        match &*target {
            "hubcast:rejoinToken" => token = arguments[0].as_str().map(str::to_owned),
            "hubcast:rejoined" => report = Some(arguments[0].clone()),
            _ => return (token, report),
        }
    }
}

/// The groups of a server whose name begins as those of [`name`].
fn rooms(server: &Server) -> usize {
    let groups = server.engine.hub("chat").unwrap().groups().list();
    groups.iter().filter(|group| group.starts_with("room ")).count()
}

/// Stops a node in order: what its clients have changed is stored.
async fn drain(server: &Server) {
    with_timeout(server.engine.drain(Duration::ZERO)).await;
}

#[tokio::test]
async fn core_client_returns_to_all_groups_on_another_node() {
    let (alpha, beta) = two_nodes().await;
    let mut ann = connect_with_token(&alpha, "ann", "1").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    add_to_groups(&alpha, id.as_str().unwrap()).await;
    let token = read_to_end(&mut ann).await.0.unwrap();
    assert!(token.len() <= 6 * 1024, "{}", token.len());
    ann.drop_socket();
    drain(&alpha).await;
    let mut back = connect_with_token(&beta, "ann", &token).await;
    expect_report(&mut back, GROUPS).await;
    assert_eq!(rooms(&beta), GROUPS);
    let metrics = beta.engine.metrics();
    assert_eq!((metrics.rejoin_lists_restored.get(), metrics.rejoins_incomplete.get()), (1, 0));
}

/// The client is back in this number of groups.
async fn expect_report(client: &mut CoreClient, groups: usize) {
    let report = read_to_end(client).await.1.unwrap();
    let listed = report["groups"]["chat"].as_array().unwrap().len() as u64;
    assert_eq!(listed + report["more"].as_u64().unwrap(), groups as u64);
    assert_eq!((&report["refused"], &report["lost"]), (&Value::Null, &json!(0)));
}

/// The list is saved within a second, which is too late for this client.
#[tokio::test]
async fn client_that_returns_at_once_is_in_its_latest_group() {
    let (alpha, _) = two_nodes().await;
    let mut ann = connect_with_token(&alpha, "ann", "1").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    add_to_groups(&alpha, id.as_str().unwrap()).await;
    ann.invoke("JoinRoom", json!(["the latest group, whose name is too long for the token"])).await;
    let token = read_to_end(&mut ann).await.0.unwrap();
    drop_and_wait(&alpha, ann).await;
    let mut back = connect_with_token(&alpha, "ann", &token).await;
    expect_report(&mut back, GROUPS + 1).await;
}

/// The groups of a client that has gone are not joined, so its connection does not know the list.
#[tokio::test]
async fn client_lost_while_it_rejoins_keeps_its_list() {
    let ((called, mut calls), (open, gate)) = (mpsc::unbounded_channel(), watch::channel(true));
    let gated = on(move |event: RejoiningGroups| {
        let mut gate = gate.clone();
        // The test may have ended.
        let _ = called.send(event.connection.clone());
        async move {
            let _ = gate.wait_for(|is_open| *is_open).await;
            Ok(event)
        }
    });
    let server = Server::start_with(|engine| engine.filter_with("gated", patient(), gated)).await;
    let mut ann = connect_with_token(&server, "ann", "1").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    add_to_groups(&server, id.as_str().unwrap()).await;
    let token = read_to_end(&mut ann).await.0.unwrap();
    drop_and_wait(&server, ann).await;
    open.send_replace(false);
    let lost = connect_with_token(&server, "ann", &token).await;
    let id = with_timeout(calls.recv()).await.unwrap();
    let asked = server.engine.hub("chat").unwrap().clients().client(id).invoke::<()>("ask", ());
    lost.drop_socket();
    with_timeout(asked).await.expect_err("the server notices that the client has gone");
    open.send_replace(true);
    with_timeout(wait_until(|| testkit::connections(&server.engine).count() == 0)).await;
    let mut back = connect_with_token(&server, "ann", &token).await;
    expect_report(&mut back, GROUPS).await;
}

#[tokio::test]
async fn classic_client_returns_to_all_groups_on_another_node() {
    let (alpha, beta) = two_nodes().await;
    let mut bob = ClassicClient::connect_and_join(alpha.address, "webSockets", "bob", "lobby").await;
    let id = bob.connection.id.clone();
    add_to_groups(&alpha, &id).await;
    bob.invoke("WhoAmI", json!([])).await;
    bob.drop_channel();
    drain(&alpha).await;
    bob.connection.server = beta.address;
    bob.reconnect().await;
    bob.invoke("WhoAmI", json!([])).await;
    assert_eq!(rooms(&beta), GROUPS);
    let metrics = beta.engine.metrics();
    assert_eq!((metrics.rejoin_lists_restored.get(), metrics.rejoins_incomplete.get()), (1, 0));
}

/// The list follows the client, and goes when its tokens list all groups again.
#[tokio::test]
async fn left_groups_of_a_list_are_not_restored() {
    let (alpha, beta) = two_nodes().await;
    let mut ann = connect_with_token(&alpha, "ann", "1").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    let id = id.as_str().unwrap();
    add_to_groups(&alpha, id).await;
    let groups = alpha.engine.hub("chat").unwrap().groups();
    for batch in (3..GROUPS).collect::<Vec<_>>().chunks(100) {
        let left = join_all(batch.iter().map(|number| groups.remove(id, name(*number)))).await;
        assert!(left.iter().all(Result::is_ok), "{left:?}");
    }
    ann.invoke("Echo", json!(["the tokens of the changes arrive first"])).await;
    let token = read_to_end(&mut ann).await.0.unwrap();
    ann.drop_socket();
    drain(&alpha).await;
    let mut back = connect_with_token(&beta, "ann", &token).await;
    assert_eq!(read_to_end(&mut back).await.1.unwrap()["lost"], 0);
    assert_eq!(rooms(&beta), 3);
    assert_eq!(beta.engine.metrics().rejoin_lists_restored.get(), 0, "the token lists them");
}

#[tokio::test]
async fn refused_list_is_counted_and_its_groups_are_lost() {
    let store = store_full_of_lists().await;
    let server = Server::start_with(|engine| engine.store(store)).await;
    let mut ann = connect_with_token(&server, "ann", "1").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    add_to_groups(&server, id.as_str().unwrap()).await;
    let token = read_to_end(&mut ann).await.0.unwrap();
    let metrics = server.engine.metrics();
    with_timeout(wait_until(|| metrics.rejoin_lists_failed.get() > 0)).await;
    ann.drop_socket();
    with_timeout(wait_until(|| rooms(&server) == 0)).await;
    let mut back = connect_with_token(&server, "ann", &token).await;
    let lost = read_to_end(&mut back).await.1.unwrap()["lost"].as_u64().unwrap();
    assert!(lost > 0);
    assert_eq!((metrics.rejoin_groups_unlisted.get(), metrics.rejoins_incomplete.get()), (lost, 1));
    assert!(rooms(&server) > 0, "the token restores the groups that it lists");
}
