//! The service: the engine with its built-in hub, its page and its admin listener, from a configuration.
//!
//! Role: opens what a configuration names, serves on listeners that are bound already, and drains when told to stop.
//! Life: the process. Neighbours: `main` starts it; everything else is below.
//! Never: it knows nothing that an application which embeds the engine could not do itself.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::Server};
use log::{info, warn};
use secrecy::SecretString;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{Engine, admin, config::Settings, page, web::Cors};

mod banner;
mod open;
mod secret_file;

pub use banner::welcome;
pub use open::OpenError;

/// Where a service is reached; bound, so that whoever has them knows their ports.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub clients: TcpListener,
    /// For operators.
    pub admin: TcpListener,
}

/// A listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {address}{}", if source.kind() == io::ErrorKind::AddrInUse { ", which another program uses; choose another port" } else { "" })]
pub struct CannotListen {
    /// The setting.
    pub key: &'static str,
    /// What it says.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

impl Listeners {
    /// Binds both.
    ///
    /// # Errors
    /// [`CannotListen`] names the setting.
    pub fn bind(settings: &Settings) -> Result<Self, CannotListen> {
        Ok(Self { clients: bind("listen", settings.listen)?, admin: bind("admin.listen", settings.admin.listen)? })
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, CannotListen> {
    TcpListener::bind(address).map_err(|source| CannotListen { key, address, source })
}

/// All that is served.
#[derive(Clone, Debug)]
pub struct Service {
    /// The engine, with the hub `chat`.
    pub engine: Engine,
    /// Which web pages may connect.
    pub cors: Cors,
    /// What opens the admin listener.
    pub admin_token: SecretString,
    /// How many threads serve clients.
    pub workers: NonZeroUsize,
    /// How long clients may take to leave.
    pub drain_timeout: Duration,
}

/// Serves until `stop` is ready; then takes no new clients, lets those that are there know, and ends.
///
/// # Errors
/// If a listener is lost.
pub async fn run(listeners: Listeners, service: Service, stop: impl Future<Output = ()>) -> io::Result<()> {
    let Service { engine, cors, admin_token, workers, drain_timeout } = service;
    let clients = serve_clients(listeners.clients, engine.clone(), cors, workers)?;
    let admin = serve_operators(listeners.admin, engine.clone(), admin_token)?;
    let (clients_handle, admin_handle) = (clients.handle(), admin.handle());
    let stopping = async move {
        stop.await;
        info!("draining");
        clients_handle.pause().await;
        if timeout(drain_timeout, engine.drain()).await.is_err() {
            warn!(unfinished = engine.at_work(); "the time to drain is over; hub methods that still run are cut short");
        }
        clients_handle.stop(true).await;
        // Order: operators see the drain to its end.
        admin_handle.stop(false).await;
        Ok(())
    };
    tokio::try_join!(clients, admin, stopping)?;
    info!("stopped");
    Ok(())
}

/// How long sockets that were closed may take to go, in seconds: the drain has waited for everything else.
const LAST_CLOSES: u64 = 1;

fn serve_clients(listener: TcpListener, engine: Engine, cors: Cors, workers: NonZeroUsize) -> io::Result<Server> {
    let app = move || App::new().wrap(cors.clone()).configure(engine.routes()).configure(page::routes);
    let server = HttpServer::new(app)
        .on_connect(crate::on_connect)
        .workers(workers.get())
        .shutdown_timeout(LAST_CLOSES)
        .disable_signals();
    Ok(server.listen(listener)?.run())
}

fn serve_operators(listener: TcpListener, engine: Engine, token: SecretString) -> io::Result<Server> {
    let app = move || App::new().configure(admin::routes(&engine, &token));
    // One thread answers operators: they are few, and clients come first.
    Ok(HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run())
}

/// Ready when the process is asked to end: by SIGTERM, or by SIGINT from its terminal.
///
/// # Errors
/// If the system lets nobody listen to signals.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests;
