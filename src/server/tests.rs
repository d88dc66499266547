use std::{fs, path::Path, time::SystemTime};

use actix_web::rt::{System, net::TcpStream};
use futures_util::{SinkExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, handshake::client::Request},
};

use super::*;
use crate::{
    chat,
    config::{Environment, Flags},
    hub::Identity,
    web::Authenticate,
};

mod proxies;

/// The time limit of every wait in a test.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A service on a separate thread, so that a failing test does not wait for it.
struct TestService {
    clients: SocketAddr,
    admin: SocketAddr,
    token: String,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<io::Result<()>>,
    directory: TempDir,
}

fn settings(directory: &Path, more: &[(&str, &str)]) -> Settings {
    let data = directory.join("data").display().to_string();
    let defaults = [
        ("HUBCAST_LISTEN", "127.0.0.1:0"),
        ("HUBCAST_ADMIN__LISTEN", "127.0.0.1:0"),
        ("HUBCAST_WORKERS", "2"),
        ("HUBCAST_DATA_DIR", &data),
    ];
    let environment: Environment =
        defaults.iter().chain(more).map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Settings::read(&Flags::default(), &environment).unwrap()
}

impl TestService {
    async fn start(more: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), more).await
    }

    async fn start_in(directory: TempDir, more: &[(&str, &str)]) -> Self {
        Self::start_changed(directory, more, |_| {}).await
    }

    async fn start_changed(
        directory: TempDir,
        more: &[(&str, &str)],
        change: impl FnOnce(&mut Service) + Send + 'static,
    ) -> Self {
        let settings = settings(directory.path(), more);
        let listeners = Listeners::bind(&settings).unwrap();
        let (clients, admin) = (listeners.clients.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let (token_sender, token) = oneshot::channel();
        let (end_sender, ended) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            System::new().block_on(async {
                let mut service = Service::open(&settings).await.unwrap();
                change(&mut service);
                token_sender.send(service.admin_token.expose().to_owned()).unwrap();
                // If the test has ended, the service stops too, and its result is ignored.
                let end = run(listeners, service, async { drop(stopped.await) }, stream::pending()).await;
                drop(end_sender.send(end));
            });
        });
        Self { clients, admin, token: within(token).await.unwrap(), stop, ended, directory }
    }

    /// Stops the service and returns its directory.
    async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        within(self.ended).await.unwrap().unwrap();
        self.directory
    }

    async fn client(&self, user: &str) -> TestClient {
        TestClient::connect(&format!("ws://{}/chat?user={user}", self.clients)).await
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(TEST_TIMEOUT, future).await.expect("a result in time")
}

/// Sends a request and returns the whole response, with headers.
async fn get(address: SocketAddr, path: &str, header: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{header}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    within(socket.read_to_string(&mut response)).await.unwrap();
    response
}

/// A client of ASP.NET Core SignalR over a WebSocket, without negotiation.
struct TestClient(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl TestClient {
    async fn connect(url: &str) -> Self {
        Self::connect_with(url.into_client_request().unwrap()).await
    }

    async fn connect_with(request: Request) -> Self {
        let host = request.uri().authority().unwrap().to_string();
        Self::connect_over(TcpStream::connect(host).await.unwrap(), request).await
    }

    /// Connects over a socket that may have sent something before.
    async fn connect_over(socket: TcpStream, request: Request) -> Self {
        let (mut socket, _) = within(client_async(request, MaybeTlsStream::Plain(socket))).await.unwrap();
        socket.send(Message::text("{\"protocol\":\"json\",\"version\":1}\u{1e}")).await.unwrap();
        let mut client = Self(socket);
        assert_eq!(client.next().await, Some(json!({})), "the handshake response");
        client
    }

    /// The next message other than a ping; `None` once the socket is closed cleanly.
    async fn next(&mut self) -> Option<Value> {
        within(self.next_without_timeout()).await
    }

    async fn next_without_timeout(&mut self) -> Option<Value> {
        loop {
            let Message::Text(text) = self.0.next().await?.unwrap() else { continue };
            let value: Value = serde_json::from_str(text.trim_end_matches('\u{1e}')).unwrap();
            if value["type"] != 6 {
                return Some(value);
            }
        }
    }

    /// Calls a method and returns its result or error. No other message may arrive before it.
    async fn invoke(&mut self, method: &str, arguments: Value) -> Value {
        let call = json!({ "type": 1, "invocationId": "1", "target": method, "arguments": arguments });
        self.0.send(Message::text(format!("{call}\u{1e}"))).await.unwrap();
        let completion = self.next().await.expect("a completion");
        assert_eq!(completion["type"], 3, "{completion}");
        completion.get("error").or_else(|| completion.get("result")).cloned().unwrap_or_default()
    }

    /// Calls a method without an invocation id, so without a completion.
    async fn send(&mut self, method: &str, arguments: Value) {
        let call = json!({ "type": 1, "target": method, "arguments": arguments });
        self.0.send(Message::text(format!("{call}\u{1e}"))).await.unwrap();
    }

    /// The next chat message: its sender and its text.
    async fn next_chat_message(&mut self) -> (String, String) {
        let call = self.next().await.expect("a message");
        assert_eq!(call["target"], "addChatMessage", "{call}");
        serde_json::from_value(call["arguments"].clone()).unwrap()
    }
}

fn chat_message(sender: &str, text: &str) -> (String, String) {
    (sender.into(), text.into())
}

#[actix_web::test]
async fn page_and_admin_routes_are_served() {
    let service = TestService::start(&[]).await;
    assert!(get(service.clients, "/", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(service.clients, "/admin/overview", "").await.starts_with("HTTP/1.1 404"), "not for clients");
    assert!(get(service.admin, "/admin/overview", "").await.starts_with("HTTP/1.1 401"));
    let unknown = get(service.admin, "/", "").await;
    assert!(unknown.starts_with("HTTP/1.1 404") && unknown.ends_with(r#"{"error":"unknown route"}"#), "{unknown}");
    let bearer = format!("Authorization: Bearer {}\r\n", service.token);
    assert!(get(service.admin, "/admin/overview", &bearer).await.starts_with("HTTP/1.1 200"));
    service.stop().await;
}

#[actix_web::test]
async fn metrics_are_public_if_configured() {
    for (setting, status) in [("false", "HTTP/1.1 401"), ("true", "HTTP/1.1 200")] {
        let service = TestService::start(&[("HUBCAST_METRICS__PUBLIC", setting)]).await;
        let answer = get(service.admin, "/metrics", "").await;
        assert!(answer.starts_with(status), "{setting}: {answer}");
        assert!(get(service.clients, "/metrics", "").await.starts_with("HTTP/1.1 404"), "not for clients");
        service.stop().await;
    }
}

#[actix_web::test]
async fn room_members_receive_messages_unless_excluded() {
    let service = TestService::start(&[]).await;
    let (mut ann, mut bob) = (service.client("ann").await, service.client("bob").await);
    assert_eq!(ann.invoke("JoinRoom", json!(["lobby"])).await, true);
    assert_eq!(ann.invoke("JoinRoom", json!(["lobby"])).await, false, "she was in it");
    assert_eq!(bob.invoke("JoinRoom", json!(["lobby"])).await, true);
    bob.send("Send", json!(["lobby", "to all"])).await;
    bob.send("SendToOthers", json!(["lobby", "to others"])).await;
    bob.send("SendToUser", json!(["ann", "to ann"])).await;
    for message in ["to all", "to others", "to ann"] {
        assert_eq!(ann.next_chat_message().await, chat_message("bob", message));
    }
    assert_eq!(bob.next_chat_message().await, chat_message("bob", "to all"));
    assert_eq!(bob.invoke("LeaveRoom", json!(["lobby"])).await, true, "nothing else came before this answer");
    assert_eq!(bob.invoke("LeaveRoom", json!(["lobby"])).await, false);
    ann.send("Send", json!(["lobby", "alone"])).await;
    assert_eq!(ann.next_chat_message().await, chat_message("ann", "alone"));
    assert_eq!(bob.invoke("JoinRoom", json!(["another"])).await, true, "nothing else came before this answer");
}

#[actix_web::test]
async fn connections_can_be_excluded_by_id() {
    let service = TestService::start(&[]).await;
    let (mut ann, mut bob) = (service.client("ann").await, service.client("bob").await);
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    bob.invoke("JoinRoom", json!(["lobby"])).await;
    let bearer = format!("Authorization: Bearer {}\r\n", service.token);
    let answer = get(service.admin, "/admin/connections?user=ann", &bearer).await;
    let page: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    bob.send("SendExcept", json!(["lobby", "secret", [page["items"][0]["id"]]])).await;
    assert_eq!(bob.next_chat_message().await, chat_message("bob", "secret"));
    assert_eq!(ann.invoke("LeaveRoom", json!(["lobby"])).await, true, "nothing else came before this answer");
}

#[actix_web::test]
async fn clients_learn_their_name() {
    let service = TestService::start(&[]).await;
    assert_eq!(service.client("ann").await.invoke("WhoAmI", json!([])).await, "ann");
    let name = service.client("").await.invoke("WhoAmI", json!([])).await;
    assert!(name.as_str().is_some_and(|name| name.len() > 10), "{name}: an unnamed client has its connection id");
}

#[actix_web::test]
async fn entering_a_room_notifies_the_caller_too() {
    let service = TestService::start(&[]).await;
    let mut ann = service.client("ann").await;
    ann.send("EnterRoom", json!(["lobby"])).await;
    assert_eq!(ann.next_chat_message().await, chat_message("ann", "ann has joined lobby"));
    assert_eq!(ann.invoke("EnterRoom", json!(["lobby"])).await, false, "no notification");
}

#[actix_web::test]
async fn durable_membership_covers_all_connections_and_restarts() {
    let service = TestService::start(&[]).await;
    let (mut desktop, mut phone) = (service.client("ann").await, service.client("ann").await);
    assert_eq!(desktop.invoke("AddToRoom", json!(["lobby"])).await, true);
    assert_eq!(desktop.invoke("AddToRoom", json!(["lobby"])).await, false, "it was stored");
    desktop.send("Send", json!(["lobby", "hello"])).await;
    assert_eq!(phone.next_chat_message().await, chat_message("ann", "hello"));
    drop((desktop, phone));
    let service = TestService::start_in(service.stop().await, &[]).await;
    let mut ann = service.client("ann").await;
    ann.send("Send", json!(["lobby", "again"])).await;
    assert_eq!(ann.next_chat_message().await, chat_message("ann", "again"));
    assert_eq!(ann.invoke("RemoveFromRoom", json!(["lobby"])).await, true);
    assert_eq!(ann.invoke("RemoveFromRoom", json!(["lobby"])).await, false);
    let mut anonymous = service.client("").await;
    let refusal = anonymous.invoke("AddToRoom", json!(["lobby"])).await;
    assert!(refusal.as_str().unwrap().ends_with("you have no name"), "{refusal}");
}

#[actix_web::test]
async fn clients_are_notified_when_the_service_stops() {
    let service = TestService::start(&[]).await;
    let mut ann = service.client("ann").await;
    let stopping = spawn(service.stop());
    let close = ann.next().await.expect("a close message");
    assert_eq!((&close["type"], &close["allowReconnect"]), (&json!(7), &json!(true)), "{close}");
    assert_eq!(ann.next().await, None);
    within(stopping).await.unwrap();
}

#[actix_web::test]
async fn missing_token_is_refused_with_an_explanation() {
    let secret = "a secret that is as long as HS256 wants";
    let service = TestService::start(&[("HUBCAST_AUTH__MODE", "jwt"), ("HUBCAST_AUTH__SECRETS", secret)]).await;
    let answer = get(service.clients, "/chat?user=ann", "").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    assert!(answer.ends_with("as access_token in the query"), "{answer}");
    service.stop().await;
}

#[actix_web::test]
async fn expired_token_ends_the_connection_if_configured() {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let secret = "a secret that is as long as HS256 wants";
    let more =
        [("HUBCAST_AUTH__MODE", "jwt"), ("HUBCAST_AUTH__SECRETS", secret), ("HUBCAST_AUTH__CLOSE_ON_EXPIRY", "true")];
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), &more);
    let (hub, jwt) = (chat::hub(), open::jwt(&settings.auth));
    let (aspnetcore, _) = open::endpoints(&hub, &settings);
    // Instead of a wait for the token's expiry, ten minutes pass while it is checked.
    let authenticate = move |request: &HttpRequest| {
        let identity = jwt.identify(request)?;
        let expires = identity.expires.map(|expires| expires - Duration::from_secs(600));
        Ok(Identity { expires, ..identity })
    };
    let engine = Engine::builder().hub_only(hub).aspnetcore_endpoint(aspnetcore).authenticate(authenticate);
    let engine = engine.build().unwrap();
    let server = actix_test::start(move || App::new().configure(engine.routes()));
    // A token is accepted for 60 s after its expiry.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "sub": "ann", "exp": now + 540 });
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
    let request = format!("ws://{}/chat?access_token={token}", server.addr()).into_client_request().unwrap();
    let socket = TcpStream::connect(server.addr()).await.unwrap();
    let (socket, _) = within(client_async(request, MaybeTlsStream::Plain(socket))).await.unwrap();
    let close = TestClient(socket).next().await.expect("a close message");
    assert_eq!((&close["type"], &close["allowReconnect"]), (&json!(7), &json!(true)), "{close}");
}

#[actix_web::test]
async fn keys_are_created_once_for_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), &[]);
    let first = Service::open(&settings).await.unwrap();
    for path in [settings.key_file(), settings.token_file(), settings.database_file()] {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let parent = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777;
        assert_eq!((parent, mode), (0o700, 0o600), "{}", path.display());
    }
    let token = first.admin_token.expose().to_owned();
    drop(first);
    let second = Service::open(&settings).await.unwrap();
    assert_eq!(token, second.admin_token.expose());
    drop(second);
    fs::set_permissions(settings.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Service::open(&settings).await, Err(OpenError::KeyFile(_))));
}

#[test]
fn port_in_use_is_reported_with_setting() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = settings(directory.path(), &[("HUBCAST_ADMIN__LISTEN", &address)]);
    let error = Listeners::bind(&settings).unwrap_err();
    let expected = format!("admin.listen: cannot listen on {address}; another program uses it, choose another port");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn startup_message_lists_addresses_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), &[]);
    let listeners = Listeners::bind(&settings).unwrap();
    let text = startup_message(&settings, &listeners).unwrap();
    let address = |listener: &TcpListener| format!("http://{}/", listener.local_addr().unwrap());
    let expected = [
        address(&listeners.clients) + "chat?user=ann",
        address(&listeners.clients) + "signalr (with the query string user=ann)",
        address(&listeners.admin) + "admin/overview",
        settings.database_file().display().to_string(),
        settings.key_file().display().to_string(),
        settings.token_file().display().to_string(),
    ];
    for item in expected {
        assert!(text.contains(&item), "{item} in {text}");
    }
}

#[actix_web::test]
async fn sockets_beyond_the_limit_are_refused_until_clients_leave() {
    let limit = |service: &mut Service| service.max_sockets = NonZeroUsize::new(2).unwrap();
    let service = TestService::start_changed(tempfile::tempdir().unwrap(), &[], limit).await;
    let (ann, bob) = (service.client("ann").await, service.client("bob").await);
    let refused = get(service.clients, "/", "").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5\r\n"), "{refused}");
    let health = get(service.admin, "/healthz/live", "").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "operators have sockets of their own: {health}");
    drop((ann, bob));
    within(async { while !get(service.clients, "/", "").await.starts_with("HTTP/1.1 200 ") {} }).await;
    service.stop().await;
}

#[actix_web::test]
async fn second_service_on_a_data_directory_is_refused() {
    let service = TestService::start(&[]).await;
    let error = Service::open(&settings(service.directory.path(), &[])).await.unwrap_err();
    let text = format!("{:#}", anyhow::Error::from(error));
    assert!(text.starts_with("data_dir: /"), "{text}");
    assert!(text.contains("/data is used by process ") && text.contains("(node `hubcast`)"), "{text}");
    service.stop().await;
}
