//! A minimal WebSocket client that speaks the dialect of each compared server.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::spawn_local,
    time::timeout,
};

use crate::peers::{Dialect, RESPONSE_TIMEOUT};

pub(crate) struct Client {
    pub(crate) reader: BufReader<OwnedReadHalf>,
    pub(crate) writer: OwnedWriteHalf,
}

/// Wire: the first byte of a WebSocket frame that is a whole message (RFC 6455 section 5.2).
const TEXT_MESSAGE: u8 = 0x81;
const BINARY_MESSAGE: u8 = 0x82;

/// A WebSocket text frame, masked with the key 0 as clients must.
pub(crate) fn masked_text_frame(text: &str) -> Vec<u8> {
    masked_frame(TEXT_MESSAGE, text.as_bytes())
}

/// A WebSocket binary frame with an invocation in MessagePack, masked with the key 0. Wire: the length of the message, in
/// groups of seven bits, precedes it.
pub(crate) fn masked_invocation_frame(id: Option<&str>, target: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let headers = BTreeMap::<&str, &str>::new();
    let message = rmp_serde::to_vec(&(1, headers, id, target, arguments, [(); 0]))?;
    let mut payload = Vec::new();
    let mut length = message.len();
    while length > 0x7f {
        payload.push(u8::try_from(length & 0x7f)? | 0x80);
        length >>= 7;
    }
    payload.push(u8::try_from(length)?);
    payload.extend(message);
    Ok(masked_frame(BINARY_MESSAGE, &payload))
}

fn masked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut frame = vec![first];
    match u8::try_from(length) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("messages are shorter than 64 KiB").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        writer.write_all(request.as_bytes()).await?;
        let mut reader = BufReader::with_capacity(16 * 1024, reader);
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        ensure!(line.contains(" 101 "), "not upgraded: {line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).await?;
        }
        Ok(Self { reader, writer })
    }

    pub(crate) async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.writer.write_all(&masked_text_frame(text)).await?)
    }

    pub(crate) async fn receive(&mut self, text: &mut Vec<u8>) -> Result<()> {
        read_frame(&mut self.reader, text).await
    }

    pub(crate) async fn receive_until(&mut self, wanted: &[u8]) -> Result<()> {
        let mut message = Vec::new();
        let missing = || format!("no {}", wanted.escape_ascii());
        loop {
            timeout(RESPONSE_TIMEOUT, self.receive(&mut message)).await.with_context(missing)??;
            if memmem::find(&message, wanted).is_some() {
                return Ok(());
            }
        }
    }
}

pub(crate) async fn read_frame(reader: &mut BufReader<OwnedReadHalf>, text: &mut Vec<u8>) -> Result<()> {
    let mut head = [0; 2];
    reader.read_exact(&mut head).await?;
    let length = match head[1] {
        126 => usize::from(reader.read_u16().await?),
        127 => usize::try_from(reader.read_u64().await?)?,
        short => usize::from(short),
    };
    text.resize(length, 0);
    reader.read_exact(text).await?;
    Ok(())
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub(crate) const CLASSIC_QUERY: &str =
    "transport=webSockets&clientProtocol=2.0&connectionData=%5B%7B%22name%22%3A%22chat%22%7D%5D";

pub(crate) async fn connect_classic(address: SocketAddr) -> Result<Client> {
    let negotiated = get(address, &format!("/signalr/negotiate?{CLASSIC_QUERY}")).await?;
    let token = negotiated
        .split(r#""ConnectionToken":""#)
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .context("no token")?;
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let mut client =
        Client::connect(address, &format!("/signalr/connect?{CLASSIC_QUERY}&connectionToken={token}")).await?;
    client.receive_until(br#""S":1"#).await?;
    get(address, &format!("/signalr/start?{CLASSIC_QUERY}&connectionToken={token}")).await?;
    client.send(r#"{"H":"chat","M":"JoinRoom","A":["room"],"I":0}"#).await?;
    client.receive_until(br#""I":"0""#).await?;
    Ok(client)
}

/// The path of the hub for a user of its own: a user has at most 1,000 connections.
fn core_path() -> String {
    static USERS: AtomicUsize = AtomicUsize::new(0);
    format!("/chat?user=bench{}", USERS.fetch_add(1, Ordering::Relaxed))
}

/// Connects a client and makes it a member of the group.
pub(crate) async fn connect_member(dialect: Dialect, address: SocketAddr) -> Result<Client> {
    match dialect {
        Dialect::Plain => Client::connect(address, "/").await,
        Dialect::Classic => connect_classic(address).await,
        Dialect::Core => {
            let mut client = Client::connect(address, &core_path()).await?;
            client.send("{\"protocol\":\"json\",\"version\":1}\x1e").await?;
            let join = "{\"type\":1,\"invocationId\":\"0\",\"target\":\"JoinRoom\",\"arguments\":[\"room\"]}\x1e";
            client.send(join).await?;
            client.receive_until(br#""invocationId":"0""#).await?;
            Ok(client)
        }
        Dialect::CoreMessagePack => {
            let mut client = Client::connect(address, &core_path()).await?;
            client.send("{\"protocol\":\"messagepack\",\"version\":1}\x1e").await?;
            client.writer.write_all(&masked_invocation_frame(Some("0"), "JoinRoom", &["room"])?).await?;
            // Wire: the id of the completion is a string of one character.
            client.receive_until(b"\xa10").await?;
            Ok(client)
        }
    }
}

/// Connects a client that sends broadcasts and is not a member of the group. It discards all messages that it receives. On
/// a server that sends each message to all clients, it is one more recipient, which adds a thousandth to the cost.
pub(crate) async fn connect_sender(dialect: Dialect, address: SocketAddr) -> Result<OwnedWriteHalf> {
    let mut client = connect_member(dialect, address).await?;
    match dialect {
        Dialect::Plain => {}
        Dialect::Core => client.send("{\"type\":1,\"target\":\"LeaveRoom\",\"arguments\":[\"room\"]}\x1e").await?,
        Dialect::CoreMessagePack => {
            client.writer.write_all(&masked_invocation_frame(None, "LeaveRoom", &["room"])?).await?;
        }
        Dialect::Classic => client.send(r#"{"H":"chat","M":"LeaveRoom","A":["room"],"I":2}"#).await?,
    }
    let Client { mut reader, writer } = client;
    spawn_local(async move {
        let mut text = Vec::new();
        while read_frame(&mut reader, &mut text).await.is_ok() {}
    });
    Ok(writer)
}
