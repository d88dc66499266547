//! The chat page of the service, in Chromium.

use crate::support::{ServiceProcess, run_node};

const SECRET: &str = "a secret that is as long as HS256 wants";

async fn run_scenario(scenario: &str) {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    run_node("page.mjs", &[scenario, &format!("http://{}", server.address)]).await;
}

/// Runs a scenario of a service that requires tokens.
async fn run_scenario_with_tokens(scenario: &str) {
    let data = tempfile::tempdir().unwrap();
    let settings = [("HUBCAST_AUTH__MODE", "jwt"), ("HUBCAST_AUTH__SECRETS", SECRET)];
    let server = ServiceProcess::start_with(data.path(), &settings).await;
    run_node("page.mjs", &[scenario, &format!("http://{}", server.address), SECRET]).await;
}

#[tokio::test]
async fn two_tabs_exchange_messages() {
    run_scenario("messages").await;
}

#[tokio::test]
async fn tabs_of_both_protocols_exchange_messages() {
    run_scenario("bothProtocols").await;
}

#[tokio::test]
async fn refused_token_is_explained() {
    run_scenario_with_tokens("refusedToken").await;
}

#[tokio::test]
async fn authenticated_name_is_shown() {
    run_scenario_with_tokens("authenticatedName").await;
}

#[tokio::test]
async fn message_over_the_limit_stays_in_its_field() {
    run_scenario("longMessage").await;
}

#[tokio::test]
async fn messages_of_other_rooms_are_labelled() {
    run_scenario("otherRooms").await;
}

#[tokio::test]
async fn focus_survives_sends_reconnects_and_refusals() {
    run_scenario("focus").await;
}

#[tokio::test]
async fn protocol_selector_is_readable_at_all_widths() {
    run_scenario("selectorWidths").await;
}
