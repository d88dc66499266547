use std::{fs, path::Path};

use actix_web::rt::{System, net::TcpStream, spawn};
use futures_util::{SinkExt, StreamExt};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::*;
use crate::config::{Environment, Flags};

/// What every test waits at most for one thing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service on a thread of its own, so that a test that fails leaves it behind instead of waiting for it.
struct Running {
    clients: SocketAddr,
    admin: SocketAddr,
    token: String,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<io::Result<()>>,
    directory: TempDir,
}

fn settings(directory: &Path, more: &[(&str, &str)]) -> Settings {
    let data = directory.join("data").display().to_string();
    let usual = [
        ("HUBCAST_LISTEN", "127.0.0.1:0"),
        ("HUBCAST_ADMIN__LISTEN", "127.0.0.1:0"),
        ("HUBCAST_WORKERS", "2"),
        ("HUBCAST_DATA_DIR", &data),
    ];
    let environment: Environment =
        usual.iter().chain(more).map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Settings::read(&Flags::default(), &environment).unwrap()
}

impl Running {
    async fn start(more: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), more).await
    }

    async fn start_in(directory: TempDir, more: &[(&str, &str)]) -> Self {
        let settings = settings(directory.path(), more);
        let listeners = Listeners::bind(&settings).unwrap();
        let (clients, admin) = (listeners.clients.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let (tell_token, token) = oneshot::channel();
        let (tell_end, ended) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            System::new().block_on(async {
                let service = Service::open(&settings).await.unwrap();
                tell_token.send(service.admin_token.expose_secret().to_owned()).unwrap();
                // A test that has gone wants the service to go too, and does not care how it went.
                let end = run(listeners, service, async { drop(stopped.await) }).await;
                drop(tell_end.send(end));
            });
        });
        Self { clients, admin, token: within(token).await.unwrap(), stop, ended, directory }
    }

    /// Stops the service and answers what it kept.
    async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        within(self.ended).await.unwrap().unwrap();
        self.directory
    }

    async fn client(&self, user: &str) -> Client {
        Client::connect(&format!("ws://{}/chat?user={user}", self.clients)).await
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes no longer than that")
}

/// The answer to a request, headers and all.
async fn get(address: SocketAddr, path: &str, header: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{header}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// A client of the newer generation over a WebSocket, without negotiation.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(url: &str) -> Self {
        let (mut socket, _) = within(connect_async(url)).await.unwrap();
        socket.send(Message::text("{\"protocol\":\"json\",\"version\":1}\u{1e}")).await.unwrap();
        let mut client = Self(socket);
        assert_eq!(client.next().await, Some(json!({})), "the handshake's answer");
        client
    }

    /// The next thing but pings; `None` once the socket has closed in good order.
    async fn next(&mut self) -> Option<Value> {
        within(self.next_of_any_age()).await
    }

    async fn next_of_any_age(&mut self) -> Option<Value> {
        loop {
            let Message::Text(text) = self.0.next().await?.unwrap() else { continue };
            let value: Value = serde_json::from_str(text.trim_end_matches('\u{1e}')).unwrap();
            if value["type"] != 6 {
                return Some(value);
            }
        }
    }

    /// Calls a method and answers its result; what others say meanwhile is not expected.
    async fn invoke(&mut self, method: &str, arguments: Value) -> Value {
        let call = json!({ "type": 1, "invocationId": "1", "target": method, "arguments": arguments });
        self.0.send(Message::text(format!("{call}\u{1e}"))).await.unwrap();
        let completion = self.next().await.expect("an answer");
        assert_eq!(completion["type"], 3, "{completion}");
        completion.get("error").or_else(|| completion.get("result")).cloned().unwrap_or_default()
    }

    /// Calls a method without waiting for its answer.
    async fn tell(&mut self, method: &str, arguments: Value) {
        let call = json!({ "type": 1, "target": method, "arguments": arguments });
        self.0.send(Message::text(format!("{call}\u{1e}"))).await.unwrap();
    }

    /// What somebody says: who, and what.
    async fn heard(&mut self) -> (String, String) {
        let call = self.next().await.expect("a message");
        assert_eq!(call["target"], "addChatMessage", "{call}");
        serde_json::from_value(call["arguments"].clone()).unwrap()
    }
}

fn said(name: &str, message: &str) -> (String, String) {
    (name.into(), message.into())
}

#[actix_web::test]
async fn the_page_the_hub_and_the_operators_routes_are_where_they_should_be() {
    let service = Running::start(&[]).await;
    assert!(get(service.clients, "/", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(service.clients, "/admin/overview", "").await.starts_with("HTTP/1.1 404"), "not for clients");
    assert!(get(service.admin, "/admin/overview", "").await.starts_with("HTTP/1.1 401"));
    let bearer = format!("Authorization: Bearer {}\r\n", service.token);
    assert!(get(service.admin, "/admin/overview", &bearer).await.starts_with("HTTP/1.1 200"));
    service.stop().await;
}

#[actix_web::test]
async fn whoever_is_in_a_room_hears_what_is_said_in_it_except_who_should_not() {
    let service = Running::start(&[]).await;
    let (mut ann, mut bob) = (service.client("ann").await, service.client("bob").await);
    assert_eq!(ann.invoke("JoinRoom", json!(["lobby"])).await, true);
    assert_eq!(ann.invoke("JoinRoom", json!(["lobby"])).await, false, "she was in it");
    assert_eq!(bob.invoke("JoinRoom", json!(["lobby"])).await, true);
    bob.tell("Send", json!(["lobby", "to all"])).await;
    bob.tell("SendToOthers", json!(["lobby", "to others"])).await;
    bob.tell("SendToUser", json!(["ann", "to ann"])).await;
    for message in ["to all", "to others", "to ann"] {
        assert_eq!(ann.heard().await, said("bob", message));
    }
    assert_eq!(bob.heard().await, said("bob", "to all"));
    assert_eq!(bob.invoke("LeaveRoom", json!(["lobby"])).await, true, "nothing else came before this answer");
    assert_eq!(bob.invoke("LeaveRoom", json!(["lobby"])).await, false);
    ann.tell("Send", json!(["lobby", "alone"])).await;
    assert_eq!(ann.heard().await, said("ann", "alone"));
    assert_eq!(bob.invoke("JoinRoom", json!(["another"])).await, true, "nothing else came before this answer");
}

#[actix_web::test]
async fn connections_can_be_left_out_by_their_ids() {
    let service = Running::start(&[]).await;
    let (mut ann, mut bob) = (service.client("ann").await, service.client("bob").await);
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    bob.invoke("JoinRoom", json!(["lobby"])).await;
    let bearer = format!("Authorization: Bearer {}\r\n", service.token);
    let answer = get(service.admin, "/admin/connections?user=ann", &bearer).await;
    let page: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    bob.tell("SendExcept", json!(["lobby", "secret", [page["items"][0]["id"]]])).await;
    assert_eq!(bob.heard().await, said("bob", "secret"));
    assert_eq!(ann.invoke("LeaveRoom", json!(["lobby"])).await, true, "nothing else came before this answer");
}

#[actix_web::test]
async fn who_enters_a_room_hears_of_it_too() {
    let service = Running::start(&[]).await;
    let mut ann = service.client("ann").await;
    ann.tell("EnterRoom", json!(["lobby"])).await;
    assert_eq!(ann.heard().await, said("ann", "ann has joined lobby"));
    assert_eq!(ann.invoke("EnterRoom", json!(["lobby"])).await, false, "no news for anybody");
}

#[actix_web::test]
async fn a_user_is_in_a_room_for_good_on_every_connection_and_after_a_restart() {
    let service = Running::start(&[]).await;
    let (mut rejoin_service, mut phone) = (service.client("ann").await, service.client("ann").await);
    assert_eq!(rejoin_service.invoke("AddToRoom", json!(["lobby"])).await, true);
    assert_eq!(rejoin_service.invoke("AddToRoom", json!(["lobby"])).await, false, "it was stored");
    rejoin_service.tell("Send", json!(["lobby", "hello"])).await;
    assert_eq!(phone.heard().await, said("ann", "hello"));
    drop((rejoin_service, phone));
    let service = Running::start_in(service.stop().await, &[]).await;
    let mut ann = service.client("ann").await;
    ann.tell("Send", json!(["lobby", "again"])).await;
    assert_eq!(ann.heard().await, said("ann", "again"));
    assert_eq!(ann.invoke("RemoveFromRoom", json!(["lobby"])).await, true);
    assert_eq!(ann.invoke("RemoveFromRoom", json!(["lobby"])).await, false);
    let mut nobody = service.client("").await;
    let refusal = nobody.invoke("AddToRoom", json!(["lobby"])).await;
    assert!(refusal.as_str().unwrap().ends_with("you have no name"), "{refusal}");
}

#[actix_web::test]
async fn a_client_is_told_when_the_service_stops() {
    let service = Running::start(&[]).await;
    let mut ann = service.client("ann").await;
    let stopping = spawn(service.stop());
    let farewell = ann.next().await.expect("a farewell");
    assert_eq!((&farewell["type"], &farewell["allowReconnect"]), (&json!(7), &json!(true)), "{farewell}");
    assert_eq!(ann.next().await, None);
    within(stopping).await.unwrap();
}

#[actix_web::test]
async fn who_brings_no_token_is_told_what_is_wanted() {
    let secret = "a secret that is as long as HS256 wants";
    let service = Running::start(&[("HUBCAST_AUTH__MODE", "jwt"), ("HUBCAST_AUTH__SECRETS", secret)]).await;
    let answer = get(service.clients, "/chat?user=ann", "").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    assert!(answer.ends_with("as `access_token` in the query"), "{answer}");
    service.stop().await;
}

#[actix_web::test]
async fn keys_are_made_once_and_kept_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), &[]);
    let first = Service::open(&settings).await.unwrap();
    for path in [settings.key_file(), settings.token_file(), settings.database_file()] {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let parent = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777;
        assert!(parent == 0o700 && (mode == 0o600 || path == settings.database_file()), "{} {mode:o}", path.display());
    }
    let second = Service::open(&settings).await.unwrap();
    assert_eq!(first.admin_token.expose_secret(), second.admin_token.expose_secret());
    fs::set_permissions(settings.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Service::open(&settings).await, Err(OpenError::KeyFile(_))));
}

#[test]
fn a_port_in_use_is_reported_with_its_setting() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = settings(directory.path(), &[("HUBCAST_ADMIN__LISTEN", &address)]);
    let error = Listeners::bind(&settings).unwrap_err();
    let expected = format!("admin.listen: cannot listen on {address}, which another program uses; choose another port");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_welcome_says_where_everything_is() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), &[]);
    let listeners = Listeners::bind(&settings).unwrap();
    let text = welcome(&settings, &listeners).unwrap();
    let address = |listener: &TcpListener| format!("http://{}/", listener.local_addr().unwrap());
    let expected = [
        address(&listeners.clients) + "chat?user=ann",
        address(&listeners.admin) + "admin/overview",
        settings.database_file().display().to_string(),
        settings.key_file().display().to_string(),
        settings.token_file().display().to_string(),
    ];
    for place in expected {
        assert!(text.contains(&place), "{place} in {text}");
    }
}
