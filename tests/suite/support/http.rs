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
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends `METHOD /path`, with `headers` that each end in a line break, and an empty body.
pub(crate) async fn ask(server: SocketAddr, request: &str, headers: &str) -> Answer {
    let mut socket = within(TcpStream::connect(server)).await.unwrap();
    let closing = if headers.to_lowercase().contains("connection:") { "" } else { "Connection: close\r\n" };
    let text = format!("{request} HTTP/1.1\r\nHost: {server}\r\n{closing}Content-Length: 0\r\n{headers}\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The answer of a server that does not close is read as far as it comes.
    within(read_answer(&mut socket, &mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request}: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
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
