//! The HTTP requests of ASP.NET Core SignalR clients without a WebSocket.

use std::net::SocketAddr;

use super::{HttpResponse, Server, StreamingResponse, http_request, http_request_with_body};

/// Negotiates at `/chat` and returns the connection token.
pub(crate) async fn negotiate_token(server: &Server) -> String {
    token_of(server.address, "/chat", "").await
}

async fn token_of(server: SocketAddr, path: &str, query: &str) -> String {
    let request = format!("POST {path}/negotiate?negotiateVersion=1{query}");
    let negotiation = http_request(server, &request, "").await.json();
    negotiation["connectionToken"].as_str().unwrap().to_owned()
}

/// A negotiated connection. Each request has the query of the negotiation.
#[derive(Clone, Debug)]
pub(crate) struct NegotiatedCore {
    server: SocketAddr,
    path: String,
}

impl NegotiatedCore {
    /// `query` is empty or begins with `&`.
    pub(crate) async fn new(server: &Server, path: &str, query: &str) -> Self {
        let token = token_of(server.address, path, query).await;
        Self { server: server.address, path: format!("{path}?id={token}{query}") }
    }

    /// The path and query of a request.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Sends a request without a body.
    pub(crate) async fn request(&self, method: &str, headers: &str) -> HttpResponse {
        http_request(self.server, &format!("{method} {}", self.path), headers).await
    }

    pub(crate) async fn post(&self, body: &str) -> HttpResponse {
        http_request_with_body(self.server, &format!("POST {}", self.path), "", body).await
    }

    /// Posts records and expects that they are accepted.
    pub(crate) async fn send(&self, records: &[&str]) {
        let body: String = records.iter().map(|record| format!("{record}\u{1e}")).collect();
        let response = self.post(&body).await;
        assert_eq!((response.status, &*response.body), (200, ""));
    }

    pub(crate) async fn poll(&self) -> HttpResponse {
        self.request("GET", "").await
    }

    /// Starts a poll without waiting for its response.
    pub(crate) fn start_poll(&self) -> tokio::task::JoinHandle<HttpResponse> {
        let this = self.clone();
        tokio::spawn(async move { this.poll().await })
    }

    pub(crate) async fn open_event_stream(&self) -> StreamingResponse {
        let request = format!("GET {}", self.path);
        StreamingResponse::start_with_headers(self.server, &request, "Accept: text/event-stream\r\n", "").await
    }

    /// A client that polls and whose handshake is done.
    pub(crate) async fn polling(server: &Server, path: &str, query: &str) -> Self {
        let client = Self::new(server, path, query).await;
        assert_eq!(client.poll().await.status, 200);
        client.send(&[r#"{"protocol":"json","version":1}"#]).await;
        assert_eq!(client.poll().await.body, "{}\u{1e}");
        client
    }

    /// A client with an event stream whose handshake is done.
    pub(crate) async fn streaming(server: &Server, query: &str) -> (Self, StreamingResponse) {
        let client = Self::new(server, "/chat", query).await;
        let mut stream = client.open_event_stream().await;
        client.send(&[r#"{"protocol":"json","version":1}"#]).await;
        assert_eq!(stream.read_until("\r\n\r\n").await.as_deref(), Some(":\r\ndata: {}\u{1e}"));
        (client, stream)
    }
}
