//! Modules of the application, which have the last word on what a returning client is put back into.

use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use hubcast::{
    CrashTarget, GroupName,
    pipeline::{Module, Rejoining},
};

use tokio::sync::watch;

use crate::{
    classic_groups::{has_heard_all, say},
    rejoining::{ann_in_the_lobby, comer, is_in_the_lobby},
    support::{Classic, Server, TRANSPORTS, within},
};

/// Adds a group whose name tells for whom it was asked, and after which others.
struct Adding(&'static str);

impl Module for Adding {
    async fn rejoining(&self, Rejoining { user, mut groups, .. }: Rejoining) -> Vec<GroupName> {
        let before: Vec<_> = groups.iter().map(GroupName::as_str).collect();
        let added = format!("{} for {} after {}", self.0, user.as_deref().unwrap_or_default(), before.join(", "));
        groups.push(added.into());
        groups
    }
}

/// Lets nobody back into the lobby, while it lives.
struct Doorkeeper {
    is_mortal: bool,
}

impl Actor for Doorkeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.is_mortal {
            ctx.stop();
        }
    }
}

impl Handler<Rejoining> for Doorkeeper {
    type Result = MessageResult<Rejoining>;

    fn handle(&mut self, mut rejoining: Rejoining, _: &mut Self::Context) -> Self::Result {
        rejoining.groups.retain(|group| group.as_str() != "lobby");
        MessageResult(rejoining.groups)
    }
}

async fn with_a_doorkeeper(is_mortal: bool) -> Server {
    Server::start_with(move |engine| engine.module(Doorkeeper { is_mortal }.start().recipient())).await
}

#[tokio::test]
async fn modules_run_in_their_order_each_on_the_answer_of_the_one_before() {
    let server = Server::start_with(|engine| engine.module(Adding("a")).module(Adding("b"))).await;
    let (ann, token) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    let mut back = comer(&server, "ann", &token).await;
    assert!(is_in_the_lobby(&server, &mut back).await);
    let mut groups = server.engine.hub("chat").unwrap().groups().list();
    groups.sort();
    assert_eq!(
        groups,
        ["a for ann after lobby", "b for ann after lobby, a for ann after lobby", "lobby"].map(GroupName::from)
    );
}

#[tokio::test]
async fn an_actor_can_decide_that_a_token_does_not_bring_its_bearer_back() {
    let server = with_a_doorkeeper(false).await;
    let (ann, token) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    let mut back = comer(&server, "ann", &token).await;
    assert!(!is_in_the_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_accepted.get(), 1, "there was nothing wrong with the token");
}

#[tokio::test]
async fn an_actor_that_has_died_leaves_the_list_as_it_is() {
    let server = with_a_doorkeeper(true).await;
    let (ann, token) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    let mut back = comer(&server, "ann", &token).await;
    assert!(is_in_the_lobby(&server, &mut back).await);
}

#[tokio::test]
async fn a_module_is_asked_about_classic_clients_too() {
    let server = with_a_doorkeeper(false).await;
    for transport in TRANSPORTS {
        let mut client = Classic::join(server.address, transport, "ann", "lobby").await;
        client.drop_channel();
        client.return_().await;
        has_heard_all(&mut client).await;
        say(&server, "lobby", "not for whoever was not let back").await;
        has_heard_all(&mut client).await;
        client.handle.ask("abort").await;
    }
}

/// Panics the first time that it is asked.
#[derive(Default)]
struct Faint(AtomicBool);

impl Module for Faint {
    async fn rejoining(&self, Rejoining { groups, .. }: Rejoining) -> Vec<GroupName> {
        assert!(self.0.swap(true, Ordering::Relaxed), "as the test wants");
        groups
    }
}

/// Tells that it was asked, and waits until it may answer.
struct Waiting {
    asked: watch::Sender<bool>,
    gate: watch::Receiver<bool>,
}

impl Module for Waiting {
    async fn rejoining(&self, Rejoining { groups, .. }: Rejoining) -> Vec<GroupName> {
        self.asked.send_replace(true);
        // The test may have ended.
        let _ = self.gate.clone().wait_for(|is_open| *is_open).await;
        groups
    }
}

#[tokio::test]
async fn a_module_that_panics_harms_none_but_whom_it_was_asked_for_and_not_even_its_token() {
    let server = Server::start_with(|engine| engine.module(Faint::default())).await;
    let (ann, token) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    let farewell = comer(&server, "ann", &token).await.farewell().await;
    assert!(farewell.may_return, "{farewell:?}");
    let mut back = comer(&server, "ann", &token).await;
    assert!(is_in_the_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().hub_panics.get(), 1);
    assert!(server.engine.restarts().into_iter().all(|(_, restarts)| restarts == 0));
}

#[tokio::test]
async fn who_is_being_put_back_when_the_supervisor_of_rejoining_dies_is_put_back_all_the_same() {
    let ((tell, mut asked), (open, gate)) = (watch::channel(false), watch::channel(true));
    let server = Server::start_with(|engine| engine.module(Waiting { asked: tell, gate })).await;
    let (ann, token) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    open.send_replace(false);
    asked.mark_unchanged();
    let mut back = comer(&server, "ann", &token).await;
    within(asked.changed()).await.unwrap();
    within(server.engine.crash(&CrashTarget::Pipeline)).await;
    open.send_replace(true);
    assert!(is_in_the_lobby(&server, &mut back).await);
}
