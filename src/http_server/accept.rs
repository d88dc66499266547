//! What precedes the first request of a connection: socket options, the TLS handshake, or a preamble.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{dev::Extensions, rt::net::TcpStream};
use tokio::{sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{Options, Preamble};
use crate::transport::{ServerStream, SharedTcp, SocketRefused};

/// What the connections of a listener begin with.
#[derive(Clone)]
pub(super) enum Protocol {
    Plain,
    Tls(TlsAcceptor),
    After(Preamble),
}

/// Wire: the names of the offered protocols (RFC 7301, RFC 9113 section 3.1).
#[cfg(feature = "http2")]
const OFFERED_PROTOCOLS: &[&[u8]] = &[HTTP_2, b"http/1.1"];
#[cfg(not(feature = "http2"))]
const OFFERED_PROTOCOLS: &[&[u8]] = &[b"http/1.1"];
const HTTP_2: &[u8] = b"h2";

pub(super) fn tls_acceptor(mut config: rustls::ServerConfig) -> TlsAcceptor {
    config.alpn_protocols = OFFERED_PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Arc::new(config).into()
}

/// An accepted connection, before its first request.
pub struct AcceptedSocket<'a>(&'a ServerStream);

impl AcceptedSocket<'_> {
    /// The TCP stream. Nothing may be read from it or written to it.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.0.tcp().get_ref()
    }

    /// The TLS session, which knows the certificate of the client; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&rustls::ServerConnection> {
        self.0.session()
    }
}

impl fmt::Debug for AcceptedSocket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptedSocket").field("tcp", self.tcp()).finish_non_exhaustive()
    }
}

/// A connection that is ready for its first request.
pub(super) struct Accepted {
    pub(super) stream: ServerStream,
    pub(super) protocol: actix_http::Protocol,
    pub(super) client: Option<SocketAddr>,
}

/// Prepares an accepted socket and completes what precedes the first request. `handshakes` limits TLS handshakes.
///
/// # Errors
/// If the client does not begin as the listener expects. The connection is closed.
pub(super) async fn accept(
    stream: TcpStream,
    protocol: Protocol,
    options: Arc<Options>,
    handshakes: Arc<Semaphore>,
) -> io::Result<Accepted> {
    let (stream, client) = match &protocol {
        Protocol::After(preamble) => preamble(stream).await.map(|(stream, client)| (stream, Some(client)))?,
        Protocol::Plain | Protocol::Tls(_) => {
            let client = stream.peer_addr().ok();
            (stream, client)
        }
    };
    let place = options.socket_limit.as_ref().map(|limit| limit.take_place());
    let is_refused = matches!(place, Some(None));
    let tcp = SharedTcp::new(stream, place.flatten());
    let stream = match protocol {
        Protocol::Plain | Protocol::After(_) => ServerStream::plain(tcp),
        Protocol::Tls(acceptor) => handshake(tcp, &acceptor, options.tls_handshake_timeout, &handshakes).await?,
    };
    let stream = stream.refused_if(is_refused);
    let negotiated = stream.session().and_then(|session| session.alpn_protocol());
    let protocol = match negotiated {
        Some(HTTP_2) => actix_http::Protocol::Http2,
        _ => actix_http::Protocol::Http1,
    };
    Ok(Accepted { stream, protocol, client })
}

async fn handshake(
    tcp: SharedTcp,
    acceptor: &TlsAcceptor,
    limit: Duration,
    handshakes: &Semaphore,
) -> io::Result<ServerStream> {
    let _permit = handshakes.acquire().await.map_err(io::Error::other)?;
    Ok(ServerStream::tls(timeout(limit, acceptor.accept(tcp)).await??))
}

/// Adds the data of a connection, which its requests find.
pub(super) fn add_connection_data(stream: &ServerStream, data: &mut Extensions, options: &Options) {
    if stream.is_refused() {
        data.insert(SocketRefused);
    } else {
        data.insert(stream.handle());
    }
    if let Some(hook) = &options.on_connect {
        hook(&AcceptedSocket(stream), data);
    }
}
