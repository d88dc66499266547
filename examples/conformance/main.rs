//! The server for external test suites, wire probes and load tests.
//!
//! Learn: nothing for an application; see the other examples instead. Run: `cargo run --release --example conformance
//! -- PORT`. See: the hub `chat` at `/chat`, `/wsonly`, `/nows` and `/guarded`, and the hubs `chat` and `other` for
//! classic clients at `/signalr`, all on 127.0.0.1 with an SQLite database in memory.
//!
//! The query parameter `user` sets the user name. A bearer token, in the header or as the query parameter
//! `access_token`, is `NAME`, `NAME.member` (grants access to `/guarded`) or `NAME.member.SECONDS` (the same, and
//! expires after that time).
//!
//! Environment variables, with the defaults of ASP.NET SignalR and ASP.NET Core SignalR: `DETAILED=1`, `KEEPALIVE_MS`,
//! `CLIENT_TIMEOUT_MS`, `HANDSHAKE_TIMEOUT_MS`, `DISCONNECT_TIMEOUT_MS`, `POLL_TIMEOUT_MS`, `SEND_TIMEOUT_MS`,
//! `MAX_RECEIVE`, `MAX_PARALLEL`, `STREAM_CAPACITY`, `RECONNECT_BUFFER`, `CLASSIC_DISCONNECT_TIMEOUT_S`. Servers with
//! the same `SIGNING_KEY` accept each other's tokens.

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::{num::NonZeroUsize, time::Duration};

use actix_web::{App, web::scope};
use hubcast::{
    Engine, KeyRing, Limits, Transport,
    aspnetcore::{Endpoint, Settings},
    classic,
    store::sea::SeaStore,
    web::Cors,
};
use hubcast_fixtures::{hubs, identity};

#[expect(clippy::disallowed_methods, reason = "an example has no configuration file")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn millis(name: &str, default: Duration) -> Duration {
    number(name).map_or(default, Duration::from_millis)
}

fn settings() -> Settings {
    let defaults = Settings::default();
    Settings {
        keep_alive: millis("KEEPALIVE_MS", defaults.keep_alive),
        client_timeout: millis("CLIENT_TIMEOUT_MS", defaults.client_timeout),
        handshake_timeout: millis("HANDSHAKE_TIMEOUT_MS", defaults.handshake_timeout),
        disconnect_timeout: millis("DISCONNECT_TIMEOUT_MS", defaults.disconnect_timeout),
        poll_timeout: millis("POLL_TIMEOUT_MS", defaults.poll_timeout),
        send_timeout: millis("SEND_TIMEOUT_MS", defaults.send_timeout),
        max_message: number("MAX_RECEIVE").and_then(|bytes| bytes.try_into().ok()).or(defaults.max_message),
        parallel_calls: number("MAX_PARALLEL")
            .and_then(|calls| NonZeroUsize::new(calls.try_into().ok()?))
            .unwrap_or(defaults.parallel_calls),
        reconnect_buffer: number("RECONNECT_BUFFER")
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or(defaults.reconnect_buffer),
        stream_capacity: number("STREAM_CAPACITY")
            .and_then(|items| NonZeroUsize::new(items.try_into().ok()?))
            .unwrap_or(defaults.stream_capacity),
        detailed_errors: number("DETAILED") == Some(1),
    }
}

fn classic_settings() -> classic::Settings {
    let defaults =
        classic::Settings { jsonp: true, detailed_errors: number("DETAILED") == Some(1), ..Default::default() };
    match number("CLASSIC_DISCONNECT_TIMEOUT_S") {
        Some(seconds) => defaults.with_disconnect_timeout(Duration::from_secs(seconds)),
        None => defaults,
    }
}

/// The reference servers have no such limit; they slow down senders instead. External tests send 20 MB at once, which
/// must fit.
const MAX_PENDING_BYTES: usize = 64 << 20;

#[expect(clippy::disallowed_methods, reason = "an example has no configuration file")]
fn keys() -> anyhow::Result<KeyRing> {
    match std::env::var("SIGNING_KEY") {
        Ok(secret) => Ok(KeyRing::new([secret])?),
        Err(_) => Ok(KeyRing::ephemeral()),
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let port: u16 = std::env::args().nth(1).unwrap_or_else(|| "5000".into()).parse()?;
    let chat = hubs::chat();
    let name = chat.name().clone();
    let engine = Engine::builder()
        .hub_only(chat)
        .aspnetcore_endpoint(Endpoint::new("/chat", &name).allow_stateful_reconnects())
        .aspnetcore_endpoint(Endpoint::new("/wsonly", &name).transports(&[Transport::WebSockets]).minimum_version(1))
        .aspnetcore_endpoint(
            Endpoint::new("/nows", &name)
                .transports(&[Transport::ServerSentEvents, Transport::LongPolling])
                .minimum_version(-1),
        )
        .aspnetcore_endpoint(Endpoint::new("/guarded", &name).require(identity::is_member).close_on_expiry())
        .hub_only(hubs::other())
        .classic("/signalr")
        .classic_settings(classic_settings())
        .authenticate(identity::identify)
        .aspnetcore_settings(settings())
        .keys(keys()?)
        .limits(Limits { bytes: MAX_PENDING_BYTES, ..Limits::default() })
        .store(SeaStore::connect("sqlite::memory:").await?)
        .build()?;
    let app = |engine: &Engine| {
        let aspnetcore = scope("").wrap(Cors::any_origin()).configure(engine.aspnetcore_routes());
        App::new().configure(engine.classic_routes()).service(aspnetcore)
    };
    let server = engine.http_server(app).bind(("127.0.0.1", port))?.shutdown_timeout(1);
    println!("Listening on http://{}/", server.addrs()[0]);
    Ok(engine.serve(server).await?)
}
