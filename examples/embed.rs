//! The engine embedded in an application that has its own routes.
//!
//! It shows that `engine.routes()` can be mounted beside other routes, that the application's handlers can send
//! messages through a `HubHandle`, and that SIGTERM and SIGINT drain (`engine.serve`). Run it with
//! `cargo run --example embed`. A posted order appears in every browser that has joined the room.
#![expect(clippy::print_stdout, reason = "an example prints instructions")]

use actix_web::{
    App, HttpResponse,
    error::ErrorServiceUnavailable,
    web::{Data, Path, get, post},
};
use hubcast::{Engine, HubHandle, chat, web::QueryUser};

/// The room that receives the orders.
const ROOM: &str = "orders";

/// A handler of the application. It gets the hub's handle as application data.
async fn take_order(hub: Data<HubHandle>, dish: Path<String>) -> actix_web::Result<HttpResponse> {
    let message = ("kitchen", format!("new order: {dish}"));
    let sent = hub.clients().group(ROOM).send("addChatMessage", message).await;
    let recipients = sent.map_err(ErrorServiceUnavailable)?;
    Ok(HttpResponse::Accepted().body(format!("sent to {recipients} clients\n")))
}

async fn menu() -> &'static str {
    "soup, bread\n"
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let hub = chat::hub();
    let name = hub.name().clone();
    let engine = Engine::builder().hub("/chat", hub).classic("/signalr").authenticate(QueryUser).build()?;
    let kitchen = engine.hub(&name).map(Data::new).expect("the hub was added to the engine");
    let app = move |engine: &Engine| {
        App::new()
            .app_data(kitchen.clone())
            .route("/menu", get().to(menu))
            .route("/orders/{dish}", post().to(take_order))
            .configure(engine.routes())
            .configure(hubcast::page::routes(engine))
    };
    let server = engine.http_server(app).bind(address)?;
    let url = format!("http://{}/", server.addrs()[0]);
    println!("Open {url} and join the room {ROOM}. Then:");
    println!("  curl {url}menu");
    println!("  curl -X POST {url}orders/soup");
    Ok(engine.serve(server).await?)
}
