//! The engine inside an application that has routes of its own.
//!
//! Learn: `engine.routes()` mounts beside anything else, and the application publishes through the engine's handle from
//! its own handlers. Run: `cargo run --example embed`. See: an order that is posted appears in every browser.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use actix_web::{
    App, HttpResponse, HttpServer,
    error::ErrorServiceUnavailable,
    web::{Data, Path, get, post},
};
use hubcast::{Engine, HubHandle, chat, web::QueryUser};

/// The room that hears of orders.
const ROOM: &str = "orders";

/// A handler of the application: the engine's handle is application data like any other.
async fn take_order(hub: Data<HubHandle>, dish: Path<String>) -> actix_web::Result<HttpResponse> {
    let news = ("kitchen", format!("somebody wants {dish}"));
    let heard = hub.clients().group(ROOM).send("addChatMessage", news).await;
    let heard = heard.map_err(ErrorServiceUnavailable)?;
    Ok(HttpResponse::Accepted().body(format!("{heard} in the kitchen heard it\n")))
}

async fn menu() -> &'static str {
    "soup, bread\n"
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let hub = chat::hub();
    let name = hub.name().clone();
    let engine = Engine::builder().hub("/chat", hub).classic("/signalr").authenticate(QueryUser).build()?;
    let kitchen = engine.hub(&name).map(Data::new).expect("the engine has the hub that it was given");
    let app = move || {
        App::new()
            .app_data(kitchen.clone())
            .route("/menu", get().to(menu))
            .route("/orders/{dish}", post().to(take_order))
            .configure(engine.routes())
            .configure(hubcast::page::routes)
    };
    let server = HttpServer::new(app).on_connect(hubcast::on_connect).bind("127.0.0.1:8080")?;
    println!("Open http://127.0.0.1:8080/ and join the room {ROOM}. Then:");
    println!("  curl http://127.0.0.1:8080/menu");
    println!("  curl -X POST http://127.0.0.1:8080/orders/soup");
    Ok(server.run().await?)
}
