//! A chat that tells each room when its members come and go, and lists them with the time when they were last seen.
//!
//! Run it with `cargo run --example presence`, open the page that it prints in two tabs with different names, and stay in
//! the same room durably. Close a tab: five seconds later, the other one is told. `GET /rooms/{room}` lists the members.
#![expect(clippy::print_stdout, reason = "an example prints instructions")]

use std::time::{Duration, SystemTime};

use actix_web::{
    App, HttpResponse,
    web::{self, Data, Path},
};
use hubcast::{
    Engine, chat,
    hub::{PresenceChange, PresenceEvent},
    store::Page,
    web::QueryUser,
};
use serde_json::json;

/// Shorter than the default, so that one does not wait long for the example.
const WINDOW: Duration = Duration::from_secs(5);

/// Tells the rooms of a user what has happened.
async fn announce(event: PresenceEvent) {
    let what = match event.change {
        PresenceChange::Joined => "is a member now",
        PresenceChange::Left => "is no member any more",
        PresenceChange::Online => "is online",
        PresenceChange::Offline { .. } => "is offline",
    };
    let text = format!("{} {what}", event.user);
    println!("{text}");
    if let Err(error) = event.clients().groups(event.groups.clone()).send("addChatMessage", ("presence", text)).await {
        println!("the rooms were not told: {error}");
    }
}

/// Lists the members of a room as JSON.
async fn members(engine: Data<Engine>, room: Path<String>) -> actix_web::Result<HttpResponse> {
    let groups = engine.hub("chat").expect("the hub was added to the engine").groups();
    let page = groups.presence(room.into_inner(), &Page { after: None, limit: 100 }).await;
    let page = page.map_err(actix_web::error::ErrorServiceUnavailable)?;
    let seconds_ago = |seen: SystemTime| seen.elapsed().unwrap_or_default().as_secs();
    let rows = page.members.iter().map(|member| {
        json!({
            "user": member.user,
            "isOnline": member.is_online,
            "lastSeenSecondsAgo": member.last_seen.map(seconds_ago),
        })
    });
    Ok(HttpResponse::Ok().json(rows.collect::<Vec<_>>()))
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let engine = Engine::builder()
        .hub("/chat", chat::hub().on_presence(announce))
        .classic("/signalr")
        .presence_window(WINDOW)
        .authenticate(QueryUser)
        .build()?;
    let app = |engine: &Engine| {
        App::new()
            .app_data(Data::new(engine.clone()))
            .route("/rooms/{room}", web::get().to(members))
            .configure(engine.routes())
            .configure(hubcast::page::routes(engine))
    };
    let server = engine.http_server(app).bind(address)?;
    println!("Open http://{}/ in two tabs with different names.", server.addrs()[0]);
    Ok(engine.serve(server).await?)
}
