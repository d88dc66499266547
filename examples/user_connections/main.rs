//! The ten samples of Microsoft's page "Mapping SignalR Users to Connections" (SignalR 2.x), under their names on the wire.
//!
//! | way | file | samples | hub |
//! |---|---|---|---|
//! | `provider` | `provider.rs` | 1 to 3 | `MyHub` |
//! | `in-memory` | `in_memory.rs` | 4 and 5 | `ChatHub` |
//! | `group-per-user` | `group_per_user.rs` | 6 | `ChatHub` |
//! | `database` | `database.rs` | 7 and 8 | `ChatHub` |
//! | `table` | `table.rs` | 9 and 10 | `ChatHub` |
//!
//! The first way is all that an application needs: hubcast knows the connections of each user (`Clients::user`). The
//! others show how to keep a mapping of one's own. The documentation of each function names its sample, and the fault of
//! the sample that it fixes. Run the example with `cargo run --example user_connections`. A way, an address and a store
//! can follow: `-- database 127.0.0.1:8080 'sqlite://user-connections.db?mode=rwc'`, or
//! `-- table 127.0.0.1:8080 azure-table://127.0.0.1:10002/devstoreaccount1/connection` with the key of the account in
//! the variable `AZURE_KEY`.
//!
//! Classic clients connect to `/signalr`, others to `/myHub` or `/chatHub`. A client states the name of its user as its
//! bearer token: `accessTokenFactory: () => "ann"`, or `qs: { access_token: "ann" }`.
#![expect(clippy::print_stdout, reason = "an example prints instructions")]

mod database;
mod delivery;
mod group_per_user;
mod in_memory;
mod provider;
mod table;

use actix_web::App;
use hubcast::{Engine, Hub, KeyRing, filters};
use provider::MyIdProvider;

#[expect(clippy::disallowed_methods, reason = "an example has no configuration file")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The keys that sign tokens. Clients continue their connections after a restart only if the secret stays the same.
fn keys() -> anyhow::Result<KeyRing> {
    variable("SIGNING_KEY").map_or_else(|| Ok(KeyRing::ephemeral()), |secret| Ok(KeyRing::new([secret])?))
}

/// The path of the hub for clients of ASP.NET Core SignalR, and the hub.
async fn hub_of(way: &str, store: Option<String>) -> anyhow::Result<(&'static str, Hub)> {
    Ok(match way {
        "provider" => ("/myHub", provider::my_hub()),
        "in-memory" => ("/chatHub", in_memory::chat_hub()),
        "group-per-user" => ("/chatHub", group_per_user::chat_hub()),
        "database" => {
            let url = store.unwrap_or_else(|| "sqlite://user-connections.db?mode=rwc".into());
            ("/chatHub", database::chat_hub(database::UserContext::open(&url).await?))
        }
        "table" => {
            let default = "azure-table://127.0.0.1:10002/devstoreaccount1/connection";
            let key = variable("AZURE_KEY").ok_or_else(|| anyhow::anyhow!("the variable AZURE_KEY is not set"))?;
            let table = table::ConnectionTable::open(store.as_deref().unwrap_or(default), key).await?;
            ("/chatHub", table::chat_hub(table))
        }
        way => anyhow::bail!("there is no way `{way}`; the head of main.rs lists them"),
    })
}

/// Sample 2: registers the provider. There, one that is registered after the first connection is ignored. Here, it is an
/// option of the builder.
#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let way = arguments.next().unwrap_or_else(|| "provider".into());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let (path, hub) = hub_of(&way, arguments.next()).await?;
    let engine = Engine::builder()
        .hub(path, hub)
        .classic("/signalr")
        .authenticate(MyIdProvider)
        .filter("require-user", filters::on(provider::require_user))
        .keys(keys()?)
        .build()?;
    let server = engine.http_server(|engine| App::new().configure(engine.routes())).bind(address)?;
    println!("Clients connect to http://{}/ as the head of main.rs describes.", server.addrs()[0]);
    Ok(engine.serve(server).await?)
}
