//! An independent client, under Python.

use crate::support::{Server, python};

async fn plays(scenario: &str) {
    let server = Server::start().await;
    python("client.py", &[scenario, &server.http("")]).await;
}

#[tokio::test]
async fn it_calls_and_is_answered() {
    plays("calls").await;
}

#[tokio::test]
async fn it_speaks_in_groups() {
    plays("groups").await;
}
