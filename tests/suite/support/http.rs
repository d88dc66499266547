//! A plain HTTP/1.1 client that opens one connection for each request.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::with_timeout;

/// The headers that ask for a WebSocket.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The response to a request.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl HttpResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The reason phrase of the status line.
    pub(crate) fn reason(&self) -> &str {
        self.head.lines().next().and_then(|line| line.splitn(3, ' ').nth(2)).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends a request with an empty body. `request` is `METHOD /path`, for HTTP/1.1 unless it ends in ` HTTP/1.0`. Each of
/// the `headers` ends in a line break.
pub(crate) async fn http_request(server: SocketAddr, request: &str, headers: &str) -> HttpResponse {
    http_request_with_body(server, request, headers, "").await
}

/// Like [`http_request`], with a body.
pub(crate) async fn http_request_with_body(
    server: SocketAddr,
    request: &str,
    headers: &str,
    body: &str,
) -> HttpResponse {
    let mut socket = send_request(server, request, headers, body).await;
    let mut response = Vec::new();
    with_timeout(read_response(&mut socket, &mut response)).await;
    let response = String::from_utf8(response).unwrap();
    let (head, body) =
        response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response to {request}: {response:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    HttpResponse { status, head: head.to_owned(), body: body.to_owned() }
}

async fn send_request(server: SocketAddr, request: &str, headers: &str, body: &str) -> TcpStream {
    let mut socket = with_timeout(TcpStream::connect(server)).await.unwrap();
    let closing = if headers.to_lowercase().contains("connection:") { "" } else { "Connection: close\r\n" };
    let version = if request.ends_with(" HTTP/1.0") { "" } else { " HTTP/1.1" };
    let (line, length) = (format!("{request}{version}\r\nHost: {server}\r\n"), body.len());
    let text = format!("{line}{closing}Content-Length: {length}\r\n{headers}\r\n{body}");
    socket.write_all(text.as_bytes()).await.unwrap();
    socket
}

/// Reads until the response is complete or the server closes the connection.
async fn read_response(socket: &mut TcpStream, response: &mut Vec<u8>) {
    while !is_complete(response) {
        if socket.read_buf(response).await.unwrap_or_default() == 0 {
            return;
        }
    }
}

/// True if `response` holds the head and a body of the announced length. A body without a length ends with the
/// connection; a 101 response has no body.
fn is_complete(response: &[u8]) -> bool {
    let text = String::from_utf8_lossy(response).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    head.starts_with("http/1.1 101") || length.is_some_and(|length| body.len() >= length)
}

/// A response whose body is read in parts.
#[derive(Debug)]
pub(crate) struct StreamingResponse {
    pub(crate) head: HttpResponse,
    socket: TcpStream,
    /// Received bytes that are not decoded yet.
    raw: Vec<u8>,
    body: String,
    is_complete: bool,
}

impl StreamingResponse {
    /// Sends a request like [`http_request_with_body`], and waits for the head of the response.
    pub(crate) async fn start(server: SocketAddr, request: &str, body: &str) -> Self {
        Self::start_with_headers(server, request, "", body).await
    }

    /// Like [`StreamingResponse::start`], with headers that each end in a line break.
    pub(crate) async fn start_with_headers(server: SocketAddr, request: &str, headers: &str, body: &str) -> Self {
        let socket = send_request(server, request, headers, body).await;
        let head = HttpResponse { status: 0, head: String::new(), body: String::new() };
        let mut response = Self { head, socket, raw: Vec::new(), body: String::new(), is_complete: false };
        let head = with_timeout(response.take_until(b"\r\n\r\n")).await.expect("a response has a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        response.head = HttpResponse { status, head, body: String::new() };
        response
    }

    /// The body up to `delimiter`, without it, or `None` if the body ends before.
    pub(crate) async fn read_until(&mut self, delimiter: &str) -> Option<String> {
        loop {
            if let Some((text, rest)) = self.body.split_once(delimiter) {
                let (text, rest) = (text.to_owned(), rest.to_owned());
                self.body = rest;
                return Some(text);
            }
            if !self.read_chunk().await {
                return None;
            }
        }
    }

    /// The rest of the body.
    pub(crate) async fn read_to_end(mut self) -> String {
        while self.read_chunk().await {}
        self.body
    }

    /// Reads one more chunk, or all of a body that has a length. Returns false at the end.
    async fn read_chunk(&mut self) -> bool {
        if self.is_complete {
            return false;
        }
        if let Some(length) = self.head.header("content-length").map(|length| length.parse().unwrap()) {
            self.is_complete = true;
            return self.append(length).await;
        }
        let Some(size) = with_timeout(self.take_until(b"\r\n")).await else { return false };
        let size = usize::from_str_radix(&size, 16).unwrap();
        self.is_complete = size == 0;
        self.append(size).await && self.take_until(b"\r\n").await.is_some() && size > 0
    }

    async fn append(&mut self, length: usize) -> bool {
        while self.raw.len() < length {
            if !self.read().await {
                return false;
            }
        }
        let chunk: Vec<u8> = self.raw.drain(..length).collect();
        self.body.push_str(std::str::from_utf8(&chunk).unwrap());
        true
    }

    async fn take_until(&mut self, delimiter: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.raw.windows(delimiter.len()).position(|window| window == delimiter) {
                let taken: Vec<u8> = self.raw.drain(..at + delimiter.len()).take(at).collect();
                return Some(String::from_utf8(taken).unwrap());
            }
            if !self.read().await {
                return None;
            }
        }
    }

    async fn read(&mut self) -> bool {
        with_timeout(self.socket.read_buf(&mut self.raw)).await.unwrap_or_default() > 0
    }
}
