//! Clients of both generations behind nginx, HAProxy and Apache, with the configurations of `docs/operations.md`.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{
    ClassicClient, CoreClient, NegotiatedConnection, ReverseProxy, ServiceProcess, TRANSPORTS, run_node,
};

/// A loopback address from which clients connect. The proxies connect from 127.0.0.1.
const CLIENT: &str = "127.0.0.9";

/// Forged headers, which the proxies must not pass on as they are.
const FORGED: [(&str, &str); 5] = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Prefix", "/evil"),
    ("Forwarded", "for=6.6.6.6"),
];

/// A service that trusts 127.0.0.1, below the prefix `/team`.
async fn start_service(data: &tempfile::TempDir, more: &[(&str, &str)]) -> ServiceProcess {
    let environment = [
        ("HUBCAST_PROXIES__TRUSTED", "127.0.0.1"),
        ("HUBCAST_BASE_PATH", "/team"),
        ("HUBCAST_AUTH__QUERY_ON_NETWORK", "true"),
    ];
    ServiceProcess::start_with(data.path(), &[&environment, more].concat()).await
}

/// Exchanges messages through a proxy over every transport: at the root, below a prefix that the proxy removes, and
/// below one that it keeps. Clients of the root are told the prefix of the settings, which the proxy serves too.
async fn exchange_messages(proxy: SocketAddr) {
    for (prefix, url) in [("", "/team/signalr"), ("/app", "/app/signalr"), ("/team", "/team/signalr")] {
        let mut core = CoreClient::connect(proxy, &format!("{prefix}/chat?user=core")).await;
        core.invoke("JoinRoom", json!(["lobby"])).await;
        for transport in TRANSPORTS {
            let connection = NegotiatedConnection::negotiate_below(prefix, proxy, "&user=ann").await;
            assert_eq!(connection.url, url);
            let mut ann = ClassicClient::start(connection, transport).await;
            ann.invoke("JoinRoom", json!(["lobby"])).await;
            ann.invoke("Send", json!(["lobby", transport])).await;
            for message in [core.next_chat_message().await, ann.next_chat_message().await] {
                assert_eq!(message, ("ann".into(), transport.into()), "{prefix}");
            }
            core.invoke_nonblocking("SendToOthers", json!(["lobby", "answer"])).await;
            assert_eq!(ann.next_chat_message().await, ("core".into(), "answer".into()), "{prefix} {transport}");
            assert_eq!(ann.connection.request("abort").await.status, 200);
        }
    }
}

/// The address of a client that connects from [`CLIENT`] and forges the forwarding headers.
async fn listed_address(proxy: SocketAddr, service: &ServiceProcess) -> String {
    let _client = CoreClient::connect_from(CLIENT, proxy, "/app/chat?user=remote", &FORGED).await;
    let page = service.admin_json("/admin/connections?user=remote").await;
    page["items"][0]["remote"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn clients_of_both_generations_pass_nginx() {
    let data = tempfile::tempdir().unwrap();
    let service = start_service(&data, &[]).await;
    let proxy = ReverseProxy::nginx(service.address).await;
    exchange_messages(proxy.address).await;
    assert_eq!(listed_address(proxy.address, &service).await, "127.0.0.9:0");
}

#[tokio::test]
async fn clients_of_both_generations_pass_haproxy() {
    let data = tempfile::tempdir().unwrap();
    let service = start_service(&data, &[]).await;
    let proxy = ReverseProxy::haproxy(service.address).await;
    exchange_messages(proxy.address).await;
    assert_eq!(listed_address(proxy.address, &service).await, "127.0.0.9:0");
}

#[tokio::test]
async fn clients_of_both_generations_pass_apache() {
    let data = tempfile::tempdir().unwrap();
    let service = start_service(&data, &[]).await;
    let proxy = ReverseProxy::apache(service.address).await;
    exchange_messages(proxy.address).await;
    assert_eq!(listed_address(proxy.address, &service).await, "127.0.0.9:0");
}

#[tokio::test]
async fn proxy_protocol_states_the_address_in_both_versions() {
    let data = tempfile::tempdir().unwrap();
    let service = start_service(&data, &[("HUBCAST_PROXY_PROTOCOL", "true")]).await;
    for option in ["send-proxy", "send-proxy-v2"] {
        let proxy = ReverseProxy::haproxy_tcp(service.address, option).await;
        let user = format!("/chat?user={option}");
        let _client = CoreClient::connect_from(CLIENT, proxy.address, &user, &FORGED).await;
        let page = service.admin_json(&format!("/admin/connections?user={option}")).await;
        let address: SocketAddr = page["items"][0]["remote"].as_str().unwrap().parse().unwrap();
        assert_eq!(address.ip().to_string(), CLIENT, "{option}");
        assert_ne!(address.port(), 0, "the header states the port");
    }
}

#[tokio::test]
async fn page_works_below_a_removed_prefix() {
    let data = tempfile::tempdir().unwrap();
    let service = start_service(&data, &[]).await;
    let proxy = ReverseProxy::nginx(service.address).await;
    run_node("page.mjs", &["bothProtocols", &format!("http://{}/app", proxy.address)]).await;
}
