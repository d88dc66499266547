//! The official client of ASP.NET Core SignalR, under Node.

use std::path::Path;

use hubcast::aspnetcore::{Endpoint, Redirect};

use crate::support::{ClientProcess, Server, ServiceProcess, run_node};

async fn run_scenario(scenario: &str) {
    let server = Server::start().await;
    run_node("node.mjs", &[scenario, &server.http("")]).await;
}

#[tokio::test]
async fn client_invokes_methods() {
    run_scenario("calls").await;
}

#[tokio::test]
async fn client_follows_redirect_with_its_token() {
    let members = Server::start().await;
    let url = members.http("/guarded?tenant=7");
    let server = Server::start_with(move |engine| {
        let front = Endpoint::new("/front", &"chat".into()).redirect(move |request, _| match request.query("stay") {
            Some(_) => None,
            None => Some(Redirect::to(&*url).access_token("ann.member")),
        });
        engine.aspnetcore_endpoint(front)
    })
    .await;
    run_node("node.mjs", &["redirect", &server.http("")]).await;
}

#[tokio::test]
async fn redirect_passes_on_rejoin_tokens() {
    let members = Server::start().await;
    let url = members.http("/chat?user=ann");
    let server = Server::start_with(move |engine| {
        let front = Endpoint::new("/front", &"chat".into()).redirect(move |_, _| Some(Redirect::to(&*url)));
        engine.aspnetcore_endpoint(front)
    })
    .await;
    run_node("node.mjs", &["rejoinOverRedirect", &server.http("")]).await;
}

#[tokio::test]
async fn client_sends_to_groups_and_users() {
    run_scenario("groups").await;
}

#[tokio::test]
async fn client_can_skip_negotiation() {
    run_scenario("skipsNegotiation").await;
}

#[tokio::test]
async fn client_reports_refusals() {
    run_scenario("refusals").await;
}

#[tokio::test]
async fn groups_are_restored_after_server_restart() {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    let base = format!("http://{}", server.address);
    let mut client = ClientProcess::start(Path::new("node"), "node.mjs", &["serverRestart", &base]);
    client.expect_line("ready").await;
    let _server = server.kill_and_restart(data.path()).await;
    client.expect_success().await;
}
