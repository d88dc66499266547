//! A server in this process, on threads of its own.

use std::{net::SocketAddr, thread::JoinHandle, time::Duration};

use actix_web::{App, HttpServer, rt::System, web::scope};
use hubcast::{
    Engine, EngineBuilder, Hub,
    aspnetcore::{Endpoint, Settings},
    web::Cors,
};
use tokio::sync::oneshot;

use super::Diary;
use crate::{identity, rooms};

/// The hubs of the conformance example behind an engine that a test can reach. It ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The example's endpoints for newer clients and its hub, and everything else as it comes.
fn usual(hub: Hub) -> EngineBuilder {
    let name = hub.name().clone();
    Engine::builder()
        .hub("/chat", hub)
        .hub_only(rooms::other())
        .aspnetcore_endpoint(Endpoint::new("/nows", &name).without_websockets())
        .aspnetcore_endpoint(Endpoint::new("/strict", &name).minimum_version(1))
        .aspnetcore_endpoint(Endpoint::new("/guarded", &name).require(identity::is_member).close_on_expiry())
        .authenticate(identity::identify)
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|engine| engine).await
    }

    /// Shows clients why their calls fail.
    pub(crate) async fn start_detailed() -> Self {
        Self::start_with(|engine| engine.aspnetcore_settings(Settings { detailed_errors: true, ..Settings::default() }))
            .await
    }

    /// A server whose hub `chat` keeps a diary in place of its own hooks.
    pub(crate) async fn start_writing(
        change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static,
    ) -> (Self, Diary) {
        let (diary, hub) = Diary::of(rooms::hub());
        (Self::start_on(hub, |engine| change(engine.classic("/signalr"))).await, diary)
    }

    pub(crate) async fn start_with(change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static) -> Self {
        Self::start_on(rooms::hub(), |engine| change(engine.classic("/signalr"))).await
    }

    /// A server for newer clients alone.
    pub(crate) async fn start_newer(change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static) -> Self {
        Self::start_on(rooms::hub(), change).await
    }

    async fn start_on(hub: Hub, change: impl FnOnce(EngineBuilder) -> EngineBuilder + Send + 'static) -> Self {
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            System::new().block_on(async {
                let engine = change(usual(hub)).build().unwrap();
                let mounted = engine.clone();
                let app = move || {
                    let newer = scope("").wrap(Cors::any_origin()).configure(mounted.aspnetcore_routes());
                    App::new().configure(mounted.classic_routes()).service(newer)
                };
                let server = HttpServer::new(app).on_connect(hubcast::on_connect).workers(2).disable_signals();
                // A machine that does other things may not read a request for longer than is usual.
                let server = server.client_request_timeout(Duration::from_secs(60)).bind(("127.0.0.1", 0)).unwrap();
                assert!(tell.send((server.addrs()[0], engine)).is_ok(), "the test waits for it");
                let server = server.run();
                let handle = server.handle();
                actix_web::rt::spawn(async move {
                    // The test has ended, one way or the other.
                    let _ = stopped.await;
                    handle.stop(false).await;
                });
                server.await.unwrap();
            });
        });
        let (address, engine) = super::within(told).await.expect("the server starts");
        Self { address, engine, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()), "the server panicked");
    }
}
