//! As much of a client as the example needs: JSON over a WebSocket, without negotiation.

use actix_web::rt::net::TcpStream;
use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Ends each message.
const SEPARATOR: char = '\u{1e}';

/// A connection to a hub, and the latest token that it was given.
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
            greeting if greeting == json!({}) => Ok(client),
            refusal => bail!("the server refuses: {refusal}"),
        }
    }

    /// Calls a method and answers its result. What comes before it is not for this example, but for tokens: one that
    /// the call brings about is here when its result is.
    pub(crate) async fn call(&mut self, method: &str, arguments: Value) -> anyhow::Result<Value> {
        self.write(&json!({ "type": 1, "invocationId": "1", "target": method, "arguments": arguments })).await?;
        Ok(self.until(|message| message["type"] == 3).await?["result"].take())
    }

    /// Calls a method, and wants no answer.
    pub(crate) async fn tell(&mut self, method: &str, arguments: Value) -> anyhow::Result<()> {
        self.write(&json!({ "type": 1, "target": method, "arguments": arguments })).await
    }

    /// The latest token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// What somebody says.
    pub(crate) async fn heard(&mut self) -> anyhow::Result<String> {
        let message = self.until(|message| message["target"] == "addChatMessage").await?;
        Ok(message["arguments"].to_string())
    }

    async fn until(&mut self, is_wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        loop {
            let message = self.read().await?;
            if message["target"] == "hubcast:rejoinToken" {
                message["arguments"][0].as_str().context("a token is a text")?.clone_into(&mut self.token);
            }
            if is_wanted(&message) {
                return Ok(message);
            }
        }
    }

    async fn write(&mut self, message: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(format!("{message}{SEPARATOR}"))).await?)
    }

    async fn read(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Message::Text(text) = self.socket.next().await.context("the server has hung up")?? {
                return Ok(serde_json::from_str(text.trim_end_matches(SEPARATOR))?);
            }
        }
    }
}
