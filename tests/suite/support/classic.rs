//! A client of the older generation that says exactly what it is told to.

use std::{collections::VecDeque, net::SocketAddr};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, protocol::frame::coding::CloseCode},
};

use super::{Download, HttpResponse, ask, ask_with, within};

/// What listens to the hub `chat`.
const CHAT: &str = "connectionData=%5B%7B%22name%22%3A%22chat%22%7D%5D";

/// A text as a value of a query or a form.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What a client has once it has negotiated: a connection, and nothing open on it.
#[derive(Clone, Debug)]
pub(crate) struct ClassicConnection {
    pub(crate) server: SocketAddr,
    pub(crate) id: String,
    pub(crate) token: String,
    /// What every request says besides, `&user=ann` for one.
    pub(crate) query: String,
}

impl ClassicConnection {
    pub(crate) async fn negotiate(server: SocketAddr, query: &str) -> Self {
        let answer = ask(server, &format!("GET /signalr/negotiate?clientProtocol=2.1&{CHAT}{query}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let offer = answer.json();
        let text = |name: &str| offer[name].as_str().unwrap().to_owned();
        Self { server, id: text("ConnectionId"), token: text("ConnectionToken"), query: query.to_owned() }
    }

    /// The path of a request, as 2.4 clients write it.
    pub(crate) fn path(&self, operation: &str, transport: &str, more: &str) -> String {
        let Self { token, query, .. } = self;
        let fixed = format!("clientProtocol=2.1&{CHAT}&connectionToken={token}");
        format!("/signalr/{operation}?transport={transport}&{fixed}{query}{more}")
    }

    /// Asks for something beside a channel.
    pub(crate) async fn ask(&self, operation: &str) -> HttpResponse {
        ask(self.server, &format!("GET {}", self.path(operation, "serverSentEvents", "")), "").await
    }

    /// Brings a text as a client's message.
    pub(crate) async fn post(&self, data: &str) -> HttpResponse {
        let path = self.path("send", "serverSentEvents", "");
        ask_with(self.server, &format!("POST {path}"), "", &format!("data={}", escaped(data))).await
    }

    /// Opens an event stream and hears its first word.
    pub(crate) async fn listen(&self, operation: &str, more: &str) -> Download {
        let path = self.path(operation, "serverSentEvents", more);
        let mut stream = Download::begin(self.server, &format!("GET {path}"), "").await;
        assert_eq!(stream.head.status, 200, "{path}");
        assert_eq!(stream.until("\n\n").await.as_deref(), Some("data: initialized"));
        stream
    }

    /// A poll that waits for its answer.
    pub(crate) async fn begin_poll(&self, operation: &str, more: &str) -> Download {
        let path = self.path(operation, "longPolling", more);
        let poll = Download::begin(self.server, &format!("POST {path}"), "").await;
        assert_eq!(poll.head.status, 200, "{path}");
        poll
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

enum Channel {
    Socket(Box<Socket>),
    Events(Box<Download>),
    /// One poll after the other; the one that waits for its answer.
    Polls(Option<Box<Download>>),
}

/// A client with a channel, which it reads as it is told to, keeping what clients keep.
pub(crate) struct Classic {
    pub(crate) handle: ClassicConnection,
    transport: &'static str,
    channel: Channel,
    pub(crate) cursor: Option<String>,
    pub(crate) groups: Option<String>,
    heard: VecDeque<Value>,
    /// With what the server closed the socket.
    closed: Option<CloseCode>,
    calls: u32,
}

pub(crate) const STREAMS: [&str; 2] = ["webSockets", "serverSentEvents"];
pub(crate) const TRANSPORTS: [&str; 3] = ["webSockets", "serverSentEvents", "longPolling"];

impl Classic {
    /// A client that has started.
    pub(crate) async fn connect(server: SocketAddr, transport: &'static str, query: &str) -> Self {
        let mut client = Self::open(ClassicConnection::negotiate(server, query).await, transport).await;
        let first = client.frame().await.expect("a channel begins with a frame");
        assert_eq!(first["S"], 1, "{first}");
        let started = client.handle.ask("start").await;
        assert_eq!((started.status, &*started.body), (200, r#"{"Response":"started"}"#));
        client
    }

    /// A client in a room.
    pub(crate) async fn join(server: SocketAddr, transport: &'static str, user: &str, room: &str) -> Self {
        let mut client = Self::connect(server, transport, &format!("&user={user}")).await;
        client.invoke("JoinRoom", json!([room])).await;
        while client.groups.is_none() {
            client.keep_frame().await;
        }
        client
    }

    /// A client that has a channel, and has heard nothing on it.
    pub(crate) async fn open(handle: ClassicConnection, transport: &'static str) -> Self {
        let (heard, closed) = (VecDeque::new(), None);
        let mut client = Self {
            handle,
            transport,
            channel: Channel::Polls(None),
            cursor: None,
            groups: None,
            heard,
            closed,
            calls: 0,
        };
        client.attach("connect").await;
        client
    }

    /// Opens another channel and lets go of the last one.
    pub(crate) async fn return_(&mut self) {
        self.attach("reconnect").await;
    }

    async fn attach(&mut self, operation: &str) {
        let more = self.place();
        self.channel = match self.transport {
            "webSockets" => Channel::Socket(Box::new(self.dial(operation, &more).await.unwrap())),
            "serverSentEvents" => Channel::Events(Box::new(self.handle.listen(operation, &more).await)),
            _ => Channel::Polls(Some(Box::new(self.handle.begin_poll(operation, &more).await))),
        };
    }

    async fn dial(&self, operation: &str, more: &str) -> Result<Socket, Error> {
        let path = self.handle.path(operation, "webSockets", more);
        within(connect_async(format!("ws://{}{path}", self.handle.server))).await.map(|(socket, _)| socket)
    }

    /// Where the client is, as it tells a server.
    fn place(&self) -> String {
        let member = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("&{name}={}", escaped(value))).unwrap_or_default()
        };
        member("messageId", &self.cursor) + &member("groupsToken", &self.groups)
    }

    /// The next frame, but for keep-alives; `None` once the channel has ended.
    pub(crate) async fn frame(&mut self) -> Option<Value> {
        if let Some(frame) = self.heard.pop_front() {
            return Some(frame);
        }
        within(async {
            loop {
                let frame = self.receive().await?;
                self.take(&frame);
                if frame != json!({}) {
                    return Some(frame);
                }
            }
        })
        .await
    }

    async fn keep_frame(&mut self) {
        let mut kept = std::mem::take(&mut self.heard);
        kept.push_back(self.frame().await.expect("a frame, and not the end"));
        self.heard = kept;
    }

    fn take(&mut self, frame: &Value) {
        let text = |name: &str| frame[name].as_str().map(ToOwned::to_owned);
        self.cursor = text("C").or(self.cursor.take());
        self.groups = text("G").or(self.groups.take());
    }

    async fn receive(&mut self) -> Option<Value> {
        let text = match &mut self.channel {
            Channel::Socket(socket) => match within(socket.next()).await? {
                Ok(Message::Close(frame)) => {
                    self.closed = frame.map(|frame| frame.code);
                    return None;
                }
                Ok(message) => message.into_text().unwrap().to_string(),
                Err(_) => return None,
            },
            Channel::Events(stream) => stream.until("\n\n").await?.strip_prefix("data: ").unwrap().to_owned(),
            Channel::Polls(waiting) => match waiting.take() {
                Some(poll) => poll.rest().await,
                None => self.handle.begin_poll("poll", &self.place()).await.rest().await,
            },
        };
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}")))
    }

    /// What methods of the client are called with: each time, hub, method and arguments.
    pub(crate) async fn called(&mut self) -> (String, String, Value) {
        within(self.next_call()).await
    }

    async fn next_call(&mut self) -> (String, String, Value) {
        loop {
            let mut frame = self.frame().await.expect("a call, and not the end");
            let Some(call) = frame["M"].as_array_mut().filter(|calls| !calls.is_empty()).map(|calls| calls.remove(0))
            else {
                continue;
            };
            self.heard.push_front(frame);
            let name = |member: &str| call[member].as_str().unwrap().to_owned();
            return (name("H"), name("M"), call["A"].clone());
        }
    }

    /// What is said in a room next: who, and what.
    pub(crate) async fn heard(&mut self) -> (String, String) {
        let (_, method, arguments) = self.called().await;
        assert_eq!(method, "addChatMessage");
        serde_json::from_value(arguments).unwrap()
    }

    /// Calls a method, the way its transport calls, and answers its result.
    pub(crate) async fn invoke(&mut self, method: &str, arguments: Value) -> Value {
        let answer = self.call(method, arguments).await;
        assert!(answer.get("E").is_none(), "{method}: {answer}");
        answer["R"].clone()
    }

    /// Calls a method and answers all of its answer.
    pub(crate) async fn call(&mut self, method: &str, arguments: Value) -> Value {
        self.calls += 1;
        let id = self.calls.to_string();
        let call = json!({ "H": "chat", "M": method, "A": arguments, "I": id }).to_string();
        if !matches!(self.channel, Channel::Socket(_)) {
            let answer = self.handle.post(&call).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            return answer.json();
        }
        self.say(Message::text(call)).await;
        let mut kept = std::mem::take(&mut self.heard);
        loop {
            let frame = self.frame().await.expect("an answer, and not the end");
            if frame["I"] == *id {
                self.heard = kept;
                return frame;
            }
            kept.push_back(frame);
        }
    }

    /// Sends one message of the WebSocket as it is.
    pub(crate) async fn say(&mut self, message: Message) {
        let Channel::Socket(socket) = &mut self.channel else { panic!("there is no socket") };
        within(socket.send(message)).await.unwrap();
    }

    /// Waits for the end of the channel, and answers with what code the server closed.
    pub(crate) async fn end(&mut self) -> Option<CloseCode> {
        within(async { while self.frame().await.is_some() {} }).await;
        self.closed
    }

    /// Breaks the channel without a word.
    pub(crate) fn drop_channel(&mut self) {
        self.channel = Channel::Polls(None);
    }
}
