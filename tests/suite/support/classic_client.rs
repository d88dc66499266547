//! A client of classic ASP.NET SignalR under the full control of the test.

use std::{collections::VecDeque, net::SocketAddr};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, protocol::frame::coding::CloseCode},
};

use super::{HttpResponse, StreamingResponse, http_request, http_request_with_body, with_timeout};

/// The query parameter that requests the hub `chat`.
const CONNECTION_DATA: &str = "connectionData=%5B%7B%22name%22%3A%22chat%22%7D%5D";

/// `text` percent-encoded for a query or a form.
pub(crate) fn percent_encoded(text: &str) -> String {
    let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes()
        .map(|byte| if is_unreserved(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A connection that is negotiated and has no channel.
#[derive(Clone, Debug)]
pub(crate) struct NegotiatedConnection {
    pub(crate) server: SocketAddr,
    /// The path of the endpoint, from the negotiate answer.
    pub(crate) url: String,
    pub(crate) id: String,
    pub(crate) token: String,
    /// Additional parameters of every request, such as `&user=ann`.
    pub(crate) query: String,
}

impl NegotiatedConnection {
    pub(crate) async fn negotiate(server: SocketAddr, query: &str) -> Self {
        Self::negotiate_below("", server, query).await
    }

    /// Negotiates at an endpoint below a path prefix.
    pub(crate) async fn negotiate_below(prefix: &str, server: SocketAddr, query: &str) -> Self {
        let parameters = format!("clientProtocol=2.1&{CONNECTION_DATA}{query}");
        let response = http_request(server, &format!("GET {prefix}/signalr/negotiate?{parameters}"), "").await;
        assert_eq!(response.status, 200, "{}", response.body);
        let negotiation = response.json();
        let text = |name: &str| negotiation[name].as_str().unwrap().to_owned();
        Self {
            server,
            url: text("Url"),
            id: text("ConnectionId"),
            token: text("ConnectionToken"),
            query: query.to_owned(),
        }
    }

    /// The path and query of a request, in the form that 2.4 clients use.
    pub(crate) fn path(&self, operation: &str, transport: &str, more: &str) -> String {
        let Self { url, token, query, .. } = self;
        let parameters = format!("clientProtocol=2.1&{CONNECTION_DATA}&connectionToken={token}");
        format!("{url}/{operation}?transport={transport}&{parameters}{query}{more}")
    }

    /// Sends a request that opens no channel, such as `start` or `abort`.
    pub(crate) async fn request(&self, operation: &str) -> HttpResponse {
        http_request(self.server, &format!("GET {}", self.path(operation, "serverSentEvents", "")), "").await
    }

    /// Sends `data` as a message of the client.
    pub(crate) async fn post(&self, data: &str) -> HttpResponse {
        let path = self.path("send", "serverSentEvents", "");
        http_request_with_body(self.server, &format!("POST {path}"), "", &format!("data={}", percent_encoded(data)))
            .await
    }

    /// Opens an event stream and reads its first event.
    pub(crate) async fn open_event_stream(&self, operation: &str, more: &str) -> StreamingResponse {
        let path = self.path(operation, "serverSentEvents", more);
        let mut stream = StreamingResponse::start(self.server, &format!("GET {path}"), "").await;
        assert_eq!(stream.head.status, 200, "{path}");
        assert_eq!(stream.read_until("\n\n").await.as_deref(), Some("data: initialized"));
        stream
    }

    /// Sends a poll and waits for the head of its response.
    pub(crate) async fn start_poll(&self, operation: &str, more: &str) -> StreamingResponse {
        let path = self.path(operation, "longPolling", more);
        let poll = StreamingResponse::start(self.server, &format!("POST {path}"), "").await;
        assert_eq!(poll.head.status, 200, "{path}");
        poll
    }
}

type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

enum Channel {
    WebSocket(Box<WebSocket>),
    EventStream(Box<StreamingResponse>),
    /// Repeated polls, and the pending one.
    LongPolling(Option<Box<StreamingResponse>>),
}

/// A client with a channel. It keeps its cursor and its groups token, as real clients do.
pub(crate) struct ClassicClient {
    pub(crate) connection: NegotiatedConnection,
    transport: &'static str,
    channel: Channel,
    pub(crate) cursor: Option<String>,
    pub(crate) groups_token: Option<String>,
    /// Frames that arrived while the client waited for another one.
    received: VecDeque<Value>,
    /// The code of the server's WebSocket close frame.
    close_code: Option<CloseCode>,
    invocations: u32,
}

pub(crate) const STREAMING_TRANSPORTS: [&str; 2] = ["webSockets", "serverSentEvents"];
pub(crate) const TRANSPORTS: [&str; 3] = ["webSockets", "serverSentEvents", "longPolling"];

impl ClassicClient {
    /// Negotiates, opens a channel and starts.
    pub(crate) async fn connect(server: SocketAddr, transport: &'static str, query: &str) -> Self {
        Self::start(NegotiatedConnection::negotiate(server, query).await, transport).await
    }

    /// Opens a channel and starts.
    pub(crate) async fn start(connection: NegotiatedConnection, transport: &'static str) -> Self {
        let mut client = Self::open(connection, transport).await;
        let first = client.next_frame().await.expect("an initial frame");
        assert_eq!(first["S"], 1, "{first}");
        let started = client.connection.request("start").await;
        assert_eq!((started.status, &*started.body), (200, r#"{"Response":"started"}"#));
        client
    }

    /// Connects as `user`, joins `room` and waits for the groups token.
    pub(crate) async fn connect_and_join(server: SocketAddr, transport: &'static str, user: &str, room: &str) -> Self {
        let mut client = Self::connect(server, transport, &format!("&user={user}")).await;
        client.invoke("JoinRoom", json!([room])).await;
        while client.groups_token.is_none() {
            client.buffer_next_frame().await;
        }
        client
    }

    /// Opens a channel and reads nothing from it.
    pub(crate) async fn open(connection: NegotiatedConnection, transport: &'static str) -> Self {
        let mut client = Self {
            connection,
            transport,
            channel: Channel::LongPolling(None),
            cursor: None,
            groups_token: None,
            received: VecDeque::new(),
            close_code: None,
            invocations: 0,
        };
        client.attach("connect").await;
        client
    }

    /// Opens a new channel and drops the previous one.
    pub(crate) async fn reconnect(&mut self) {
        self.attach("reconnect").await;
    }

    async fn attach(&mut self, operation: &str) {
        let position = self.position_query();
        self.close_code = None;
        self.channel = match self.transport {
            "webSockets" => Channel::WebSocket(Box::new(self.open_socket(operation, &position).await.unwrap())),
            "serverSentEvents" => {
                Channel::EventStream(Box::new(self.connection.open_event_stream(operation, &position).await))
            }
            _ => Channel::LongPolling(Some(Box::new(self.connection.start_poll(operation, &position).await))),
        };
    }

    async fn open_socket(&self, operation: &str, more: &str) -> Result<WebSocket, Error> {
        let path = self.connection.path(operation, "webSockets", more);
        with_timeout(connect_async(format!("ws://{}{path}", self.connection.server))).await.map(|(socket, _)| socket)
    }

    /// The query parameters that tell the server the client's cursor and groups.
    fn position_query(&self) -> String {
        let parameter = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("&{name}={}", percent_encoded(value))).unwrap_or_default()
        };
        parameter("messageId", &self.cursor) + &parameter("groupsToken", &self.groups_token)
    }

    /// The next frame except keep-alives, or `None` once the channel has ended.
    pub(crate) async fn next_frame(&mut self) -> Option<Value> {
        if let Some(frame) = self.received.pop_front() {
            return Some(frame);
        }
        with_timeout(async {
            loop {
                let frame = self.receive().await?;
                self.record_position(&frame);
                if frame != json!({}) {
                    return Some(frame);
                }
            }
        })
        .await
    }

    async fn buffer_next_frame(&mut self) {
        let mut buffered = std::mem::take(&mut self.received);
        buffered.push_back(self.next_frame().await.expect("a frame before the end"));
        self.received = buffered;
    }

    fn record_position(&mut self, frame: &Value) {
        let text = |name: &str| frame[name].as_str().map(ToOwned::to_owned);
        self.cursor = text("C").or(self.cursor.take());
        self.groups_token = text("G").or(self.groups_token.take());
    }

    async fn receive(&mut self) -> Option<Value> {
        let text = match &mut self.channel {
            Channel::WebSocket(socket) => match with_timeout(socket.next()).await? {
                Ok(Message::Close(frame)) => {
                    self.close_code = frame.map(|frame| frame.code);
                    return None;
                }
                Ok(message) => message.into_text().unwrap().to_string(),
                Err(_) => return None,
            },
            Channel::EventStream(stream) => stream.read_until("\n\n").await?.strip_prefix("data: ").unwrap().to_owned(),
            Channel::LongPolling(pending) => match pending.take() {
                Some(poll) => poll.read_to_end().await,
                None => self.connection.start_poll("poll", &self.position_query()).await.read_to_end().await,
            },
        };
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}")))
    }

    /// The hub, method and arguments of the server's next invocation of this client.
    pub(crate) async fn next_invocation(&mut self) -> (String, String, Value) {
        with_timeout(self.receive_invocation()).await
    }

    async fn receive_invocation(&mut self) -> (String, String, Value) {
        loop {
            let mut frame = self.next_frame().await.expect("an invocation before the end");
            let invocations = frame["M"].as_array_mut().filter(|invocations| !invocations.is_empty());
            let Some(invocation) = invocations.map(|invocations| invocations.remove(0)) else { continue };
            self.received.push_front(frame);
            let name = |member: &str| invocation[member].as_str().unwrap().to_owned();
            return (name("H"), name("M"), invocation["A"].clone());
        }
    }

    /// The sender and text of the next `addChatMessage` invocation, which has no further argument.
    pub(crate) async fn next_chat_message(&mut self) -> (String, String) {
        let (_, method, arguments) = self.next_invocation().await;
        assert_eq!(method, "addChatMessage");
        serde_json::from_value(arguments).unwrap()
    }

    /// Invokes a method, which must succeed, over the channel or its `send` request, and returns its result.
    pub(crate) async fn invoke(&mut self, method: &str, arguments: Value) -> Value {
        let response = self.invoke_raw(method, arguments).await;
        assert!(response.get("E").is_none(), "{method}: {response}");
        response["R"].clone()
    }

    /// Invokes a method and returns the whole response.
    pub(crate) async fn invoke_raw(&mut self, method: &str, arguments: Value) -> Value {
        self.invocations += 1;
        let id = self.invocations.to_string();
        let invocation = json!({ "H": "chat", "M": method, "A": arguments, "I": id }).to_string();
        if !matches!(self.channel, Channel::WebSocket(_)) {
            let response = self.connection.post(&invocation).await;
            assert_eq!(response.status, 200, "{}", response.body);
            return response.json();
        }
        self.send_message(Message::text(invocation)).await;
        let mut buffered = std::mem::take(&mut self.received);
        loop {
            let frame = self.next_frame().await.expect("a response before the end");
            if frame["I"] == *id {
                self.received = buffered;
                return frame;
            }
            buffered.push_back(frame);
        }
    }

    /// Sends one WebSocket message unchanged.
    pub(crate) async fn send_message(&mut self, message: Message) {
        let Channel::WebSocket(socket) = &mut self.channel else { panic!("the channel is not a WebSocket") };
        with_timeout(socket.send(message)).await.unwrap();
    }

    /// Waits for the end of the channel, and returns the code of the server's close frame.
    pub(crate) async fn wait_for_close(&mut self) -> Option<CloseCode> {
        with_timeout(async { while self.next_frame().await.is_some() {} }).await;
        self.close_code
    }

    /// Drops the channel without a close frame.
    pub(crate) fn drop_channel(&mut self) {
        self.channel = Channel::LongPolling(None);
    }
}
