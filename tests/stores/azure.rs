use std::{path::Path, sync::LazyLock};

use hubcast::store::{
    Change, Error, MembershipStore, Owner,
    azure::{AzureCredential, AzureTableStore},
};
use hubcast_fixtures::{
    azurite::{AZURITE_KEY, Azurite, shared_access_signature},
    fault_proxy::FaultProxy,
    servers::reserve_port,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::ProxiedStore;

static AZURITE: LazyLock<Azurite> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
    Azurite::start(&target.join("clients"))
});

async fn connect(address: &str) -> Result<AzureTableStore, Error> {
    AzureTableStore::connect_with_test_timeouts(address, AzureCredential::key(AZURITE_KEY)).await
}

fn ann() -> Owner {
    Owner { hub: "chat".into(), user: "ann".into() }
}

hubcast::membership_store_conformance!(connect(&AZURITE.new_table()).await?);
hubcast::membership_fault_conformance!(open_proxied().await?);

async fn open_proxied() -> Result<ProxiedStore<AzureTableStore>, Error> {
    let (table, server) = (AZURITE.new_table(), AZURITE.process.address);
    let proxy = FaultProxy::to_http_server(server).await;
    let proxied = table.replace(&server.to_string(), &proxy.address.to_string());
    Ok(ProxiedStore { store: connect(&proxied).await?, witness: connect(&table).await?, proxy })
}

#[tokio::test]
async fn stores_of_one_table_share_its_rows() {
    let address = AZURITE.new_table();
    let (one, other) = (connect(&address).await.unwrap(), connect(&address).await.unwrap());
    assert_eq!(one.add(&ann(), &"room".into()).await.unwrap(), Change::Applied);
    assert_eq!(other.add(&ann(), &"room".into()).await.unwrap(), Change::Unchanged);
    assert_eq!(other.groups_of(&[ann()]).await.unwrap(), [["room".into()]]);
}

#[tokio::test]
async fn lists_longer_than_an_answer_are_complete() {
    let store = connect(&AZURITE.new_table()).await.unwrap();
    let mut groups: Vec<_> = (0..1_200).map(|number| hubcast::GroupName::from(format!("{number:04}"))).collect();
    let change = |group: &hubcast::GroupName| hubcast::store::MembershipChange {
        owner: ann(),
        group: group.clone(),
        op: hubcast::store::MembershipOp::Add,
    };
    store.apply(&groups.iter().map(change).collect::<Vec<_>>()).await.unwrap();
    let mut stored = store.groups_of(&[ann()]).await.unwrap().remove(0);
    stored.sort_unstable();
    groups.sort_unstable();
    assert_eq!(stored, groups);
}

#[tokio::test]
async fn shared_access_signature_is_accepted() {
    let (address, signature) = (AZURITE.new_table(), shared_access_signature());
    let store =
        AzureTableStore::connect_with_test_timeouts(&address, AzureCredential::sas(signature.as_str())).await.unwrap();
    assert_eq!(store.add(&ann(), &"room".into()).await.unwrap(), Change::Applied);
    assert_eq!(store.groups_of(&[ann()]).await.unwrap(), [["room".into()]]);
    let forged = AzureCredential::sas(signature.replace("sco", "co"));
    let error = AzureTableStore::connect_with_test_timeouts(&address, forged).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert!(!error.to_string().contains("sig="), "{error}");
}

#[tokio::test]
async fn wrong_key_is_refused() {
    let wrong = AzureCredential::key("c2VjcmV0");
    let error = AzureTableStore::connect_with_test_timeouts(&AZURITE.new_table(), wrong).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
}

#[tokio::test]
async fn unreachable_service_is_unavailable() {
    let error = connect(&format!("azure-table://{}/devstoreaccount1", reserve_port())).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
}

/// A service that gives the requests these answers, one connection each.
async fn answering(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                assert!(socket.read_buf(&mut request).await.unwrap() > 0, "the head is complete");
            }
            let head = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
            // Unread bytes of the body would reset the connection, and the client could lose the answer.
            tokio::spawn(async move { while socket.read_buf(&mut request).await.is_ok_and(|count| count > 0) {} });
        }
    });
    format!("azure-table://{address}/devstoreaccount1")
}

/// After the deletion of a table, the service refuses its name for a while by the status of a row that exists.
#[tokio::test]
async fn deleted_table_is_unavailable() {
    const DELETED: &str = "409 Conflict\r\nx-ms-error-code: TableBeingDeleted";
    let error = connect(&answering(&[DELETED]).await).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("TableBeingDeleted")), "{error}");
    let store = connect(&answering(&["204 No Content", DELETED]).await).await.unwrap();
    let error = store.add(&ann(), &"room".into()).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("TableBeingDeleted")), "{error}");
}
