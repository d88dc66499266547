//! Application modules, which decide the groups that a rejoining client is restored to.

use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use hubcast::{
    GroupName,
    pipeline::{Module, Rejoining},
    testkit::CrashTarget,
};

use tokio::sync::watch;

use crate::{
    classic_groups::{expect_no_pending_messages, send_to_group},
    rejoining::{ann_in_lobby, connect_with_token, is_in_lobby},
    support::{ClassicClient, Server, TRANSPORTS, with_timeout},
};

/// Adds a group whose name contains the user and the groups that were in the list before.
struct AddGroup(&'static str);

impl Module for AddGroup {
    async fn rejoining(&self, Rejoining { user, mut groups, .. }: Rejoining) -> Vec<GroupName> {
        let previous: Vec<_> = groups.iter().map(GroupName::as_str).collect();
        let added = format!("{} for {} after {}", self.0, user.as_deref().unwrap_or_default(), previous.join(", "));
        groups.push(added.into());
        groups
    }
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

impl Handler<Rejoining> for LobbyFilter {
    type Result = MessageResult<Rejoining>;

    fn handle(&mut self, mut rejoining: Rejoining, _: &mut Self::Context) -> Self::Result {
        rejoining.groups.retain(|group| group.as_str() != "lobby");
        MessageResult(rejoining.groups)
    }
}

async fn start_with_lobby_filter(stops: bool) -> Server {
    Server::start_with(move |engine| engine.module(LobbyFilter { stops }.start().recipient())).await
}

#[tokio::test]
async fn modules_run_in_order_on_the_previous_result() {
    let server = Server::start_with(|engine| engine.module(AddGroup("a")).module(AddGroup("b"))).await;
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
async fn actor_module_can_remove_groups_from_a_rejoin() {
    let server = start_with_lobby_filter(false).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(!is_in_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_accepted.get(), 1, "the token is valid");
}

#[tokio::test]
async fn stopped_actor_module_leaves_groups_unchanged() {
    let server = start_with_lobby_filter(true).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(is_in_lobby(&server, &mut back).await);
}

#[tokio::test]
async fn modules_filter_groups_of_classic_clients() {
    let server = start_with_lobby_filter(false).await;
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
#[derive(Default)]
struct PanicsOnce(AtomicBool);

impl Module for PanicsOnce {
    async fn rejoining(&self, Rejoining { groups, .. }: Rejoining) -> Vec<GroupName> {
        assert!(self.0.swap(true, Ordering::Relaxed), "the panic that the test expects");
        groups
    }
}

/// Signals that it was called, and waits until the gate is open.
struct Gated {
    called: watch::Sender<bool>,
    gate: watch::Receiver<bool>,
}

impl Module for Gated {
    async fn rejoining(&self, Rejoining { groups, .. }: Rejoining) -> Vec<GroupName> {
        self.called.send_replace(true);
        // The test may have ended and dropped the gate.
        let _ = self.gate.clone().wait_for(|is_open| *is_open).await;
        groups
    }
}

#[tokio::test]
async fn panicking_module_fails_only_its_rejoin() {
    let server = Server::start_with(|engine| engine.module(PanicsOnce::default())).await;
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
    let server = Server::start_with(|engine| engine.module(Gated { called: called_sender, gate })).await;
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
