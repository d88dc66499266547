use std::net::SocketAddr;

use actix_web::{App, rt::spawn, web};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::*;
use crate::{Hub, hub::Disconnected, store::sea::SeaStore};

/// The time limit of every wait in a test.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(TEST_TIMEOUT, future).await.expect("a result in time")
}

/// A served engine with a route of the application.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    end: JoinHandle<io::Result<()>>,
    /// Receives an item for each run of OnDisconnected.
    disconnected: mpsc::UnboundedReceiver<()>,
}

impl Served {
    /// Starts a server whose route `/slow` sends `started` and answers once `gate` is true.
    fn start(started: mpsc::UnboundedSender<()>, gate: watch::Receiver<bool>) -> Self {
        let (hook_ran, disconnected) = mpsc::unbounded_channel();
        let hub = Hub::new("chat").on_disconnected(move |_: Disconnected| {
            let hook_ran = hook_ran.clone();
            async move { hook_ran.send(()).unwrap_or_default() }
        });
        let engine = Engine::builder().hub("/chat", hub).build().unwrap();
        let server = engine.http_server(move |engine| {
            let (started, gate) = (started.clone(), gate.clone());
            let slow = web::get().to(move || {
                let (started, mut gate) = (started.clone(), gate.clone());
                async move {
                    started.send(()).unwrap();
                    gate.wait_for(|is_open| *is_open).await.unwrap();
                    "done"
                }
            });
            App::new().route("/slow", slow).configure(engine.routes())
        });
        let server = server.workers(1).bind(("127.0.0.1", 0)).unwrap();
        let (address, (stop, stopped)) = (server.addrs()[0], oneshot::channel());
        let end = spawn(engine.serve(server).until(async { drop(stopped.await) }).into_future());
        Self { address, stop, end, disconnected }
    }

    /// Asks the server to stop.
    fn stop(self) -> (JoinHandle<io::Result<()>>, mpsc::UnboundedReceiver<()>) {
        self.stop.send(()).unwrap();
        (self.end, self.disconnected)
    }
}

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn next_record(client: &mut Client) -> Value {
    let message = within(client.next()).await.expect("an open socket").unwrap();
    serde_json::from_str(message.to_text().unwrap().trim_end_matches('\u{1e}')).unwrap()
}

async fn connect(address: SocketAddr) -> Client {
    let (mut client, _) = within(connect_async(format!("ws://{address}/chat"))).await.unwrap();
    client.send(Message::text("{\"protocol\":\"json\",\"version\":1}\u{1e}")).await.unwrap();
    assert_eq!(next_record(&mut client).await, json!({}), "the handshake response");
    client
}

#[actix_web::test]
async fn stop_notifies_clients_and_runs_hooks() {
    let served = Served::start(mpsc::unbounded_channel().0, watch::channel(true).1);
    let mut client = connect(served.address).await;
    let _idle = TcpStream::connect(served.address).await.unwrap();
    let (end, mut disconnected) = served.stop();
    let close = next_record(&mut client).await;
    assert_eq!((&close["type"], &close["allowReconnect"]), (&json!(7), &json!(true)), "{close}");
    while within(client.next()).await.is_some() {}
    within(end).await.unwrap().unwrap();
    assert!(disconnected.try_recv().is_ok(), "OnDisconnected has run before the server returns");
}

#[actix_web::test]
async fn stop_waits_for_requests_of_the_application() {
    let (started, mut is_started) = mpsc::unbounded_channel();
    let (open, gate) = watch::channel(false);
    let served = Served::start(started, gate);
    let mut client = connect(served.address).await;
    let mut request = TcpStream::connect(served.address).await.unwrap();
    request.write_all(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    within(is_started.recv()).await.unwrap();
    let (end, _disconnected) = served.stop();
    while within(client.next()).await.is_some() {}
    assert!(!end.is_finished(), "a request is still running");
    open.send_replace(true);
    let mut response = String::new();
    within(request.read_to_string(&mut response)).await.unwrap();
    assert!(response.ends_with("done"), "{response}");
    within(end).await.unwrap().unwrap();
}

#[actix_web::test]
async fn server_without_address_is_refused() {
    let engine = Engine::builder().hub("/chat", Hub::new("chat")).build().unwrap();
    let server = engine.http_server(|engine| App::new().configure(engine.routes()));
    let error = engine.serve(server).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[actix_web::test]
async fn engine_with_a_node_name_in_use_is_not_served() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let engine = || Engine::builder().hub("/chat", Hub::new("chat")).store(store.clone()).build().unwrap();
    let (first, second) = (engine(), engine());
    within(first.claim_node()).await.unwrap();
    let server = second.http_server(|engine| App::new().configure(engine.routes()));
    let served = second.serve(server.workers(1).bind(("127.0.0.1", 0)).unwrap());
    let error = within(served.into_future()).await.unwrap_err().to_string();
    assert!(error.starts_with("the node name `hubcast` is used by process "), "{error}");
    assert_eq!(within(second.claim_node()).await.unwrap_err().to_string(), error);
    within(first.drain(Duration::ZERO)).await;
    // The second one renews its claim at intervals, and can get the name before the third one.
    let third = within(engine().claim_node()).await;
    assert!(third.is_ok() || within(second.claim_node()).await.is_ok(), "the first one has released it");
}
