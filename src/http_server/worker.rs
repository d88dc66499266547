//! The connections of one thread.

use std::{
    future::{Future, poll_fn, ready},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use actix_codec::Framed;
use actix_http::{Error, HttpService, Request, body::BoxBody, error::DispatchError, h1::Codec};
use actix_service::{
    Service, ServiceFactory,
    boxed::{self, BoxService},
    fn_factory, fn_service,
};
use actix_web::{dev::AppConfig, rt::net::TcpStream};
use futures_util::future::LocalBoxFuture;
use tokio::{sync::Semaphore, task::yield_now};

use super::{
    BoxedApp, Options,
    accept::{Accepted, Protocol, accept, add_connection_data},
    http_stream::{HttpStream, log_refusal},
};
use crate::transport::upgrade::{self, App, NextTask};

type HttpLayer = BoxService<(HttpStream, actix_http::Protocol, Option<SocketAddr>), (), DispatchError>;

/// Makes the service of one thread and listener.
pub(super) struct Worker<G> {
    app: BoxedApp,
    options: Arc<Options>,
    protocol: Protocol,
    address: SocketAddr,
    /// Makes a future that completes when the server stops.
    stopping: G,
}

impl<G> Worker<G> {
    pub(super) fn new(app: BoxedApp, options: Options, protocol: Protocol, address: SocketAddr, stopping: G) -> Self {
        Self { app, options: Arc::new(options), protocol, address, stopping }
    }
}

impl<G, F> ServiceFactory<TcpStream> for Worker<G>
where
    G: Fn() -> F + Clone + 'static,
    F: Future<Output = ()> + 'static,
{
    type Response = ();
    type Error = ();
    type Config = ();
    type Service = Connections;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Connections, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (options, protocol, address) = (Arc::clone(&self.options), self.protocol.clone(), self.address);
        let is_secure = matches!(protocol, Protocol::Tls(_));
        let host = options.host.clone().unwrap_or_else(|| address.to_string());
        // There is no other way to state the scheme of the listener. `actix-test`, which is released separately, relies
        // on this function too.
        let app = self.app.new_service(AppConfig::__priv_test_new(is_secure, host, address));
        let stopping = self.stopping.clone();
        Box::pin(async move {
            let http = http_layer(Rc::new(app.await?), Arc::clone(&options), address, stopping).await?;
            let handshakes = Arc::new(Semaphore::new(options.max_tls_handshakes));
            let turn = Rc::new(Semaphore::new(1));
            Ok(Connections { http: Rc::new(http), options, protocol, handshakes, turn })
        })
    }
}

/// The HTTP layer around the application of the thread, which also gets the upgrade requests.
async fn http_layer<F: Future<Output = ()> + 'static>(
    app: Rc<App>,
    options: Arc<Options>,
    address: SocketAddr,
    stopping: impl Fn() -> F + 'static,
) -> Result<HttpLayer, ()> {
    let upgrading = Rc::clone(&app);
    let http = HttpService::build()
        .keep_alive(options.keep_alive)
        .client_request_timeout(options.client_request_timeout)
        .client_disconnect_timeout(options.client_disconnect_timeout)
        .local_addr(address)
        .graceful_shutdown_signal(stopping)
        .on_connect_ext(move |stream: &HttpStream, data| {
            if let Some(stream) = stream.get_ref() {
                add_connection_data(stream, data, &options);
            }
        })
        .upgrade(fn_service(move |(request, framed): (Request, Framed<HttpStream, Codec>)| {
            if let Some(parts) = HttpStream::release(framed) {
                upgrade::take_over(&upgrading, request, parts);
            }
            ready(Ok::<_, Error>(()))
        }))
        .finish::<_, BoxBody>(fn_factory(move || ready(Ok::<_, ()>(Rc::clone(&app)))));
    Ok(boxed::service(http.new_service(()).await?))
}

/// Serves the connections of one thread.
pub(super) struct Connections {
    http: Rc<HttpLayer>,
    options: Arc<Options>,
    protocol: Protocol,
    handshakes: Arc<Semaphore>,
    /// See [`poll_first_in_turn`].
    turn: Rc<Semaphore>,
}

impl Service<TcpStream> for Connections {
    type Response = ();
    type Error = ();
    type Future = LocalBoxFuture<'static, Result<(), ()>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        self.http.poll_ready(cx).map_err(|_| ())
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let accepting = accept(stream, self.protocol.clone(), Arc::clone(&self.options), Arc::clone(&self.handshakes));
        // Each part is boxed, so that a WebSocket does not occupy the memory of those before.
        Box::pin(serve(Box::pin(serve_http(accepting, Rc::clone(&self.http), Rc::clone(&self.turn)))))
    }
}

/// Serves the requests of a connection, then what has taken it over.
async fn serve(http: LocalBoxFuture<'static, Option<NextTask>>) -> Result<(), ()> {
    if let Some(next) = http.await.and_then(|next| next.take()) {
        next.await;
    }
    Ok(())
}

/// Serves the requests of a connection. Returns `None` if the client does not begin as the listener expects.
async fn serve_http(
    accepting: impl Future<Output = io::Result<Accepted>>,
    http: Rc<HttpLayer>,
    turn: Rc<Semaphore>,
) -> Option<NextTask> {
    let Accepted { stream, protocol, client } = accepting.await.ok()?;
    let next = stream.next_task();
    let stream = HttpStream::new(stream, protocol, client);
    // Behind other errors the client is gone.
    if let Err(DispatchError::Parse(error)) = poll_first_in_turn(http.call((stream, protocol, client)), &turn).await {
        log_refusal(client, &error);
    }
    Some(next)
}

/// Polls new connections for the first time one after another. The first poll reads and handles a request that has
/// arrived. Before each of them the thread serves its other connections, so that many new clients do not delay
/// established ones.
async fn poll_first_in_turn<F: Future>(connection: F, turn: &Semaphore) -> F::Output {
    let mut connection = pin!(connection);
    let permit = turn.acquire().await;
    yield_now().await;
    let polled = poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx))).await;
    drop(permit);
    match polled {
        Poll::Ready(output) => output,
        Poll::Pending => connection.await,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn established_connections_run_between_new_ones() {
        let (log, turn) = (Rc::<RefCell<Vec<_>>>::default(), Rc::new(Semaphore::new(1)));
        let local = LocalSet::new();
        for name in ["new 1", "new 2", "new 3"] {
            let (log, turn) = (Rc::clone(&log), Rc::clone(&turn));
            local.spawn_local(async move { poll_first_in_turn(async { log.borrow_mut().push(name) }, &turn).await });
        }
        let established = Rc::clone(&log);
        local
            .run_until(async move {
                while established.borrow().iter().filter(|name| name.starts_with("new")).count() < 3 {
                    spawn_local(ready(())).await.unwrap();
                    established.borrow_mut().push("established");
                }
            })
            .await;
        let mut log = log.take();
        log.dedup();
        assert_eq!(
            log,
            ["established", "new 1", "established", "new 2", "established", "new 3", "established"],
            "{log:?}"
        );
    }
}
