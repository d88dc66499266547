//! The HTTP server of applications and of the service.
//!
//! It serves an application as the server of actix-web does, and is built of the same parts. It differs in what follows
//! an upgrade request: the HTTP layer is dropped, and the WebSocket has its socket for itself
//! ([`upgrade`](crate::transport::upgrade)). An idle WebSocket therefore costs one descriptor and no buffers.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_http::{KeepAlive, Request, Response, body::BoxBody};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt,
    boxed::{self, BoxServiceFactory},
};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Extensions, Server},
    rt::net::TcpStream,
};
use futures_util::future::LocalBoxFuture;
use socket2::{Domain, Socket, Type};

use crate::transport::SocketLimit;

mod accept;
mod http_stream;
mod refusal;
mod request_head;
mod requests;
mod worker;

pub use accept::AcceptedSocket;
use accept::{Protocol, tls_acceptor};
use worker::Worker;

/// Makes the application of one thread.
type AppFactory = Arc<Mutex<dyn Fn() -> BoxedApp + Send>>;
type BoxedApp = BoxServiceFactory<AppConfig, Request, Response<BoxBody>, Response<BoxBody>, ()>;

type OnConnect = Arc<dyn Fn(&AcceptedSocket<'_>, &mut Extensions) + Send + Sync>;

/// Reads what precedes the first request of a connection, and returns the client's address.
type Preamble = Arc<dyn Fn(TcpStream) -> LocalBoxFuture<'static, io::Result<(TcpStream, SocketAddr)>> + Send + Sync>;

/// An HTTP server for an application that mounts an engine: see [`Engine::http_server`](crate::Engine::http_server).
///
/// Methods that exist in [`actix_web::HttpServer`] too have the same meaning and the same defaults, except that their
/// order does not matter. It listens on TCP, without TLS or with rustls 0.23. For other sockets, such as Unix sockets,
/// mount the engine into a server of actix-web, and pass it [`on_connect`](crate::on_connect).
///
/// Request targets with `"`, `<`, `>`, `` ` `` or UTF-8 characters as they are reach the application percent-encoded. A
/// malformed request gets a response with the reason, and a line in the log.
///
/// Upgrade requests of the application's own routes are served too. After any other answer to an upgrade request, the
/// connection is closed.
#[must_use = "it does nothing until it is bound and run"]
pub struct HttpServer {
    app: AppFactory,
    listeners: Vec<Listener>,
    options: Options,
    workers: Option<usize>,
    backlog: u32,
    max_connections: Option<usize>,
    shutdown_timeout: Option<u64>,
    handles_signals: bool,
}

struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    protocol: Protocol,
}

/// The options of each connection.
#[derive(Clone)]
struct Options {
    keep_alive: KeepAlive,
    client_request_timeout: Duration,
    client_disconnect_timeout: Duration,
    tls_handshake_timeout: Duration,
    max_tls_handshakes: usize,
    host: Option<String>,
    on_connect: Option<OnConnect>,
    socket_limit: Option<SocketLimit>,
}

/// The defaults are those of actix-web.
impl Default for Options {
    fn default() -> Self {
        Self {
            keep_alive: KeepAlive::default(),
            client_request_timeout: Duration::from_secs(5),
            client_disconnect_timeout: Duration::from_secs(1),
            tls_handshake_timeout: Duration::from_secs(3),
            max_tls_handshakes: 256,
            host: None,
            on_connect: None,
            socket_limit: None,
        }
    }
}

/// As in actix-web.
const DEFAULT_BACKLOG: u32 = 1024;

impl HttpServer {
    /// Creates a server. `app` makes the application of one thread.
    pub(crate) fn new<F, I, S, B>(app: F) -> Self
    where
        F: Fn() -> I + Send + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        <S::Service as Service<Request>>::Future: 'static,
        S::Service: 'static,
        B: MessageBody + 'static,
    {
        let boxed = move || {
            let app = app().into_factory().map_err(|error| error.into().error_response().into());
            let app = app.map(|response: S::Response| response.into().map_into_boxed_body());
            boxed::factory(app.map_init_err(|error| log::error!("cannot start the application: {error:?}")))
        };
        Self {
            app: Arc::new(Mutex::new(boxed)),
            listeners: Vec::new(),
            options: Options::default(),
            workers: None,
            backlog: DEFAULT_BACKLOG,
            max_connections: None,
            shutdown_timeout: None,
            handles_signals: true,
        }
    }

    /// Sets the number of threads. Default: one per processor.
    pub fn workers(mut self, number: usize) -> Self {
        self.workers = Some(number);
        self
    }

    /// Sets the maximum of connections that wait to be accepted. Default 1,024. Call this before [`Self::bind`].
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Sets the maximum number of connections of one thread, WebSockets included. A thread that has as many accepts no
    /// others. Default 25,000.
    pub fn max_connections(mut self, number: usize) -> Self {
        self.max_connections = Some(number);
        self
    }

    /// Sets the maximum of TLS handshakes at a time of one thread. Further clients wait. Default 256.
    pub fn max_connection_rate(mut self, number: usize) -> Self {
        self.options.max_tls_handshakes = number;
        self
    }

    /// Sets how long a connection without request stays open. Default 5 s.
    pub fn keep_alive(mut self, limit: impl Into<KeepAlive>) -> Self {
        self.options.keep_alive = limit.into();
        self
    }

    /// Sets the time limit for the head of the first request. Default 5 s.
    pub fn client_request_timeout(mut self, limit: Duration) -> Self {
        self.options.client_request_timeout = limit;
        self
    }

    /// Sets the time limit for the end of a connection. Default 1 s.
    pub fn client_disconnect_timeout(mut self, limit: Duration) -> Self {
        self.options.client_disconnect_timeout = limit;
        self
    }

    /// Sets the time limit for a TLS handshake. Default 3 s.
    pub fn tls_handshake_timeout(mut self, limit: Duration) -> Self {
        self.options.tls_handshake_timeout = limit;
        self
    }

    /// Sets the time limit in seconds for open requests when the server stops. Default 30.
    pub fn shutdown_timeout(mut self, seconds: u64) -> Self {
        self.shutdown_timeout = Some(seconds);
        self
    }

    /// Sets the host name for URLs that the application generates, if a request names none. Default: the address.
    pub fn server_hostname(mut self, name: impl AsRef<str>) -> Self {
        self.options.host = Some(name.as_ref().to_owned());
        self
    }

    /// Leaves signals of the process to the application.
    pub fn disable_signals(mut self) -> Self {
        self.handles_signals = false;
        self
    }

    /// Sets a hook that runs for each connection, after its TLS handshake. It can add data of the connection, which
    /// requests find with `HttpRequest::conn_data`. The data is dropped with the last request: a WebSocket that has been
    /// accepted keeps none. The socket is prepared without such a hook.
    pub fn on_connect(mut self, hook: impl Fn(&AcceptedSocket<'_>, &mut Extensions) + Send + Sync + 'static) -> Self {
        self.options.on_connect = Some(Arc::new(hook));
        self
    }

    /// Refuses the requests of sockets beyond a limit.
    pub(crate) fn socket_limit(mut self, limit: SocketLimit) -> Self {
        self.options.socket_limit = Some(limit);
        self
    }

    /// Binds to addresses.
    ///
    /// # Errors
    /// If none of the addresses can be bound.
    pub fn bind(self, addresses: impl ToSocketAddrs) -> io::Result<Self> {
        self.bind_each(addresses, &Protocol::Plain)
    }

    /// Binds to addresses, for connections with TLS. HTTP/1.1 is spoken, and HTTP/2 with the cargo feature `http2`.
    ///
    /// # Errors
    /// If none of the addresses can be bound.
    pub fn bind_rustls_0_23(self, addresses: impl ToSocketAddrs, config: rustls::ServerConfig) -> io::Result<Self> {
        self.bind_each(addresses, &Protocol::Tls(tls_acceptor(config)))
    }

    /// Serves a bound listener.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn listen(self, socket: TcpListener) -> io::Result<Self> {
        self.listen_with(socket, Protocol::Plain)
    }

    /// Serves a bound listener, for connections with TLS. HTTP/1.1 is spoken, and HTTP/2 with the cargo feature `http2`.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn listen_rustls_0_23(self, socket: TcpListener, config: rustls::ServerConfig) -> io::Result<Self> {
        self.listen_with(socket, Protocol::Tls(tls_acceptor(config)))
    }

    /// Serves a bound listener whose connections begin with a preamble.
    pub(crate) fn listen_after(self, socket: TcpListener, preamble: Preamble) -> io::Result<Self> {
        self.listen_with(socket, Protocol::After(preamble))
    }

    fn bind_each(mut self, addresses: impl ToSocketAddrs, protocol: &Protocol) -> io::Result<Self> {
        let mut failure = None;
        for address in addresses.to_socket_addrs()? {
            match bind(address, self.backlog) {
                Ok(socket) => self = self.listen_with(socket, protocol.clone())?,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if self.listeners.is_empty() => Err(error),
            _ => Ok(self),
        }
    }

    fn listen_with(mut self, socket: TcpListener, protocol: Protocol) -> io::Result<Self> {
        let address = socket.local_addr()?;
        self.listeners.push(Listener { socket, address, protocol });
        Ok(self)
    }

    /// The bound addresses.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }

    /// The bound addresses with their schemes, `http` or `https`.
    #[must_use]
    pub fn addrs_with_scheme(&self) -> Vec<(SocketAddr, &str)> {
        let scheme = |protocol: &Protocol| if matches!(protocol, Protocol::Tls(_)) { "https" } else { "http" };
        self.listeners.iter().map(|listener| (listener.address, scheme(&listener.protocol))).collect()
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// If the server is not bound, or if a listener fails.
    pub fn run(self) -> io::Result<Server> {
        if self.listeners.is_empty() {
            return Err(not_bound());
        }
        let mut server = Server::build().backlog(self.backlog);
        if let Some(number) = self.workers {
            server = server.workers(number);
        }
        if let Some(number) = self.max_connections {
            server = server.max_concurrent_connections(number);
        }
        if let Some(seconds) = self.shutdown_timeout {
            server = server.shutdown_timeout(seconds);
        }
        if !self.handles_signals {
            server = server.disable_signals();
        }
        for Listener { socket, address, protocol } in self.listeners {
            let (app, options, stopping) = (self.app.clone(), self.options.clone(), server.graceful_shutdown_signal());
            server = server.listen(format!("http-{address}"), socket, move || {
                let app = app.lock().unwrap_or_else(PoisonError::into_inner)();
                let (options, protocol, stopping) = (options.clone(), protocol.clone(), stopping.clone());
                Worker::new(app, options, protocol, address, move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
            })?;
        }
        Ok(server.run())
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("addrs", &self.addrs()).finish_non_exhaustive()
    }
}

/// The error of a server without address.
pub(crate) fn not_bound() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the server is not bound to an address; call `bind` first")
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted server can bind while connections of its predecessor still end.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
