//! A page that loses its connection, or is reloaded, and is back in its groups.
//!
//! It shows rejoin tokens with the official JavaScript client and the module `clients/js`, and a filter, which
//! decides the groups that a client may rejoin regardless of its token. Run it with `cargo run --example rejoin`, open
//! the page that it prints, and use the buttons. `index.html` has the lines of the client. The page loads the official
//! client from a content delivery network.
#![expect(clippy::print_stdout, reason = "an example prints instructions")]

use actix_web::{
    App, HttpResponse,
    error::ErrorServiceUnavailable,
    http::header::ContentType,
    web::{Data, get, post},
};
use hubcast::{
    Engine, HubHandle, Reconnect, chat,
    filters::{self, RejoiningGroups},
    web::QueryUser,
};

/// Excludes the group `vault` from rejoining: a client has to join it again.
async fn exclude_vault(mut event: RejoiningGroups) -> filters::Decision<RejoiningGroups> {
    event.groups.retain(|group| **group != *"vault");
    Ok(event)
}

async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::html()).body(include_str!("index.html"))
}

async fn rejoin_module() -> HttpResponse {
    let script = include_str!("../../clients/js/hubcast-rejoin.js");
    HttpResponse::Ok().content_type("text/javascript; charset=utf-8").body(script)
}

/// Ends all connections. The clients reconnect.
async fn disconnect(hub: Data<HubHandle>) -> actix_web::Result<HttpResponse> {
    hub.clients().all().disconnect(Reconnect::Allow).await.map_err(ErrorServiceUnavailable)?;
    Ok(HttpResponse::NoContent().finish())
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let vault = filters::on(exclude_vault);
    let engine = Engine::builder().hub("/chat", chat::hub()).authenticate(QueryUser).filter("vault", vault).build()?;
    let hub = engine.hub("chat").map(Data::new).expect("the hub was added to the engine");
    let app = move |engine: &Engine| {
        App::new()
            .app_data(hub.clone())
            .route("/", get().to(page))
            .route("/hubcast-rejoin.js", get().to(rejoin_module))
            .route("/disconnect", post().to(disconnect))
            .configure(engine.routes())
    };
    let server = engine.http_server(app).bind(address)?;
    println!("Open http://{}/ and use the buttons.", server.addrs()[0]);
    Ok(engine.serve(server).await?)
}
