//! A client that loses its connection and is back in its groups on a new one.
//!
//! Learn: rejoin tokens for ASP.NET Core SignalR clients. A client requests them with `?rejoin=1`. Whenever its groups
//! change, the server sends a new token by calling the client method `hubcast:rejoinToken`. The client presents the
//! latest token with its next connection. The server then calls `hubcast:rejoined` with the groups that the client got
//! back. Run: `cargo run --example rejoin`. See: each step in this terminal. The example contains both the server and
//! the client, and then exits.
//!
//! With the official JavaScript client, which reconnects automatically, these lines are enough:
//!
//! ```js
//! let token = "1";
//! const url = () => `/chat?user=ann&rejoin=${token}`;
//! const connection = new signalR.HubConnectionBuilder().withUrl(url()).withAutomaticReconnect().build();
//! connection.on("hubcast:rejoinToken", (latest) => { token = latest; });
//! connection.onreconnecting(() => { connection.baseUrl = url(); });
//! ```
//!
//! The server also has a module, which decides the groups that a client may rejoin, regardless of its token.
#![expect(clippy::print_stdout, reason = "an example prints its steps")]

mod client;

use actix_web::{App, rt::spawn};
use anyhow::Context;
use client::Client;
use hubcast::{
    Engine, GroupName, chat,
    pipeline::{Module, Rejoining},
    web::QueryUser,
};
use serde_json::json;

/// Excludes the group `vault` from rejoining: a client has to join it again.
struct VaultFilter;

impl Module for VaultFilter {
    async fn rejoining(&self, Rejoining { mut groups, .. }: Rejoining) -> Vec<GroupName> {
        groups.retain(|group| **group != *"vault");
        groups
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let engine = Engine::builder().hub("/chat", chat::hub()).authenticate(QueryUser).module(VaultFilter).build()?;
    let server = engine.http_server(|engine| App::new().configure(engine.routes())).bind("127.0.0.1:0")?;
    let hub = format!("ws://{}/chat?user=ann", server.addrs()[0]);
    spawn(engine.serve(server).into_future());

    println!("Ann connects and requests tokens with rejoin=1.");
    let mut ann = Client::connect(&format!("{hub}&rejoin=1")).await?;
    println!("She joins the lobby and the vault, and receives a token for both.");
    ann.call("JoinRoom", json!(["lobby"])).await?;
    ann.call("JoinRoom", json!(["vault"])).await?;
    let token = ann.token().to_owned();
    println!("  {}...", token.get(..40).context("the token is shorter than 40 bytes")?);

    println!("Her connection breaks. She opens a new one and presents the token.");
    drop(ann);
    let mut ann = Client::connect(&format!("{hub}&rejoin={token}")).await?;
    println!("She is in the lobby without joining it again, and receives its messages:");
    ann.send("Send", json!(["lobby", "here I am again"])).await?;
    println!("  {}", ann.next_message().await?);
    println!("The module did not restore the vault.");
    println!("  was she in it? {}", ann.call("LeaveRoom", json!(["vault"])).await?);

    println!(
        "A client without a token is in no group. A token can be used once, so a second client with it is in none either."
    );
    let mut second = Client::connect(&format!("{hub}&rejoin={token}")).await?;
    println!("  was the second client in the lobby? {}", second.call("LeaveRoom", json!(["lobby"])).await?);
    Ok(())
}
