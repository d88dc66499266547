//! PROXY protocol, versions 1 and 2: a load balancer states the client's address at the start of a connection.
//!
//! As the specification requires, the listener does not guess: a connection of a trusted proxy must begin with a header,
//! and on a connection of any other peer a header is not an HTTP request, which is answered with 400.

use std::{io, net::SocketAddr, time::Duration};

use actix_web::rt::net::TcpStream;
use ppp::{HeaderResult, v1, v2};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::{
    client_log::{self, Cause},
    web::TrustedProxies,
};

/// The time limit for the header. Proxies send it with their first packet.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest header of version 1, with its line break, by the specification.
const MAX_V1_LENGTH: usize = 107;

/// The longest header of version 2 that is read: the addresses have at most 216 bytes, and the rest is for extensions,
/// such as the name in a client's certificate.
const MAX_V2_LENGTH: usize = 4096;

/// The number of bytes by which the versions differ: the signature of version 2. No header is shorter.
const SIGNATURE_LENGTH: usize = v2::PROTOCOL_PREFIX.len();

/// Why a connection of a trusted proxy is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("no complete PROXY header arrived in time")]
    TooSlow,
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is too long")]
    TooLong,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The client's address of an accepted connection. Reads the header if the peer is a trusted proxy.
///
/// # Errors
/// If the peer is a trusted proxy and sends no valid header. The connection must be closed.
pub(super) async fn client_address(stream: &mut TcpStream, proxies: &TrustedProxies) -> io::Result<SocketAddr> {
    let peer = stream.peer_addr()?;
    if !proxies.trusts(peer.ip()) {
        return Ok(peer);
    }
    match timeout(HEADER_TIMEOUT, read_header(stream)).await.unwrap_or(Err(HeaderError::TooSlow)) {
        Ok(client) => Ok(client.unwrap_or(peer)),
        // A health check that only connects.
        Err(HeaderError::Io(error)) => Err(error),
        Err(error) => {
            client_log::log(Cause::ProxyHeaderRefused, &[("proxy", &peer), ("error", &error)]);
            Err(io::Error::new(io::ErrorKind::InvalidData, error))
        }
    }
}

/// Reads a header and not one byte more. `None` is a connection of the proxy itself, such as a health check, or one
/// whose address it does not know.
async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = vec![0; SIGNATURE_LENGTH];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        read_v2(stream, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        read_v1(stream, &mut header).await?;
    } else {
        return Err(HeaderError::Missing);
    }
    parse(&header)
}

/// Reads up to the line break. The length is not known before, and what follows is read by the HTTP server.
async fn read_v1(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> Result<(), HeaderError> {
    while header.last() != Some(&b'\n') {
        if header.len() == MAX_V1_LENGTH {
            return Err(HeaderError::TooLong);
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> Result<(), HeaderError> {
    let mut rest = [0; 4];
    stream.read_exact(&mut rest).await?;
    header.extend(rest);
    let [_version, _family, length @ ..] = rest;
    let end = header.len() + usize::from(u16::from_be_bytes(length));
    if end > MAX_V2_LENGTH {
        return Err(HeaderError::TooLong);
    }
    let start = header.len();
    header.resize(end, 0);
    stream.read_exact(&mut header[start..]).await?;
    Ok(())
}

fn parse(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(addresses) => Some((addresses.source_address, addresses.source_port).into()),
            v1::Addresses::Tcp6(addresses) => Some((addresses.source_address, addresses.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => Ok(match header.addresses {
            v2::Addresses::IPv4(addresses) => Some((addresses.source_address, addresses.source_port).into()),
            v2::Addresses::IPv6(addresses) => Some((addresses.source_address, addresses.source_port).into()),
            v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
        }),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(HeaderError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address in the header that `bytes` begin with, or the error, and what is left to read.
    async fn read(mut bytes: &[u8]) -> (Result<Option<String>, String>, Vec<u8>) {
        let result = read_header(&mut bytes).await;
        let client = result.map(|client| client.map(|client| client.to_string())).map_err(|error| error.to_string());
        (client, bytes.to_vec())
    }

    /// A header of version 2 with `command` and `family`.
    fn v2_header(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, content].concat()
    }

    const IPV4: [u8; 12] = [1, 2, 3, 4, 10, 0, 0, 1, 0x03, 0xE8, 0x00, 0x50];

    #[tokio::test]
    async fn header_ends_where_the_request_begins() {
        for (header, client) in [
            ("PROXY TCP4 1.2.3.4 10.0.0.1 1000 80\r\n", Some("1.2.3.4:1000")),
            ("PROXY TCP6 2001:db8::1 ::1 1000 80\r\n", Some("[2001:db8::1]:1000")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ::1 1 2\r\n", None),
        ] {
            let (read, rest) = read(format!("{header}GET / HTTP/1.1\r\n").as_bytes()).await;
            assert_eq!((read, &*rest), (Ok(client.map(Into::into)), &b"GET / HTTP/1.1\r\n"[..]), "{header}");
        }
    }

    #[tokio::test]
    async fn binary_header_with_extensions_is_read() {
        let extension = [0x04, 0x00, 0x02, 0xAA, 0xBB];
        let mut ipv6 = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        ipv6.extend([0; 16]);
        ipv6.extend([0x03, 0xE8, 0x00, 0x50]);
        for (header, client) in [
            (v2_header(1, 0x11, &IPV4), Some("1.2.3.4:1000")),
            (v2_header(1, 0x11, &[&IPV4[..], &extension].concat()), Some("1.2.3.4:1000")),
            (v2_header(1, 0x21, &ipv6), Some("[2001:db8::1]:1000")),
            (v2_header(0, 0x00, &[]), None),
            (v2_header(0, 0x11, &IPV4), None),
            (v2_header(1, 0x00, &[]), None),
            (v2_header(1, 0x31, &[0; 216]), None),
        ] {
            let (read, rest) = read(&[&header[..], b"GET"].concat()).await;
            assert_eq!((read, &*rest), (Ok(client.map(Into::into)), &b"GET"[..]), "{header:?}");
        }
    }

    #[tokio::test]
    async fn anything_but_a_header_is_refused() {
        let long_line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1_LENGTH));
        let long_block = v2_header(1, 0x11, &[0; MAX_V2_LENGTH]);
        for (bytes, error) in [
            (&b"GET /chat HTTP/1.1\r\n"[..], "the connection does not begin with a PROXY header"),
            (b"PROXY TCP4 1.2.3.4\r\n", "the PROXY header is malformed"),
            (b"PROXY TCP4 1.2.3.4 10.0.0.1 1000 99999\r\n", "the PROXY header is malformed"),
            (long_line.as_bytes(), "the PROXY header is too long"),
            (&v2_header(1, 0x11, &IPV4[..4]), "the PROXY header is malformed"),
            (&v2_header(7, 0x11, &IPV4), "the PROXY header is malformed"),
            (&long_block, "the PROXY header is too long"),
            (b"PROXY", "early eof"),
        ] {
            assert_eq!(read(bytes).await.0, Err(error.into()), "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silent_proxy_is_dropped_after_the_time_limit() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        let proxies = TrustedProxies::new(["127.0.0.1".parse().unwrap()]);
        let started = tokio::time::Instant::now();
        let error = client_address(&mut accepted, &proxies).await.unwrap_err();
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::InvalidData, HEADER_TIMEOUT));
    }
}
