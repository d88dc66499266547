//! Disconnecting and signing out clients from the application and over the admin listener.

use hubcast::{Reconnect, store::faulty::FaultMode};
use serde_json::json;

use crate::support::{AuditLog, ClassicClient, CoreClient, Server, TRANSPORTS};

#[tokio::test]
async fn classic_client_gets_the_disconnect_command() {
    for transport in TRANSPORTS {
        let server = Server::start().await;
        let mut ann = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        let clients = server.engine.hub("chat").unwrap().clients();
        assert_eq!(clients.group("lobby").disconnect(Reconnect::Deny).await, Ok(1), "{transport}");
        let frame = loop {
            match ann.next_frame().await.expect("the disconnect command") {
                frame if frame["D"] == 1 => break frame,
                _ => {}
            }
        };
        assert!(frame["E"].is_string(), "{transport}: {frame}");
    }
}

#[tokio::test]
async fn allowed_classic_client_returns_to_its_groups() {
    for transport in TRANSPORTS {
        let server = Server::start().await;
        let mut ann = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
        let clients = server.engine.hub("chat").unwrap().clients();
        assert_eq!(clients.user("ann").disconnect(Reconnect::Allow).await, Ok(1), "{transport}");
        if transport != "longPolling" {
            while let Some(frame) = ann.next_frame().await {
                assert_eq!(frame["D"], json!(null), "{transport}: {frame}");
            }
        }
        ann.reconnect().await;
        ann.invoke("Add", json!([1, 2])).await;
        bob.invoke("Send", json!(["lobby", "hello"])).await;
        assert_eq!(ann.next_chat_message().await, ("bob".to_owned(), "hello".to_owned()), "{transport}");
    }
}

#[tokio::test]
async fn each_change_is_one_line_of_the_audit_log() {
    let log = AuditLog::start();
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat?user=audited").await;
    let id = client.invoke("WhoAmI", json!([])).await;
    let id = id.as_str().unwrap();
    let hub = server.engine.hub("chat").unwrap();
    hub.groups().add(id, "audited").await.unwrap();
    hub.acting_as("operator bob").groups().remove(id, "audited").await.unwrap();
    hub.users().add_to_group("audited", "audited\nroom").await.unwrap();
    hub.users().remove_from_group("audited", "audited\nroom").await.unwrap();
    hub.clients().client(id).disconnect(Reconnect::Allow).await.unwrap();
    hub.clients().group("audited").disconnect(Reconnect::Deny).await.unwrap();
    hub.users().revoke_tokens("audited").await.unwrap();
    hub.groups().revoke_tokens("audited").await.unwrap();
    hub.acting_as("bob").users().sign_out("audited").await.unwrap();
    let conn = format!("hub=chat conn={id}");
    let expected = [
        format!("add connection to group by=application {conn} group=audited result=joined"),
        format!("remove connection from group by=\"operator bob\" {conn} group=audited result=left"),
        r#"add user to group by=application hub=chat user=audited group="audited\nroom" result="store applied, 1 connections""#.into(),
        r#"remove user from group by=application hub=chat user=audited group="audited\nroom" result="store applied, 1 connections""#.into(),
        format!("disconnect by=application {conn} reconnect=allow result=\"1 disconnected\""),
        r#"disconnect by=application hub=chat group=audited reconnect=deny result="0 disconnected""#.into(),
        "revoke tokens by=application user=audited result=revoked".into(),
        "revoke tokens by=application hub=chat group=audited result=revoked".into(),
        r#"sign out by=bob user=audited result="0 disconnected""#.into(),
    ];
    assert_eq!(log.lines_with(&["audited", id]), expected);
}

#[tokio::test]
async fn changes_of_clients_are_not_in_the_audit_log() {
    let log = AuditLog::start();
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat?user=unaudited").await;
    client.invoke("AddToRoom", json!(["unaudited room"])).await;
    assert_eq!(log.lines_with(&["unaudited"]), Vec::<String>::new());
}

#[tokio::test]
async fn each_failed_change_is_one_audit_line() {
    let log = AuditLog::start();
    let (server, store) = Server::start_with_faulty_store(|engine| engine).await;
    let users = server.engine.hub("chat").unwrap().users();
    users.add_to_group("unstored", "old").await.unwrap();
    store.set_mode(FaultMode::Refuse);
    assert!(users.add_to_groups("unstored", ["a", "b"]).await.is_err());
    assert!(users.remove_users_from_group(["unstored", "unstored too"], "c").await.is_err());
    assert!(users.set_groups("unstored", ["d"]).await.is_err());
    let line = |change: &str, subject: &str, result: &str| {
        format!("{change} by=application hub=chat {subject} result={result}")
    };
    let failed = r#""failed: the store is unavailable: injected fault""#;
    let expected = [
        line("add user to group", "user=unstored group=old", r#""store applied, 0 connections""#),
        line("add user to group", "user=unstored group=a", failed),
        line("add user to group", "user=unstored group=b", failed),
        line("remove user from group", "user=unstored group=c", failed),
        line("remove user from group", r#"user="unstored too" group=c"#, failed),
        line("add user to group", "user=unstored group=d", failed),
        line("remove user from other groups", "user=unstored", failed),
    ];
    assert_eq!(log.lines_with(&["unstored"]), expected);
}
