//! A server inside the test process, on its own threads.

use std::{any::Any, net::SocketAddr, thread::JoinHandle, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::Extensions,
    rt::System,
    web::{self, scope},
};
use hubcast::{
    AcceptedSocket, Engine, EngineBuilder, Hub, Transport,
    aspnetcore::{Endpoint, Settings},
    store::{faulty::FaultyStore, sea::SeaStore},
    testkit,
    web::Cors,
};
use hubcast_fixtures::{hubs, identity};
use tokio::sync::oneshot;

use super::{Certificate, EventLog};

/// A server with the fixture hubs, whose engine a test can access. Dropping this stops the server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The path of a WebSocket that sends each message back.
pub(crate) const ECHO: &str = "/echo";

type OnConnect = Box<dyn Fn(&dyn Any, &mut Extensions) + Send + Sync>;
type Hook = Box<dyn Fn(&AcceptedSocket<'_>, &mut Extensions) + Send + Sync>;

/// The HTTP server of an engine.
enum HttpLayer {
    /// That of the crate.
    Own,
    /// That of the crate with TLS, and with a hook for accepted sockets.
    OwnTls(rustls::ServerConfig, Hook),
    /// That of actix-web, perhaps with TLS, and with a hook for accepted streams.
    Actix(Option<rustls::ServerConfig>, OnConnect),
}

impl HttpLayer {
    /// Starts two threads on a free port.
    fn start(self, engine: &Engine) -> (SocketAddr, actix_web::dev::Server) {
        let app = |engine: &Engine| {
            let core = scope("").wrap(Cors::any_origin()).configure(engine.aspnetcore_routes());
            let app = App::new().route(ECHO, web::get().to(testkit::echo));
            app.configure(engine.classic_routes()).service(core)
        };
        // On a busy machine a request may take longer than the default timeout.
        let (any_port, patience) = (("127.0.0.1", 0), Duration::from_secs(60));
        if let Self::Actix(tls, on_connect) = self {
            let engine = engine.clone();
            let server = HttpServer::new(move || app(&engine)).on_connect(on_connect).workers(2).disable_signals();
            let server = server.client_request_timeout(patience);
            let server = match tls {
                Some(config) => server.bind_rustls_0_23(any_port, config).unwrap(),
                None => server.bind(any_port).unwrap(),
            };
            return (server.addrs()[0], server.run());
        }
        let server = engine.http_server(app).workers(2).disable_signals().client_request_timeout(patience);
        let server = match self {
            Self::OwnTls(config, hook) => server.on_connect(hook).bind_rustls_0_23(any_port, config).unwrap(),
            Self::Own | Self::Actix(..) => server.bind(any_port).unwrap(),
        };
        (server.addrs()[0], server.run().unwrap())
    }
}

/// An engine with the fixture hubs, several endpoints for ASP.NET Core SignalR, and default settings.
fn default_engine(hub: Hub) -> EngineBuilder {
    let name = hub.name().clone();
    Engine::builder()
        .hub("/chat", hub)
        .hub_only(hubs::other())
        .aspnetcore_endpoint(
            Endpoint::new("/nows", &name).transports(&[Transport::ServerSentEvents, Transport::LongPolling]),
        )
        .aspnetcore_endpoint(Endpoint::new("/wsonly", &name).transports(&[Transport::WebSockets]))
        .aspnetcore_endpoint(Endpoint::new("/strict", &name).minimum_version(1))
        .aspnetcore_endpoint(Endpoint::new("/guarded", &name).require(identity::is_member).close_on_expiry())
        .authenticate(identity::identify)
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|engine| engine).await
    }

    /// A server that sends error details to clients.
    pub(crate) async fn start_with_detailed_errors() -> Self {
        Self::start_with(|engine| engine.aspnetcore_settings(Settings { detailed_errors: true, ..Settings::default() }))
            .await
    }

    /// A server whose hub `chat` records its lifecycle events instead of running its own hooks.
    pub(crate) async fn start_with_event_log(
        change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static,
    ) -> (Self, EventLog) {
        let (events, hub) = EventLog::attach(hubs::chat());
        (Self::start_on(hub, HttpLayer::Own, |engine| change(engine.classic("/signalr"))).await, events)
    }

    pub(crate) async fn start_with(change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static) -> Self {
        Self::start_on(hubs::chat(), HttpLayer::Own, |engine| change(engine.classic("/signalr"))).await
    }

    /// A server whose store fails on demand.
    pub(crate) async fn start_with_faulty_store(
        change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static,
    ) -> (Self, FaultyStore<SeaStore>) {
        let store = FaultyStore::new(SeaStore::connect("sqlite::memory:").await.unwrap());
        let shared = store.clone();
        let server = move |engine: EngineBuilder| change(engine.store(shared).store_deadline(Duration::from_secs(1)));
        (Self::start_with(server).await, store)
    }

    /// A server with TLS, and with a hook for accepted sockets.
    pub(crate) async fn start_with_tls(
        certificate: &Certificate,
        hook: impl Fn(&AcceptedSocket<'_>, &mut Extensions) + Send + Sync + 'static,
        change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static,
    ) -> Self {
        let http = HttpLayer::OwnTls(certificate.server_config(), Box::new(hook));
        Self::start_on(hubs::chat(), http, |engine| change(engine.classic("/signalr"))).await
    }

    /// An engine that is mounted into a server of actix-web, perhaps with TLS.
    pub(crate) async fn start_mounted(
        certificate: Option<&Certificate>,
        on_connect: impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static,
        change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static,
    ) -> Self {
        let http = HttpLayer::Actix(certificate.map(Certificate::server_config), Box::new(on_connect));
        Self::start_on(hubs::chat(), http, |engine| change(engine.classic("/signalr"))).await
    }

    /// A server for ASP.NET Core SignalR clients only.
    pub(crate) async fn start_core_only(change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static) -> Self {
        Self::start_on(hubs::chat(), HttpLayer::Own, change).await
    }

    async fn start_on(
        hub: Hub,
        http: HttpLayer,
        change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static,
    ) -> Self {
        let (ready_sender, ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            System::new().block_on(async {
                let engine = change(default_engine(hub)).build().unwrap();
                let (address, server) = http.start(&engine);
                assert!(ready_sender.send((address, engine)).is_ok(), "the test waits for the server");
                let handle = server.handle();
                actix_web::rt::spawn(async move {
                    // This ends when the sender is dropped, so a received value and an error mean the same.
                    let _ = stopped.await;
                    handle.stop(false).await;
                });
                server.await.unwrap();
            });
        });
        let (address, engine) = super::with_timeout(ready).await.expect("the server starts");
        Self { address, engine, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || joined.is_some_and(|result| result.is_ok()), "the server panicked");
    }
}
