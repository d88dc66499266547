//! The hubcast service: the engine with its built-in hub, its web page and its admin listener.
//!
//! It opens the directory, keys and database of a configuration, serves on listeners that are already bound, and drains
//! when it is asked to stop. `main` starts it, and it lives as long as the process. It is the top layer. It uses only
//! functions that an application which embeds the engine can also use.

use std::{
    future::{Future, ready},
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, dev::Server, middleware::from_fn, rt::spawn, web};
use futures_util::{Stream, StreamExt};
use log::info;

use crate::{
    Engine, Serve,
    admin::{self, AdminToken, MetricsAccess},
    config::{Faults, Settings},
    http_server::HttpServer,
    page,
    transport::SocketLimit,
    web::{Cors, TrustedProxies, close_after_unread_body, log_refusal, refuse_beyond_socket_limit},
};

mod banner;
mod data_lock;
mod descriptors;
mod open;
mod proxy_protocol;
mod reload;
mod secret_file;
mod tls;

pub use banner::startup_message;
pub use data_lock::{DataLock, DataLockError};
pub use open::OpenError;
pub use secret_file::SecretFileError;
pub use tls::{Tls, TlsError};

pub use crate::signals::{reload_signals, stop_signal};

/// The bound listeners of a service. They are bound before the service starts, so that their ports are known.
#[derive(Debug)]
pub struct Listeners {
    /// The listener for clients.
    pub clients: TcpListener,
    /// The listener for operators.
    pub admin: TcpListener,
}

/// A listener cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {address}{}", if source.kind() == io::ErrorKind::AddrInUse { "; another program uses it, choose another port" } else { "" })]
pub struct ListenError {
    /// The key of the setting.
    pub key: &'static str,
    /// The configured address.
    pub address: SocketAddr,
    /// The error of the operating system.
    pub source: io::Error,
}

impl Listeners {
    /// Binds both listeners.
    ///
    /// # Errors
    /// [`ListenError`] names the setting of the listener that cannot be bound.
    pub fn bind(settings: &Settings) -> Result<Self, ListenError> {
        Ok(Self { clients: bind("listen", settings.listen)?, admin: bind("admin.listen", settings.admin.listen)? })
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).map_err(|source| ListenError { key, address, source })
}

/// An opened service.
#[derive(Clone, Debug)]
pub struct Service {
    /// The engine, with the hub `chat`.
    pub engine: Engine,
    /// The web pages that may connect.
    pub cors: Cors,
    /// The proxies whose statements about clients and operators are believed.
    pub proxies: TrustedProxies,
    /// Whether connections of these proxies to the listener for clients begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Whether connections of these proxies to the admin listener begin with a PROXY header.
    pub admin_proxy_protocol: bool,
    /// The certificate of the client listener. `None`: it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// The bearer token for the admin listener.
    pub admin_token: AdminToken,
    /// Who may read the metrics on the admin listener.
    pub metrics_access: MetricsAccess,
    /// The number of threads that serve clients.
    pub workers: NonZeroUsize,
    /// The maximum number of client sockets. Clients beyond it get status 503.
    pub max_sockets: NonZeroUsize,
    /// The time limit for draining.
    pub drain_timeout: Duration,
    /// The time over which clients are sent away.
    pub drain_window: Duration,
    /// The lock on the data directory.
    pub data_lock: DataLock,
}

/// Serves until `stop` completes. Then accepts no new clients, notifies the connected ones, drains, and returns. Each
/// item of `reload` is a request to reload the certificate, and the signing keys from these settings. If a file or a key is
/// invalid, the error is logged, and the previous certificate or the previous keys stay in use.
///
/// # Errors
/// If a listener fails, or if another process has taken the name of the node.
pub async fn run(
    listeners: Listeners,
    service: Service,
    stop: impl Future<Output = ()> + 'static,
    reload: impl Stream<Item = Result<Settings, Faults>> + 'static,
) -> io::Result<()> {
    let admin = serve_admin(listeners.admin, &service)?;
    let (engine, tls, data_lock) = (service.engine.clone(), service.tls.clone(), service.data_lock.clone());
    let clients = serve_clients(listeners.clients, service)?.until(stop);
    let admin_handle = admin.handle();
    let clients = async {
        let served = clients.await;
        // Order: the admin listener stops last, so that operators can observe the whole drain.
        admin_handle.stop(false).await;
        served
    };
    let reloading = spawn(reload.for_each(move |settings| {
        reload::certificate(tls.as_ref());
        reload::signing_keys(&engine, settings);
        ready(())
    }));
    let served = tokio::try_join!(clients, admin);
    reloading.abort();
    drop(data_lock);
    served?;
    info!("service stopped");
    Ok(())
}

/// The maximum of TLS handshakes at a time of one thread. A client can stall its handshake for 3 s, and further clients
/// wait meanwhile.
const MAX_TLS_HANDSHAKES: usize = 1_024;

/// The time limit for open requests when the HTTP server stops, in seconds. The drain before it has waited for all
/// other work.
const SHUTDOWN_TIMEOUT_SECS: u64 = 1;

/// The maximum number of sockets beyond the limit that wait for their refusal, at most 5 s each. Further clients wait
/// until they are accepted.
const MAX_REFUSED_SOCKETS: usize = 64;

/// The maximum number of sockets of operators. It fits into the descriptors that clients do not get.
const MAX_ADMIN_SOCKETS: usize = 32;

fn serve_clients(listener: TcpListener, service: Service) -> io::Result<Serve> {
    let Service {
        engine, cors, proxies, proxy_protocol, tls, workers, max_sockets, drain_timeout, drain_window, ..
    } = service;
    let trusted = proxy_protocol.then(|| proxies.clone());
    let app = move |engine: &Engine| {
        let app = App::new().wrap(cors.clone()).wrap(from_fn(close_after_unread_body));
        // Order: the last middleware runs first, so that all others see the client's address and host.
        let app = app.wrap(from_fn(refuse_beyond_socket_limit)).wrap(proxies.clone());
        let app = app.configure(engine.routes()).configure(page::routes(engine));
        app.default_service(web::to(not_found))
    };
    let max_connections = max_sockets.saturating_add(MAX_REFUSED_SOCKETS).get().div_ceil(workers.get());
    let server = engine.http_server(app).socket_limit(SocketLimit::new(max_sockets, engine.shared_metrics()));
    let server = server.workers(workers.get()).max_connections(max_connections);
    let server = server.shutdown_timeout(SHUTDOWN_TIMEOUT_SECS).max_connection_rate(MAX_TLS_HANDSHAKES);
    let server = match (tls, trusted) {
        (Some(_), Some(_)) => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS does not follow a PROXY header"));
        }
        (Some(tls), None) => server.listen_rustls_0_23(listener, tls.server_config()?)?,
        (None, trusted) => listen_plain(server, listener, trusted)?,
    };
    Ok(engine.serve(server).drain_timeout(drain_timeout).drain_window(drain_window))
}

/// Serves a listener without TLS. Connections of `trusted` proxies begin with a PROXY header.
fn listen_plain(server: HttpServer, listener: TcpListener, trusted: Option<TrustedProxies>) -> io::Result<HttpServer> {
    let Some(proxies) = trusted else { return server.listen(listener) };
    let preamble = move |mut stream| {
        let proxies = proxies.clone();
        Box::pin(async move {
            let client = proxy_protocol::client_address(&mut stream, &proxies).await?;
            Ok((stream, client))
        }) as _
    };
    server.listen_after(listener, Arc::new(preamble))
}

/// A wrong path is a common fault of clients, so its request is logged.
async fn not_found(request: HttpRequest) -> HttpResponse {
    let response = HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("There is nothing here.");
    log_refusal(&request, response)
}

fn serve_admin(listener: TcpListener, service: &Service) -> io::Result<Server> {
    let Service { engine, proxies, admin_proxy_protocol, admin_token, metrics_access, .. } = service.clone();
    let trusted = admin_proxy_protocol.then(|| proxies.clone());
    let app = move || {
        let app = App::new().wrap(from_fn(close_after_unread_body)).wrap(proxies.clone());
        app.configure(admin::routes(&engine, &admin_token, metrics_access))
            .default_service(web::to(admin::unknown_route))
    };
    // One thread is enough for operators: they are few, and clients have priority.
    let server = HttpServer::new(app).workers(1).max_connections(MAX_ADMIN_SOCKETS).disable_signals();
    listen_plain(server.shutdown_timeout(SHUTDOWN_TIMEOUT_SECS), listener, trusted)?.run()
}

#[cfg(test)]
mod tests;
