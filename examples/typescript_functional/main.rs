//! The server of the official TypeScript client's functional tests.
//!
//! Learn: nothing for an application; see the other examples instead. Run: `cargo run --example typescript_functional --
//! "https://127.0.0.1:0;http://127.0.0.1:0"`. The addresses are also taken from the variable `ASPNETCORE_URLS`, which
//! the test runner sets. See: a line `Now listening on: URL` for each address. The `https` address has a certificate of
//! its own, made at the start.
//!
//! | path | what it serves |
//! |---|---|
//! | `/echo` | plain bytes, which it sends back |
//! | `/testhub`, `/testhub-nowebsockets` | the hub of the tests |
//! | `/authorizedhub` | a hub for clients with a token |
//! | `/uncreatable` | a hub that refuses every connection |
//! | `GET /generateJwtToken` | a token, as text |
//! | `GET /clientresult/{id}` | what the client with this connection id returns from its method `Result`, or the error |
//! | `GET /deployment` | the version of the server |
//! | `GET /lib/signalr-webworker/signalr.js` | the client for web workers, of an npm package below `node_modules` in the directory of the variable `PACKAGES`, `target/clients` by default |
//!
//! [`http`] lists the paths that are answered before these, such as redirects.

#![expect(clippy::print_stdout, reason = "the test runner reads the addresses")]

mod http;
mod hubs;
mod streams;
mod token;

use std::{net::ToSocketAddrs, path::PathBuf};

use actix_web::{App, HttpResponse, middleware::from_fn, web};
use anyhow::Context;
use hubcast::{
    Engine, Transport,
    aspnetcore::{Endpoint, Settings},
    web::Cors,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::json;
use token::Tokens;

/// The addresses if none are given.
const DEFAULT_URLS: &str = "https://127.0.0.1:0;http://127.0.0.1:0";

#[expect(clippy::disallowed_methods, reason = "an example has no configuration file")]
fn urls() -> String {
    std::env::args().nth(1).or_else(|| std::env::var("ASPNETCORE_URLS").ok()).unwrap_or_else(|| DEFAULT_URLS.into())
}

fn engine(tokens: &Tokens) -> anyhow::Result<Engine> {
    let hub = hubs::test_hub();
    let name = hub.name().clone();
    let authorized = hubs::authorized_hub();
    let echo = hubs::echo_hub();
    let raw = Endpoint::new("/echo", echo.name()).raw();
    let for_members = Endpoint::new("/authorizedhub", authorized.name()).require(|identity| identity.is_authenticated);
    let engine = Engine::builder()
        .hub("/testhub", hub)
        .aspnetcore_endpoint(
            Endpoint::new("/testhub-nowebsockets", &name)
                .transports(&[Transport::ServerSentEvents, Transport::LongPolling]),
        )
        .hub("/uncreatable", hubs::uncreatable_hub())
        .hub_only(echo)
        .aspnetcore_endpoint(raw)
        .hub_only(authorized)
        .aspnetcore_endpoint(for_members)
        .aspnetcore_settings(Settings { detailed_errors: true, ..Settings::default() })
        .authenticate(tokens.authentication());
    Ok(engine.build()?)
}

/// A certificate for this machine that no client trusts.
fn certificate() -> anyhow::Result<ServerConfig> {
    let generated = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(generated.signing_key.serialize_der()));
    Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(vec![generated.cert.der().clone()], key)?)
}

fn packages() -> PathBuf {
    std::env::var_os("PACKAGES").map_or_else(|| "target/clients".into(), PathBuf::from)
}

/// Invokes a method of a client and waits for its result.
async fn client_result(engine: web::Data<Engine>, id: web::Path<String>) -> HttpResponse {
    let Some(hub) = engine.hub(hubs::TEST_HUB) else { return HttpResponse::NotFound().finish() };
    let result = hub.clients().client(id.into_inner()).invoke::<i32>("Result", ()).await;
    HttpResponse::Ok().body(result.map_or_else(|error| error.to_string(), |value| value.to_string()))
}

async fn web_worker_client() -> HttpResponse {
    let file = packages().join("node_modules/@microsoft/signalr/dist/webworker/signalr.js");
    match std::fs::read(&file) {
        Ok(script) => HttpResponse::Ok().content_type("text/javascript").body(script),
        Err(error) => HttpResponse::NotFound().body(format!("{}: {error}", file.display())),
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let tokens = Tokens::default();
    let engine = engine(&tokens)?;
    let redirects = web::Data::new(http::RedirectCount::default());
    let app = move |engine: &Engine| {
        let tokens = tokens.clone();
        let token = move || {
            let token = tokens.issue();
            async move { token }
        };
        let deployment = || async { web::Json(json!({ "Version": env!("CARGO_PKG_VERSION") })) };
        App::new()
            .app_data(redirects.clone())
            .app_data(web::Data::new(engine.clone()))
            .wrap(from_fn(http::answer_special_paths))
            .wrap(Cors::any_origin())
            .configure(engine.routes())
            .route("/generateJwtToken", web::get().to(token))
            .route("/clientresult/{id}", web::get().to(client_result))
            .route("/deployment", web::get().to(deployment))
            .route("/lib/signalr-webworker/signalr.js", web::get().to(web_worker_client))
    };
    let mut server = engine.http_server(app);
    for url in urls().split(';').filter(|url| !url.is_empty()) {
        let (scheme, address) =
            url.trim_end_matches('/').split_once("://").context("an address begins with http(s)://")?;
        let address = address.to_socket_addrs()?.next().context("the host has no address")?;
        server =
            if scheme == "https" { server.bind_rustls_0_23(address, certificate()?)? } else { server.bind(address)? };
    }
    for (address, scheme) in server.addrs_with_scheme() {
        println!("Now listening on: {scheme}://{address}");
    }
    Ok(engine.serve(server).await?)
}
