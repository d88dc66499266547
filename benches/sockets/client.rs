//! A minimal WebSocket client that speaks the dialect of each compared server.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::spawn_local,
    time::timeout,
};

use crate::peers::{Dialect, Peer, RESPONSE_TIMEOUT};

pub(crate) struct Client {
    pub(crate) reader: BufReader<OwnedReadHalf>,
    pub(crate) writer: OwnedWriteHalf,
}

/// A WebSocket text frame, masked with the key 0 as clients must.
pub(crate) fn masked_text_frame(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = vec![0x81];
    match u8::try_from(length) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("texts are shorter than 64 KiB").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
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

    pub(crate) async fn receive_until(&mut self, wanted: &str) -> Result<()> {
        let mut text = Vec::new();
        loop {
            timeout(RESPONSE_TIMEOUT, self.receive(&mut text)).await.with_context(|| format!("no {wanted}"))??;
            if String::from_utf8_lossy(&text).contains(wanted) {
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
    client.receive_until(r#""S":1"#).await?;
    get(address, &format!("/signalr/start?{CLASSIC_QUERY}&connectionToken={token}")).await?;
    client.send(r#"{"H":"chat","M":"JoinRoom","A":["room"],"I":0}"#).await?;
    client.receive_until(r#""I":"0""#).await?;
    Ok(client)
}

/// Connects a client and makes it a member of the group.
pub(crate) async fn connect_member(peer: &Peer) -> Result<Client> {
    match peer.dialect {
        Dialect::Plain => Client::connect(peer.address, "/").await,
        Dialect::Classic => connect_classic(peer.address).await,
        Dialect::Core => {
            let mut client = Client::connect(peer.address, "/chat?user=bench").await?;
            client.send("{\"protocol\":\"json\",\"version\":1}\x1e").await?;
            let join = "{\"type\":1,\"invocationId\":\"0\",\"target\":\"JoinRoom\",\"arguments\":[\"room\"]}\x1e";
            client.send(join).await?;
            client.receive_until(r#""invocationId":"0""#).await?;
            Ok(client)
        }
    }
}

/// Connects a client that sends broadcasts and is not a member of the group. It discards all messages that it receives. On
/// a server that sends each message to all clients, it is one more recipient, which adds a thousandth to the cost.
pub(crate) async fn connect_sender(peer: &Peer) -> Result<OwnedWriteHalf> {
    let mut client = connect_member(peer).await?;
    match peer.dialect {
        Dialect::Plain => {}
        Dialect::Core => client.send("{\"type\":1,\"target\":\"LeaveRoom\",\"arguments\":[\"room\"]}\x1e").await?,
        Dialect::Classic => client.send(r#"{"H":"chat","M":"LeaveRoom","A":["room"],"I":2}"#).await?,
    }
    let Client { mut reader, writer } = client;
    spawn_local(async move {
        let mut text = Vec::new();
        while read_frame(&mut reader, &mut text).await.is_ok() {}
    });
    Ok(writer)
}
