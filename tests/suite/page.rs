//! The page of the service, in Chromium.

use crate::support::{Process, node};

async fn meets(scenario: &str) {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path()).await;
    node("browser.mjs", &[scenario, &format!("http://{}", server.address)]).await;
}

#[tokio::test]
async fn two_tabs_with_the_page_of_the_service_see_each_other() {
    meets("page").await;
}

#[tokio::test]
async fn two_tabs_see_each_other_over_both_wires() {
    meets("pageOnBothWires").await;
}
