//! Clients of both generations over TLS, stalled readers, and the reload of the certificate.

use std::{any::Any, io::Read, net::SocketAddr, os::fd::AsFd, path::Path, time::Duration};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use hubcast::{AcceptedSocket, Engine, EngineBuilder, Limits, Overflow, testkit};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, sync::mpsc};

use crate::support::{
    Certificate, ClientProcess, CoreClient, Server, ServiceProcess, percent_encoded, wait_until, wait_until_async,
    with_timeout,
};

/// The outbox limit of a client, in bytes.
const MAX_QUEUED: usize = 256 * 1024;
const MESSAGE_SIZE: usize = 64 * 1024;

/// Runs a scenario of a Node client that trusts the certificate. `scheme` is how the client names TLS.
async fn run_node(script: &str, scenario: &str, scheme: &str) {
    let certificate = Certificate::generate();
    let server = Server::start_with_tls(&certificate, |_, _| (), |engine| engine).await;
    let url = format!("{scheme}://{}", server.address);
    let trusted = [("NODE_EXTRA_CA_CERTS", certificate.certificate_file())];
    let client = ClientProcess::start_with(Path::new("node"), script, &[scenario, &url], trusted);
    client.expect_success().await;
}

#[tokio::test]
async fn node_client_invokes_methods_over_tls() {
    run_node("node.mjs", "calls", "https").await;
}

#[tokio::test]
async fn node_client_sends_to_groups_over_tls() {
    run_node("node.mjs", "groups", "https").await;
}

#[tokio::test]
async fn classic_node_client_works_over_tls() {
    run_node("classic.mjs", "calls", "wss").await;
    run_node("classic.mjs", "groups", "wss").await;
}

#[tokio::test]
async fn drained_client_gets_an_orderly_end_over_tls() {
    let certificate = Certificate::generate();
    let server = Server::start_with_tls(&certificate, |_, _| (), |engine| engine).await;
    let mut client = CoreClient::connect_over_tls(server.address, "/chat?user=ann", &certificate).await;
    assert_eq!(client.invoke("Add", json!([2, 3])).await, 5);
    server.engine.drain(Duration::ZERO).await;
    assert!(client.expect_close().await.allow_reconnect);
    assert!(client.end_error().is_none(), "the TLS session ends before its socket: {:?}", client.end_error());
}

/// The mistake that must not send plain text: the application passes the stream inside the TLS stream.
fn on_connect_with_inner_stream(stream: &dyn Any, data: &mut Extensions) {
    hubcast::on_connect(stream.downcast_ref::<TlsStream<TcpStream>>().unwrap().get_ref().0, data);
}

#[tokio::test]
async fn frames_stay_encrypted_if_the_inner_stream_is_prepared() {
    let certificate = Certificate::generate();
    let server = Server::start_mounted(Some(&certificate), on_connect_with_inner_stream, |engine| engine).await;
    let mut client = CoreClient::connect_over_tls(server.address, "/chat?user=ann", &certificate).await;
    assert_eq!(client.invoke("Add", json!([2, 3])).await, 5);
}

/// Reports when the server has closed the connection that it belongs to.
struct Closed(mpsc::UnboundedSender<()>);

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

fn with_low_limits(engine: EngineBuilder) -> EngineBuilder {
    engine.limits(Limits { items: 1_000, bytes: MAX_QUEUED, overflow: Overflow::Close })
}

/// A TLS server with low limits, which sends an item for each closed connection.
async fn start_with_low_limits(certificate: &Certificate) -> (Server, mpsc::UnboundedReceiver<()>) {
    let (closed, is_closed) = mpsc::unbounded_channel();
    let hook = move |socket: &AcceptedSocket<'_>, data: &mut Extensions| {
        assert!(socket.tls().is_some());
        data.insert(Closed(closed.clone()));
    };
    (Server::start_with_tls(certificate, hook, with_low_limits).await, is_closed)
}

/// Sends to `user` until its only connection is evicted.
async fn flood_until_evicted(engine: &Engine, user: &str) {
    let (hub, text) = (engine.hub("chat").unwrap(), "x".repeat(MESSAGE_SIZE));
    while engine.metrics().connections_evicted.get() == 0 {
        hub.clients().user(user).send("flood", &text).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Sends a second descriptor of each accepted socket.
fn duplicate(stream: &TcpStream, sockets: &mpsc::UnboundedSender<std::net::TcpStream>) {
    let _ = sockets.send(stream.as_fd().try_clone_to_owned().unwrap().into());
}

/// Asserts that a client that reads nothing loses its socket.
async fn expect_shut_down(
    server: Server,
    certificate: &Certificate,
    mut sockets: mpsc::UnboundedReceiver<std::net::TcpStream>,
) {
    let client = CoreClient::connect_over_tls(server.address, "/chat?user=ann", certificate).await;
    let socket = with_timeout(sockets.recv()).await.unwrap();
    flood_until_evicted(&server.engine, "ann").await;
    // The client has closed nothing, so the end of what it sends is the server's doing.
    with_timeout(wait_until(|| (&socket).read(&mut [0]).is_ok_and(|length| length == 0))).await;
    with_timeout(wait_until(|| testkit::connections(&server.engine).count() == 0)).await;
    client.drop_socket();
}

#[tokio::test]
async fn stalled_websocket_reader_loses_its_tls_socket() {
    let (certificate, (sender, sockets)) = (Certificate::generate(), mpsc::unbounded_channel());
    let hook = move |socket: &AcceptedSocket<'_>, _: &mut Extensions| duplicate(socket.tcp(), &sender);
    let server = Server::start_with_tls(&certificate, hook, with_low_limits).await;
    expect_shut_down(server, &certificate, sockets).await;
}

#[tokio::test]
async fn stalled_websocket_reader_loses_its_tls_socket_of_actix() {
    let (certificate, (sender, sockets)) = (Certificate::generate(), mpsc::unbounded_channel());
    let on_connect = move |stream: &dyn Any, data: &mut Extensions| {
        hubcast::on_connect(stream, data);
        duplicate(stream.downcast_ref::<TlsStream<TcpStream>>().unwrap().get_ref().0, &sender);
    };
    let server = Server::start_mounted(Some(&certificate), on_connect, with_low_limits).await;
    expect_shut_down(server, &certificate, sockets).await;
}

/// The query of every classic request of ann to the hub `chat`.
const CLASSIC_QUERY: &str = "clientProtocol=2.1&connectionData=%5B%7B%22name%22%3A%22chat%22%7D%5D&user=ann";

/// Negotiates a classic connection and returns its token, percent-encoded.
async fn negotiate(server: SocketAddr, certificate: &Certificate) -> String {
    let mut response = String::new();
    let mut stream = certificate.get(server, &format!("/signalr/negotiate?{CLASSIC_QUERY}")).await;
    with_timeout(stream.read_to_string(&mut response)).await.unwrap();
    let body: Value = serde_json::from_str(response.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    percent_encoded(body["ConnectionToken"].as_str().unwrap())
}

#[tokio::test]
async fn stalled_event_stream_reader_loses_its_tls_socket() {
    let certificate = Certificate::generate();
    let (server, mut closed) = start_with_low_limits(&certificate).await;
    let token = negotiate(server.address, &certificate).await;
    with_timeout(closed.recv()).await.expect("the end of the negotiation");
    let query = format!("{CLASSIC_QUERY}&transport=serverSentEvents&connectionToken={token}");
    let mut stream = certificate.get(server.address, &format!("/signalr/connect?{query}")).await;
    let mut head = vec![0; 16];
    with_timeout(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(head, b"HTTP/1.1 200 OK\r");
    let mut started = String::new();
    let mut start = certificate.get(server.address, &format!("/signalr/start?{query}")).await;
    with_timeout(start.read_to_string(&mut started)).await.unwrap();
    assert!(started.ends_with(r#"{"Response":"started"}"#), "{started}");
    with_timeout(closed.recv()).await.expect("the end of the start request");
    flood_until_evicted(&server.engine, "ann").await;
    assert_eq!(with_timeout(closed.recv()).await, Some(()), "the client reads nothing, but its socket is closed");
}

#[tokio::test]
async fn sighup_reloads_the_certificate() {
    let (data, old, new) = (tempfile::tempdir().unwrap(), Certificate::generate(), Certificate::generate());
    let server = ServiceProcess::start_with_tls(data.path(), &old).await;
    let mut client = CoreClient::connect_over_tls(server.address, "/chat?user=ann", &old).await;
    assert!(new.connect(server.address).await.is_err(), "the new certificate is not in use yet");
    new.replace_files_of(&old);
    server.signal("HUP").await;
    with_timeout(wait_until_async(async || new.connect(server.address).await.is_ok())).await;
    assert!(old.connect(server.address).await.is_err());
    assert_eq!(client.invoke("JoinRoom", json!(["lobby"])).await, true, "open connections continue");
}

#[tokio::test]
async fn sighup_without_certificate_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    let mut client = CoreClient::connect(server.address, "/chat?user=ann").await;
    server.signal("HUP").await;
    let (code, _) = server.stop().await;
    assert_eq!(code, Some(0));
    assert!(client.expect_close().await.allow_reconnect, "SIGTERM, which comes second, drains");
}
