//! A minimal client for this example: JSON over a WebSocket, without negotiation.

use actix_web::rt::net::TcpStream;
use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Terminates each message.
const SEPARATOR: char = '\u{1e}';

/// A connection to a hub, with the latest rejoin token that it received.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    token: String,
}

impl Client {
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let (socket, _) = connect_async(url).await?;
        let mut client = Self { socket, token: String::new() };
        client.write(&json!({ "protocol": "json", "version": 1 })).await?;
        match client.read().await? {
            response if response == json!({}) => Ok(client),
            response => bail!("the server rejected the handshake: {response}"),
        }
    }

    /// Calls a method and returns its result. Other messages that arrive before it are skipped, except that rejoin
    /// tokens are kept: a token that results from the call arrives before its result.
    pub(crate) async fn call(&mut self, method: &str, arguments: Value) -> anyhow::Result<Value> {
        self.write(&json!({ "type": 1, "invocationId": "1", "target": method, "arguments": arguments })).await?;
        Ok(self.read_until(|message| message["type"] == 3).await?["result"].take())
    }

    /// Calls a method without expecting a completion.
    pub(crate) async fn send(&mut self, method: &str, arguments: Value) -> anyhow::Result<()> {
        self.write(&json!({ "type": 1, "target": method, "arguments": arguments })).await
    }

    /// The latest token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Waits for the next chat message and returns its arguments.
    pub(crate) async fn next_message(&mut self) -> anyhow::Result<String> {
        let message = self.read_until(|message| message["target"] == "addChatMessage").await?;
        Ok(message["arguments"].to_string())
    }

    async fn read_until(&mut self, matches: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        loop {
            let message = self.read().await?;
            if message["target"] == "hubcast:rejoinToken" {
                message["arguments"][0].as_str().context("a token is a string")?.clone_into(&mut self.token);
            }
            if matches(&message) {
                return Ok(message);
            }
        }
    }

    async fn write(&mut self, message: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(format!("{message}{SEPARATOR}"))).await?)
    }

    async fn read(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Message::Text(text) = self.socket.next().await.context("the server closed the connection")?? {
                return Ok(serde_json::from_str(text.trim_end_matches(SEPARATOR))?);
            }
        }
    }
}
