//! Plain requests, one connection each.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::within;

/// The answer to a request.
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

    /// What the first line says behind the status.
    pub(crate) fn reason(&self) -> &str {
        self.head.lines().next().and_then(|line| line.splitn(3, ' ').nth(2)).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends `METHOD /path`, over HTTP/1.1 unless it says ` HTTP/1.0`, with `headers` that each end in a line break, and an empty body.
pub(crate) async fn ask(server: SocketAddr, request: &str, headers: &str) -> HttpResponse {
    ask_with(server, request, headers, "").await
}

/// As [`ask`], with a body.
pub(crate) async fn ask_with(server: SocketAddr, request: &str, headers: &str, body: &str) -> HttpResponse {
    let mut socket = send(server, request, headers, body).await;
    let mut answer = Vec::new();
    // The answer of a server that does not close is read as far as it comes.
    within(read_answer(&mut socket, &mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request}: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    HttpResponse { status, head: head.to_owned(), body: body.to_owned() }
}

async fn send(server: SocketAddr, request: &str, headers: &str, body: &str) -> TcpStream {
    let mut socket = within(TcpStream::connect(server)).await.unwrap();
    let closing = if headers.to_lowercase().contains("connection:") { "" } else { "Connection: close\r\n" };
    let version = if request.ends_with(" HTTP/1.0") { "" } else { " HTTP/1.1" };
    let (line, length) = (format!("{request}{version}\r\nHost: {server}\r\n"), body.len());
    let text = format!("{line}{closing}Content-Length: {length}\r\n{headers}\r\n{body}");
    socket.write_all(text.as_bytes()).await.unwrap();
    socket
}

async fn read_answer(socket: &mut TcpStream, answer: &mut Vec<u8>) {
    while !is_whole(answer) {
        if socket.read_buf(answer).await.unwrap_or_default() == 0 {
            return;
        }
    }
}

/// True once the head and as much of a body as it announces is here; a body without a length ends with the connection,
/// and behind an upgrade there is none.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    head.starts_with("http/1.1 101") || length.is_some_and(|length| body.len() >= length)
}

/// The answer to a request whose body comes bit by bit.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) head: HttpResponse,
    socket: TcpStream,
    /// What has come and is not yet taken apart.
    raw: Vec<u8>,
    body: String,
    is_whole: bool,
}

impl Download {
    /// Sends a request as [`ask_with`] does, and waits for the head of its answer.
    pub(crate) async fn begin(server: SocketAddr, request: &str, body: &str) -> Self {
        let socket = send(server, request, "", body).await;
        let head = HttpResponse { status: 0, head: String::new(), body: String::new() };
        let mut download = Self { head, socket, raw: Vec::new(), body: String::new(), is_whole: false };
        let head = within(download.take_until(b"\r\n\r\n")).await.expect("an answer has a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        download.head = HttpResponse { status, head, body: String::new() };
        download
    }

    /// The body up to `mark`, which is left out; `None` if it ends before.
    pub(crate) async fn until(&mut self, mark: &str) -> Option<String> {
        loop {
            if let Some((text, rest)) = self.body.split_once(mark) {
                let (text, rest) = (text.to_owned(), rest.to_owned());
                self.body = rest;
                return Some(text);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// All of the body that is left.
    pub(crate) async fn rest(mut self) -> String {
        while self.more().await {}
        self.body
    }

    /// Takes in one more chunk, or the whole of a body that has a length.
    async fn more(&mut self) -> bool {
        if self.is_whole {
            return false;
        }
        if let Some(length) = self.head.header("content-length").map(|length| length.parse().unwrap()) {
            self.is_whole = true;
            return self.append(length).await;
        }
        let Some(size) = within(self.take_until(b"\r\n")).await else { return false };
        let size = usize::from_str_radix(&size, 16).unwrap();
        self.is_whole = size == 0;
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

    async fn take_until(&mut self, mark: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.raw.windows(mark.len()).position(|window| window == mark) {
                let taken: Vec<u8> = self.raw.drain(..at + mark.len()).take(at).collect();
                return Some(String::from_utf8(taken).unwrap());
            }
            if !self.read().await {
                return None;
            }
        }
    }

    async fn read(&mut self) -> bool {
        within(self.socket.read_buf(&mut self.raw)).await.unwrap_or_default() > 0
    }
}
