//! A minimal chat server: clients join rooms and send messages to them.
//!
//! It shows that a hub consists of plain async functions whose parameters declare what they need. Run it with
//! `cargo run --example hello` and open the page that it prints in two tabs. Each message appears in both.
#![expect(clippy::print_stdout, reason = "an example prints instructions")]

use actix_web::App;
use hubcast::{Args, Caller, Clients, Engine, Groups, Hub, HubError, web::QueryUser};

async fn join_room(groups: Groups, Args((room,)): Args<(String,)>) -> Result<(), HubError> {
    groups.join(room).await?;
    Ok(())
}

async fn send(caller: Caller, clients: Clients, Args((room, text)): Args<(String, String)>) -> Result<(), HubError> {
    clients.group(room).send("addChatMessage", (caller.name(), text)).await?;
    Ok(())
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let hub = Hub::new("chat").method("JoinRoom", join_room).method("Send", send);
    let engine = Engine::builder().hub("/chat", hub).classic("/signalr").authenticate(QueryUser).build()?;
    let app = |engine: &Engine| App::new().configure(engine.routes()).configure(hubcast::page::routes(engine));
    let server = engine.http_server(app).bind(address)?;
    let url = format!("http://{}/", server.addrs()[0]);
    println!("Open {url} in two tabs, and join the same room.");
    Ok(engine.serve(server).await?)
}
