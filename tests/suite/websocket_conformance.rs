//! The cases of the Autobahn test suite, against the WebSockets of both kinds of servers.

use crate::support::{ECHO, Server, run_python};

async fn run_cases(server: &Server) {
    run_python("websocket_conformance.py", &[&format!("ws://{}{ECHO}", server.address)]).await;
}

#[tokio::test]
async fn websocket_conforms_to_rfc_6455() {
    run_cases(&Server::start().await).await;
}

#[tokio::test]
async fn mounted_websocket_conforms_to_rfc_6455() {
    run_cases(&Server::start_mounted(None, hubcast::on_connect, |engine| engine).await).await;
}
