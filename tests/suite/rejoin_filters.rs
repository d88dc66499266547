//! Filters that decide the groups that a rejoining client is restored to.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use actix::prelude::*;
use hubcast::{
    GroupName,
    filters::{Decision, ErrorPolicy, FilterOptions, HubFilter, RejoiningGroups, actor, on},
    testkit::CrashTarget,
};

use tokio::sync::watch;

use crate::{
    classic_groups::{expect_no_pending_messages, send_to_group},
    rejoining::{ann_in_lobby, connect_with_token, is_in_lobby},
    support::{ClassicClient, Server, TRANSPORTS, with_timeout},
};

/// Adds a group whose name contains the user and the groups that were in the list before.
fn add_group(name: &'static str) -> impl HubFilter {
    on(move |mut event: RejoiningGroups| async move {
        let previous: Vec<_> = event.groups.iter().map(GroupName::as_str).collect();
        let user = event.user.as_deref().unwrap_or_default();
        let added = format!("{name} for {user} after {}", previous.join(", "));
        event.groups.push(added.into());
        Ok(event)
    })
}

/// Removes the lobby from every rejoin. With `stops`, the actor stops as soon as it starts.
struct LobbyFilter {
    stops: bool,
}

impl Actor for LobbyFilter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.stops {
            ctx.stop();
        }
    }
}

impl Handler<RejoiningGroups> for LobbyFilter {
    type Result = Decision<RejoiningGroups>;

    fn handle(&mut self, mut event: RejoiningGroups, _: &mut Self::Context) -> Self::Result {
        event.groups.retain(|group| group.as_str() != "lobby");
        Ok(event)
    }
}

async fn start_with_lobby_filter(stops: bool, policy: ErrorPolicy) -> Server {
    let options = FilterOptions { policy, ..patient() };
    let filter = move || actor::<RejoiningGroups>(LobbyFilter { stops }.start().recipient());
    Server::start_with(move |engine| engine.filter_with("lobby", options, filter())).await
}

#[tokio::test]
async fn filters_run_in_order_on_the_previous_result() {
    let server = Server::start_with(|engine| engine.filter("a", add_group("a")).filter("b", add_group("b"))).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(is_in_lobby(&server, &mut back).await);
    let mut groups = server.engine.hub("chat").unwrap().groups().list();
    groups.sort();
    assert_eq!(
        groups,
        ["a for ann after lobby", "b for ann after lobby, a for ann after lobby", "lobby"].map(GroupName::from)
    );
}

#[tokio::test]
async fn actor_can_remove_groups_from_a_rejoin() {
    let server = start_with_lobby_filter(false, ErrorPolicy::FailClosed).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(!is_in_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_accepted.get(), 1, "the token is valid");
}

#[tokio::test]
async fn stopped_actor_is_bypassed_or_refuses_the_client() {
    let server = start_with_lobby_filter(true, ErrorPolicy::Bypass).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(is_in_lobby(&server, &mut back).await);
    let server = start_with_lobby_filter(true, ErrorPolicy::FailClosed).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let close = connect_with_token(&server, "ann", &token).await.expect_close().await;
    assert!(close.allow_reconnect, "{close:?}");
}

#[tokio::test]
async fn filters_change_groups_of_classic_clients() {
    let server = start_with_lobby_filter(false, ErrorPolicy::FailClosed).await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        client.drop_channel();
        client.reconnect().await;
        expect_no_pending_messages(&mut client).await;
        send_to_group(&server, "lobby", "not delivered").await;
        expect_no_pending_messages(&mut client).await;
        client.connection.request("abort").await;
    }
}

/// Panics on its first call.
fn panics_once() -> impl HubFilter {
    let has_panicked = AtomicBool::new(false);
    on(move |event: RejoiningGroups| {
        assert!(has_panicked.swap(true, Ordering::Relaxed), "the panic that the test expects");
        async { Ok(event) }
    })
}

/// On a busy machine the test may take longer than the default budget.
pub(crate) fn patient() -> FilterOptions {
    FilterOptions { budget: Duration::from_secs(60), ..FilterOptions::default() }
}

/// Signals that it was called, and waits until the gate is open.
fn gated(called: watch::Sender<bool>, gate: watch::Receiver<bool>) -> impl HubFilter {
    on(move |event: RejoiningGroups| {
        called.send_replace(true);
        let mut gate = gate.clone();
        async move {
            // The test may have ended and dropped the gate.
            let _ = gate.wait_for(|is_open| *is_open).await;
            Ok(event)
        }
    })
}

#[tokio::test]
async fn panicking_filter_fails_only_its_rejoin() {
    let server = Server::start_with(|engine| engine.filter("panics", panics_once())).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let close = connect_with_token(&server, "ann", &token).await.expect_close().await;
    assert!(close.allow_reconnect, "{close:?}");
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(is_in_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().hub_panics.get(), 1);
    assert!(server.engine.restarts().into_iter().all(|(_, restarts)| restarts == 0));
}

#[tokio::test]
async fn running_rejoin_survives_supervisor_crash() {
    let ((called_sender, mut called), (open, gate)) = (watch::channel(false), watch::channel(true));
    let server = Server::start_with(|engine| engine.filter_with("gated", patient(), gated(called_sender, gate))).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    open.send_replace(false);
    called.mark_unchanged();
    let mut back = connect_with_token(&server, "ann", &token).await;
    with_timeout(called.changed()).await.unwrap();
    with_timeout(server.engine.crash(&CrashTarget::Pipeline)).await;
    open.send_replace(true);
    assert!(is_in_lobby(&server, &mut back).await);
}
