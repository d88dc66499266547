//! An HTTP server on a bound listener, with or without the PROXY protocol.
//!
//! `HttpServer` of actix-web has no hook between accepting a connection and reading a request from it. With the PROXY
//! protocol, this module therefore builds the same server from the parts that `HttpServer` consists of.

use std::{
    any::Any,
    fmt, io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    time::Duration,
};

use actix_http::{HttpService, Protocol, Request, Response, error::DispatchError};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Extensions, Server},
    rt::net::TcpStream,
};

use super::{SHUTDOWN_TIMEOUT_SECS, proxy_protocol};
use crate::web::TrustedProxies;

/// The time limit for the rest of a closing connection, as in `HttpServer`.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A server whose trusted proxies begin each connection with a PROXY header.
pub(super) struct ProxyProtocolServer<C> {
    pub(super) proxies: TrustedProxies,
    pub(super) workers: NonZeroUsize,
    /// The maximum number of connections of one thread.
    pub(super) max_connections: usize,
    /// The hook of `HttpServer::on_connect`. It runs when the PROXY header has been read.
    pub(super) on_connect: C,
}

impl<C: Fn(&dyn Any, &mut Extensions) + Send + Clone + 'static> ProxyProtocolServer<C> {
    /// Starts the server. `app` makes the application of one thread.
    ///
    /// # Errors
    /// If the listener fails.
    pub(super) fn listen<F, I, S, B>(self, listener: TcpListener, app: F) -> io::Result<Server>
    where
        F: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        <S::Service as Service<Request>>::Future: 'static,
        S::Service: 'static,
        B: MessageBody + 'static,
    {
        let Self { proxies, workers, max_connections, on_connect } = self;
        let address = listener.local_addr()?;
        let server = Server::build().workers(workers.get()).max_concurrent_connections(max_connections);
        let server = server.shutdown_timeout(SHUTDOWN_TIMEOUT_SECS).disable_signals();
        let stopping = server.graceful_shutdown_signal();
        let server = server.listen("proxy-protocol", listener, move || {
            let app = app().into_factory().map_err(|error| error.into().error_response());
            let (proxies, stopping, on_connect) = (proxies.clone(), stopping.clone(), on_connect.clone());
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .local_addr(address)
                .on_connect_ext(move |stream: &TcpStream, data| on_connect(stream, data))
                .finish(map_config(app, |()| AppConfig::default()));
            fn_service(move |stream: TcpStream| accept(stream, proxies.clone())).and_then(http)
        })?;
        Ok(server.run())
    }
}

/// Reads the PROXY header, so that the HTTP server takes the client's address for that of the peer.
async fn accept(
    mut stream: TcpStream,
    proxies: TrustedProxies,
) -> Result<(TcpStream, Protocol, Option<SocketAddr>), DispatchError> {
    let client = proxy_protocol::client_address(&mut stream, &proxies).await.map_err(DispatchError::Io)?;
    Ok((stream, Protocol::Http1, Some(client)))
}
