//! Serving an engine until the process is asked to stop, and the drain that follows.

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    pin::pin,
    time::Duration,
};

use actix_http::{Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Server},
};
use futures_util::future::LocalBoxFuture;
use log::{info, warn};
use tokio::time::timeout;

use super::Engine;
use crate::{
    client_log,
    http_server::{HttpServer, not_bound},
    signals,
};

/// The default time limit for draining: the shortest grace period of common process supervisors.
pub(crate) const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Engine {
    /// Creates an HTTP server for an application that mounts this engine. `app` makes the application of one worker
    /// thread, and receives the engine.
    ///
    /// WebSockets get their sockets for themselves: an idle one costs one file descriptor and no buffers. An application
    /// with sockets that [`HttpServer`] does not know, such as Unix sockets, creates a server of actix-web itself, and
    /// passes [`crate::on_connect`] to it.
    pub fn http_server<F, I, S, B>(&self, app: F) -> HttpServer
    where
        F: Fn(&Self) -> I + Send + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        <S::Service as Service<Request>>::Future: 'static,
        S::Service: 'static,
        B: MessageBody + 'static,
    {
        let engine = self.clone();
        HttpServer::new(move || app(&engine))
    }

    /// Serves a bound server until the process receives SIGTERM or SIGINT. Then it accepts no new clients, drains the
    /// engine ([`Engine::drain`]), stops the server and returns. Await the result; its methods change when and how the
    /// server stops.
    ///
    /// Clients of hubs delay the stop by [`Serve::drain_window`] and about a second, or by a second if they are at most
    /// 10. Requests of the application's own routes may take [`HttpServer::shutdown_timeout`] after the drain, 30 s
    /// unless it is set. SIGHUP is left to the application.
    ///
    /// ```no_run
    /// use actix_web::App;
    /// use hubcast::{Engine, Hub};
    ///
    /// # #[actix_web::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::builder().hub("/chat", Hub::new("chat")).build()?;
    /// let server = engine.http_server(|engine| App::new().configure(engine.routes()));
    /// Ok(engine.serve(server.bind(("127.0.0.1", 8080))?).await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// The future returns an error if the server is not bound, if signal handlers cannot be installed, if the server fails,
    /// or if another running process holds the [name of this node](crate::EngineBuilder::node). In the last case the engine
    /// is drained first.
    pub fn serve(&self, server: impl BoundServer) -> Serve {
        let (engine, server) = (self.clone(), server.start());
        Serve { engine, server, drain_timeout: DEFAULT_DRAIN_TIMEOUT, drain_window: None, stop: None }
    }
}

/// A bound HTTP server that [`Engine::serve`] can run: the [`HttpServer`] of this crate, or that of actix-web.
pub trait BoundServer: sealed::Start {}

impl<T: sealed::Start> BoundServer for T {}

mod sealed {
    use super::{
        AppConfig, Error, HttpServer, IntoServiceFactory, MessageBody, Request, Response, Server, Service,
        ServiceFactory, fmt, io, not_bound,
    };

    pub trait Start {
        /// Starts the server without handling of signals.
        fn start(self) -> io::Result<Server>;
    }

    impl Start for HttpServer {
        fn start(self) -> io::Result<Server> {
            self.disable_signals().run()
        }
    }

    impl<F, I, S, B> Start for actix_web::HttpServer<F, I, S, B>
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
        fn start(self) -> io::Result<Server> {
            // A server without a socket would panic.
            if self.addrs().is_empty() { Err(not_bound()) } else { Ok(self.disable_signals().run()) }
        }
    }
}

/// A server that serves an engine until it is asked to stop. See [`Engine::serve`]. It does nothing until it is awaited.
#[must_use = "it does nothing until it is awaited"]
pub struct Serve {
    engine: Engine,
    server: io::Result<Server>,
    drain_timeout: Duration,
    drain_window: Option<Duration>,
    stop: Option<LocalBoxFuture<'static, ()>>,
}

impl Serve {
    /// Sets the time limit for draining. Hub methods and hooks that run longer are cancelled. Default 10 s, the
    /// shortest grace period of common process supervisors.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// Sets the time over which clients are sent away: see [`Engine::drain`]. Default: half of the time limit for
    /// draining, so that hub methods of the last clients have the other half. Clients whose turn is after the time limit
    /// lose their connection without notice.
    pub fn drain_window(mut self, window: Duration) -> Self {
        self.drain_window = Some(window);
        self
    }

    /// Stops when `stop` completes, instead of at SIGTERM or SIGINT.
    pub fn until(mut self, stop: impl Future<Output = ()> + 'static) -> Self {
        self.stop = Some(Box::pin(stop));
        self
    }

    async fn run(self) -> io::Result<()> {
        let Self { engine, server, drain_timeout, drain_window, stop } = self;
        let drain_window = drain_window.unwrap_or(drain_timeout / 2);
        let mut server = server?;
        let stop = match stop {
            Some(stop) => stop,
            None => Box::pin(signals::stop_signal()?),
        };
        let handle = server.handle();
        let stopping = pin!(async {
            tokio::select! {
                () = stop => {}
                () = engine.node_claim.lost() => {}
            }
            info!("draining connections");
            handle.pause().await;
            if timeout(drain_timeout, engine.drain(drain_window)).await.is_err() {
                warn!(unfinished = engine.hub_tasks(); "drain timed out; unfinished hub methods and hooks are cancelled");
            }
            handle.stop(true).await;
        });
        let served = tokio::select! {
            // The server has failed, the application has stopped it, or it stops just before the drain ends.
            served = &mut server => served,
            () = stopping => server.await,
        };
        client_log::flush();
        served.and_then(|()| engine.node_claim.check().map_err(io::Error::other))
    }
}

impl IntoFuture for Serve {
    type Output = io::Result<()>;
    type IntoFuture = LocalBoxFuture<'static, io::Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("drain_timeout", &self.drain_timeout)
            .field("drain_window", &self.drain_window)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
