//! A client that drops, and is back in its groups over a new connection.
//!
//! Learn: rejoin tokens for clients of ASP.NET Core SignalR. A client asks for them with `?rejoin=1`, is given a new one
//! by a call of its method `hubcast:rejoinToken` whenever its groups change, and brings the latest back with its next
//! connection. Run: `cargo run --example rejoin`. See: each step in this terminal; the server and its client are both
//! in here. Then the example ends.
//!
//! With the stock JavaScript client, which opens the new connection by itself, it is these lines:
//!
//! ```js
//! let token = "1";
//! const url = () => `/chat?user=ann&rejoin=${token}`;
//! const connection = new signalR.HubConnectionBuilder().withUrl(url()).withAutomaticReconnect().build();
//! connection.on("hubcast:rejoinToken", (latest) => { token = latest; });
//! connection.onreconnecting(() => { connection.baseUrl = url(); });
//! ```
//!
//! The server has a module, too: it decides which groups a client may be put back into, whatever its token says.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

mod client;

use actix_web::{App, HttpServer, rt::spawn};
use anyhow::Context;
use client::Client;
use hubcast::{
    Engine, GroupName, chat,
    pipeline::{Module, Rejoining},
    web::QueryUser,
};
use serde_json::json;

/// Lets nobody back into the vault: whoever has left it must be asked in again.
struct Doorkeeper;

impl Module for Doorkeeper {
    async fn rejoining(&self, Rejoining { mut groups, .. }: Rejoining) -> Vec<GroupName> {
        groups.retain(|group| **group != *"vault");
        groups
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let engine = Engine::builder().hub("/chat", chat::hub()).authenticate(QueryUser).module(Doorkeeper).build()?;
    let app = move || App::new().configure(engine.routes());
    let server = HttpServer::new(app).on_connect(hubcast::on_connect).bind("127.0.0.1:0")?;
    let hub = format!("ws://{}/chat?user=ann", server.addrs()[0]);
    spawn(server.run());

    println!("Ann connects and asks for tokens with rejoin=1.");
    let mut ann = Client::connect(&format!("{hub}&rejoin=1")).await?;
    println!("She joins the lobby and the vault, and is given a token that says so.");
    ann.call("JoinRoom", json!(["lobby"])).await?;
    ann.call("JoinRoom", json!(["vault"])).await?;
    let token = ann.token().to_owned();
    println!("  {}...", token.get(..40).context("a token is longer than that")?);

    println!("Her connection breaks. She comes back with a new one, and brings the token.");
    drop(ann);
    let mut ann = Client::connect(&format!("{hub}&rejoin={token}")).await?;
    println!("She is in the lobby without joining it, and hears what is said there:");
    ann.tell("Send", json!(["lobby", "here I am again"])).await?;
    println!("  {}", ann.heard().await?);
    println!("The doorkeeper has not let her into the vault.");
    println!("  was she in it? {}", ann.call("LeaveRoom", json!(["vault"])).await?);

    println!("Somebody who brings no token is in no group, and neither is one who brings that token again.");
    let mut late = Client::connect(&format!("{hub}&rejoin={token}")).await?;
    println!("  was the second bearer in the lobby? {}", late.call("LeaveRoom", json!(["lobby"])).await?);
    Ok(())
}
