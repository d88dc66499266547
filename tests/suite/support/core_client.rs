//! A client of ASP.NET Core SignalR over a WebSocket, under the full control of the test.

use std::{collections::VecDeque, net::SocketAddr};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async, connect_async_tls_with_config,
    tungstenite::{ClientRequestBuilder, Error, Message, protocol::frame::coding::CloseCode},
};

use super::{Certificate, with_timeout};

pub(crate) const RECORD_SEPARATOR: char = '\u{1e}';

/// See the module's documentation.
pub(crate) struct CoreClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Records that arrived while the client waited for another one.
    received: VecDeque<Value>,
    /// The code of the server's WebSocket close frame.
    close_code: Option<CloseCode>,
    /// The error with which the socket has ended, if it has not ended in order.
    end_error: Option<Error>,
    invocations: u32,
}

impl CoreClient {
    /// Opens a WebSocket and sends nothing.
    pub(crate) async fn open(server: SocketAddr, path: &str) -> Self {
        Self::try_open(server, path).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) async fn try_open(server: SocketAddr, path: &str) -> Result<Self, Error> {
        let (socket, _) = with_timeout(connect_async(format!("ws://{server}{path}"))).await?;
        Ok(Self::over(socket))
    }

    fn over(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self { socket, received: VecDeque::new(), close_code: None, end_error: None, invocations: 0 }
    }

    /// As [`CoreClient::connect`], over TLS with a server that uses `certificate`.
    pub(crate) async fn connect_over_tls(server: SocketAddr, path: &str, certificate: &Certificate) -> Self {
        let url = format!("wss://{server}{path}");
        let opened = connect_async_tls_with_config(url, None, false, Some(certificate.connector()));
        Self::over(with_timeout(opened).await.unwrap().0).shake_hands().await
    }

    /// Opens a WebSocket and completes the handshake.
    pub(crate) async fn connect(server: SocketAddr, path: &str) -> Self {
        Self::open(server, path).await.shake_hands().await
    }

    /// Like [`CoreClient::connect`], from another address of this machine and with more headers.
    pub(crate) async fn connect_from(source: &str, server: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        let socket = MaybeTlsStream::Plain(with_timeout(socket.connect(server)).await.unwrap());
        let uri = format!("ws://{server}{path}").parse().unwrap();
        let request = headers
            .iter()
            .fold(ClientRequestBuilder::new(uri), |request, (name, value)| request.with_header(*name, *value));
        let (socket, _) = with_timeout(client_async(request, socket)).await.unwrap();
        Self::over(socket).shake_hands().await
    }

    async fn shake_hands(mut self) -> Self {
        self.send_record(r#"{"protocol":"json","version":1}"#).await;
        assert_eq!(self.next_record().await, json!({}), "the handshake response");
        self
    }

    /// Connects to the hub `chat` as `user` and joins `room`.
    pub(crate) async fn connect_and_join(server: SocketAddr, user: &str, room: &str) -> Self {
        let mut client = Self::connect(server, &format!("/chat?user={user}")).await;
        client.invoke("JoinRoom", json!([room])).await;
        client
    }

    /// Sends one record, followed by the record separator.
    pub(crate) async fn send_record(&mut self, record: &str) {
        self.send_message(Message::text(format!("{record}{RECORD_SEPARATOR}"))).await;
    }

    /// Sends one WebSocket message unchanged.
    pub(crate) async fn send_message(&mut self, message: Message) {
        with_timeout(self.socket.send(message)).await.unwrap();
    }

    /// Sends an invocation without an id, which the server does not answer.
    pub(crate) async fn invoke_nonblocking(&mut self, method: &str, arguments: Value) {
        self.send_record(&json!({ "type": 1, "target": method, "arguments": arguments }).to_string()).await;
    }

    /// Invokes a method and returns the whole completion.
    pub(crate) async fn invoke_raw(&mut self, method: &str, arguments: Value) -> Value {
        self.invocations += 1;
        let id = self.invocations.to_string();
        let invocation = json!({ "type": 1, "invocationId": id, "target": method, "arguments": arguments });
        self.send_record(&invocation.to_string()).await;
        self.completion(&id).await
    }

    /// Invokes a method and returns the whole completion, or `None` if the connection ends first.
    pub(crate) async fn try_invoke(&mut self, method: &str, arguments: Value) -> Option<Value> {
        self.invocations += 1;
        let id = self.invocations.to_string();
        let invocation = json!({ "type": 1, "invocationId": id, "target": method, "arguments": arguments });
        let record = Message::text(format!("{invocation}{RECORD_SEPARATOR}"));
        with_timeout(self.socket.send(record)).await.ok()?;
        loop {
            let record = self.receive().await?;
            if record["type"] == 3 && record["invocationId"] == *id {
                return Some(record);
            }
            self.received.push_back(record);
        }
    }

    /// The completion of invocation `id`, whether or not it has arrived already. Other records are kept for later.
    pub(crate) async fn completion(&mut self, id: &str) -> Value {
        let is_completion = |record: &Value| record["type"] == 3 && record["invocationId"] == id;
        if let Some(index) = self.received.iter().position(is_completion) {
            return self.received.remove(index).unwrap();
        }
        loop {
            let record = self.receive().await.expect("a completion before the end");
            if is_completion(&record) {
                return record;
            }
            self.received.push_back(record);
        }
    }

    /// Invokes a method, which must succeed, and returns its result.
    pub(crate) async fn invoke(&mut self, method: &str, arguments: Value) -> Value {
        let completion = self.invoke_raw(method, arguments).await;
        assert!(completion.get("error").is_none(), "{method}: {completion}");
        completion["result"].clone()
    }

    /// Invokes a method, which must fail, and returns the error text.
    pub(crate) async fn invoke_error(&mut self, method: &str, arguments: Value) -> String {
        let completion = self.invoke_raw(method, arguments).await;
        completion["error"].as_str().unwrap_or_else(|| panic!("{method} must fail: {completion}")).to_owned()
    }

    /// The next record except pings and acknowledgements.
    pub(crate) async fn next_record(&mut self) -> Value {
        self.next_record_or_end().await.expect("a record before the end")
    }

    /// The next record except pings and acknowledgements, or `None` once the server has closed the socket.
    pub(crate) async fn next_record_or_end(&mut self) -> Option<Value> {
        match self.received.pop_front() {
            Some(record) => Some(record),
            None => self.receive().await,
        }
    }

    /// Reads the next record except pings and acknowledgements from the socket. They do not extend the timeout.
    async fn receive(&mut self) -> Option<Value> {
        with_timeout(self.receive_skipping_pings()).await
    }

    async fn receive_skipping_pings(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => {
                    let record = text.strip_suffix(RECORD_SEPARATOR).expect("one complete record in each message");
                    let record: Value = serde_json::from_str(record).unwrap();
                    if record["type"] != 6 && record["type"] != 8 {
                        return Some(record);
                    }
                }
                Ok(Message::Close(frame)) => self.close_code = frame.map(|frame| frame.code),
                Ok(other) => assert!(!other.is_binary(), "JSON is text"),
                Err(error) => {
                    self.end_error = Some(error);
                    return None;
                }
            }
        }
    }

    /// The bytes of the next binary message.
    pub(crate) async fn next_binary(&mut self) -> Vec<u8> {
        let message = with_timeout(self.socket.next()).await.expect("an open socket").unwrap();
        assert!(message.is_binary(), "{message:?}");
        message.into_data().into()
    }

    /// Waits for the next message, which must be a ping.
    pub(crate) async fn expect_ping(&mut self) {
        let message = with_timeout(self.socket.next()).await.expect("an open socket").unwrap();
        assert_eq!(message.into_text().unwrap().as_str(), "{\"type\":6}\u{1e}");
    }

    /// The method and arguments of the server's next invocation of this client.
    pub(crate) async fn next_invocation(&mut self) -> (String, Value) {
        let invocation = self.next_record().await;
        assert_eq!(invocation["type"], 1, "{invocation}");
        (invocation["target"].as_str().unwrap().to_owned(), invocation["arguments"].clone())
    }

    /// The sender and text of the next `addChatMessage` invocation, which has no further argument.
    pub(crate) async fn next_chat_message(&mut self) -> (String, String) {
        let (target, arguments) = self.next_invocation().await;
        assert_eq!(target, "addChatMessage");
        serde_json::from_value(arguments).unwrap()
    }

    /// Asserts that the server has sent nothing to this client: the completion of a new call arrives first.
    pub(crate) async fn expect_no_message(&mut self) {
        let completion = self.invoke_raw("Echo", json!(["quiet"])).await;
        assert_eq!(completion["result"], "quiet");
        assert!(self.received.is_empty(), "unexpected messages: {:?}", self.received);
    }

    /// Waits for the server's Close message and for the end of the connection after it.
    pub(crate) async fn expect_close(&mut self) -> CloseMessage {
        let close = self.next_record().await;
        assert_eq!(close["type"], 7, "{close}");
        assert_eq!(self.next_record_or_end().await, None, "nothing follows a Close message");
        assert_eq!(self.close_code, Some(CloseCode::Normal));
        CloseMessage {
            error: close["error"].as_str().map(ToOwned::to_owned),
            allow_reconnect: close["allowReconnect"].as_bool().unwrap_or_default(),
        }
    }

    /// Waits for the end of the connection, and returns the code of the server's close frame.
    pub(crate) async fn wait_for_close(&mut self) -> Option<CloseCode> {
        while self.next_record_or_end().await.is_some() {}
        self.close_code
    }

    /// The error with which the socket has ended, if it has not ended in order.
    pub(crate) fn end_error(&self) -> Option<&Error> {
        self.end_error.as_ref()
    }

    /// Drops the connection without a close frame.
    pub(crate) fn drop_socket(self) {
        drop(self.socket);
    }
}

/// A Close message of the hub protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CloseMessage {
    pub(crate) error: Option<String>,
    pub(crate) allow_reconnect: bool,
}
