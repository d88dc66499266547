//! A client that says exactly what it is told to, over a WebSocket.

use std::{collections::VecDeque, net::SocketAddr};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, protocol::frame::coding::CloseCode},
};

use super::within;

pub(crate) const SEPARATOR: char = '\u{1e}';

/// See the module's documentation.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What came while something else was waited for.
    heard: VecDeque<Value>,
    /// With what the server closed the socket.
    closed: Option<CloseCode>,
    calls: u32,
}

impl Client {
    /// A WebSocket, and nothing said on it yet.
    pub(crate) async fn dial(server: SocketAddr, path: &str) -> Self {
        Self::try_dial(server, path).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) async fn try_dial(server: SocketAddr, path: &str) -> Result<Self, Error> {
        let (socket, _) = within(connect_async(format!("ws://{server}{path}"))).await?;
        Ok(Self { socket, heard: VecDeque::new(), closed: None, calls: 0 })
    }

    /// A client that has shaken hands.
    pub(crate) async fn connect(server: SocketAddr, path: &str) -> Self {
        let mut client = Self::dial(server, path).await;
        client.say(r#"{"protocol":"json","version":1}"#).await;
        assert_eq!(client.next().await, json!({}), "the handshake's answer");
        client
    }

    /// The client of somebody in a room.
    pub(crate) async fn join(server: SocketAddr, user: &str, room: &str) -> Self {
        let mut client = Self::connect(server, &format!("/chat?user={user}")).await;
        client.invoke("JoinRoom", json!([room])).await;
        client
    }

    /// Sends one record.
    pub(crate) async fn say(&mut self, record: &str) {
        self.send(Message::text(format!("{record}{SEPARATOR}"))).await;
    }

    /// Sends one message of the WebSocket as it is.
    pub(crate) async fn send(&mut self, message: Message) {
        within(self.socket.send(message)).await.unwrap();
    }

    /// Calls a method without waiting for its answer.
    pub(crate) async fn tell(&mut self, method: &str, arguments: Value) {
        self.say(&json!({ "type": 1, "target": method, "arguments": arguments }).to_string()).await;
    }

    /// Calls a method and answers its completion.
    pub(crate) async fn call(&mut self, method: &str, arguments: Value) -> Value {
        self.calls += 1;
        let id = self.calls.to_string();
        let call = json!({ "type": 1, "invocationId": id, "target": method, "arguments": arguments });
        self.say(&call.to_string()).await;
        self.completion(&id).await
    }

    /// The answer to a call of that id, whether it has come already or not; what else comes is kept for later.
    pub(crate) async fn completion(&mut self, id: &str) -> Value {
        let is_meant = |record: &Value| record["type"] == 3 && record["invocationId"] == id;
        if let Some(place) = self.heard.iter().position(is_meant) {
            return self.heard.remove(place).unwrap();
        }
        loop {
            let record = self.receive().await.expect("an answer, and not the end");
            if is_meant(&record) {
                return record;
            }
            self.heard.push_back(record);
        }
    }

    /// Calls a method and answers its result.
    pub(crate) async fn invoke(&mut self, method: &str, arguments: Value) -> Value {
        let completion = self.call(method, arguments).await;
        assert!(completion.get("error").is_none(), "{method}: {completion}");
        completion["result"].clone()
    }

    /// Calls a method and answers what it says is wrong.
    pub(crate) async fn refusal(&mut self, method: &str, arguments: Value) -> String {
        let completion = self.call(method, arguments).await;
        completion["error"].as_str().unwrap_or_else(|| panic!("{method} must fail: {completion}")).to_owned()
    }

    /// What comes next, but for pings.
    pub(crate) async fn next(&mut self) -> Value {
        self.next_or_end().await.expect("a record, and not the end")
    }

    /// What comes next, but for pings; `None` once the server has closed the socket.
    pub(crate) async fn next_or_end(&mut self) -> Option<Value> {
        match self.heard.pop_front() {
            Some(record) => Some(record),
            None => self.receive().await,
        }
    }

    /// The next record but for pings, which do not make it wait longer.
    async fn receive(&mut self) -> Option<Value> {
        within(self.hear()).await
    }

    async fn hear(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => {
                    let record = text.strip_suffix(SEPARATOR).expect("one whole record for each message");
                    let record: Value = serde_json::from_str(record).unwrap();
                    if record["type"] != 6 {
                        return Some(record);
                    }
                }
                Ok(Message::Close(frame)) => self.closed = frame.map(|frame| frame.code),
                Ok(other) => assert!(!other.is_binary(), "JSON is text"),
                Err(_) => return None,
            }
        }
    }

    /// Waits for the next ping; nothing else is expected.
    pub(crate) async fn ping(&mut self) {
        let message = within(self.socket.next()).await.expect("the server is there").unwrap();
        assert_eq!(message.into_text().unwrap().as_str(), "{\"type\":6}\u{1e}");
    }

    /// What a method of the client is called with next: its name, and its arguments.
    pub(crate) async fn called(&mut self) -> (String, Value) {
        let call = self.next().await;
        assert_eq!(call["type"], 1, "{call}");
        (call["target"].as_str().unwrap().to_owned(), call["arguments"].clone())
    }

    /// What is said in a room next: who, and what.
    pub(crate) async fn heard(&mut self) -> (String, String) {
        let (target, arguments) = self.called().await;
        assert_eq!(target, "addChatMessage");
        serde_json::from_value(arguments).unwrap()
    }

    /// Proves that nothing was sent to this client before now: the answer to a call comes behind it.
    pub(crate) async fn heard_nothing(&mut self) {
        let completion = self.call("Echo", json!(["quiet"])).await;
        assert_eq!(completion["result"], "quiet");
        assert!(self.heard.is_empty(), "nothing was for this client: {:?}", self.heard);
    }

    /// What the server says last: the error of its Close message and whether the client may return.
    pub(crate) async fn farewell(&mut self) -> Farewell {
        let close = self.next().await;
        assert_eq!(close["type"], 7, "{close}");
        assert_eq!(self.next_or_end().await, None, "nothing follows a Close");
        assert_eq!(self.closed, Some(CloseCode::Normal));
        Farewell {
            error: close["error"].as_str().map(ToOwned::to_owned),
            may_return: close["allowReconnect"].as_bool().unwrap_or_default(),
        }
    }

    /// Waits for the end, and answers with what code the server closed.
    pub(crate) async fn end(&mut self) -> Option<CloseCode> {
        while self.next_or_end().await.is_some() {}
        self.closed
    }

    /// Breaks the connection without a word.
    pub(crate) fn drop_socket(self) {
        drop(self.socket);
    }
}

/// The server's last word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) error: Option<String>,
    pub(crate) may_return: bool,
}
