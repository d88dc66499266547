//! The eleven samples of Microsoft's page "Working with Groups in SignalR" (SignalR 2.x), under their names on the wire.
//!
//! | file | samples | hub |
//! |---|---|---|
//! | `rooms.rs` | 1 to 5 | `ContosoChatHub`, and `AnnouncingChatHub` for the second form of `JoinRoom` |
//! | `database.rs` | 6 and 7 | `ChatHub`, if the store is a database |
//! | `table.rs` | 8 and 9 | `ChatHub`, if the store is Azure Table Storage |
//! | `rejoin.rs` | 10 | a filter of `ChatHub`, if the store is a database |
//! | `main.rs` | 11 | the start of the application |
//!
//! The documentation of each function names its sample, and the fault of the sample that it fixes. Run the example with
//! `cargo run --example groups_page`. An address and a store can follow: `-- 127.0.0.1:8080 sqlite://groups-page.db`, or
//! `azure-table://127.0.0.1:10002/devstoreaccount1/room` with the key of the account in the variable `AZURE_KEY`.
//!
//! Classic clients connect to `/signalr`, others to `/contosoChatHub`, `/announcingChatHub` or `/chatHub`. A client
//! states the name of its user as its bearer token: `accessTokenFactory: () => "ann"`, or `qs: { access_token: "ann" }`.
#![expect(clippy::print_stdout, reason = "an example prints instructions")]

mod database;
mod members;
mod rejoin;
mod rooms;
mod table;

use actix_web::{App, HttpRequest};
use database::Rooms;
use hubcast::{
    Engine, EngineBuilder, KeyRing,
    hub::Identity,
    store::{
        azure::{AzureCredential, AzureTableStore},
        sea::SeaStore,
    },
    web::{AuthError, bearer},
};
use rejoin::RejoiningRooms;

/// The rooms of the database. On the page, somebody has created them too.
const ROOMS: [&str; 3] = ["garden", "kitchen", "lobby"];

/// Names the user by the bearer token. An application verifies the token: see `hubcast::web::Jwt`.
fn identify(request: &HttpRequest) -> Result<Identity, AuthError> {
    let name = bearer(request).filter(|name| !name.is_empty());
    Ok(name.map_or_else(Identity::default, |name| Identity::authenticated(name.as_ref().into())))
}

#[expect(clippy::disallowed_methods, reason = "an example has no configuration file")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The keys that sign tokens. Clients return to their groups after a restart only if the secret stays the same.
fn keys() -> anyhow::Result<KeyRing> {
    variable("SIGNING_KEY").map_or_else(|| Ok(KeyRing::ephemeral()), |secret| Ok(KeyRing::new([secret])?))
}

/// Sample 11: adds the module of sample 10 at the start. There, a module that is added after the first use of the
/// pipeline is an exception at run time. Here, only builders take filters, so a late one does not compile. `Engine::filter`
/// turns a filter off and on while the engine runs.
async fn with_database(builder: EngineBuilder, url: &str) -> anyhow::Result<EngineBuilder> {
    let store = SeaStore::connect(url).await?;
    let rooms = Rooms::open(url, &ROOMS).await?;
    let hub = database::chat_hub(rooms.clone()).filter("rejoining-rooms", RejoiningRooms(rooms));
    Ok(builder.store(store).hub("/chatHub", hub))
}

/// Leases of connections and used rejoin tokens stay in memory.
async fn with_table(builder: EngineBuilder, url: &str) -> anyhow::Result<EngineBuilder> {
    let key = variable("AZURE_KEY").ok_or_else(|| anyhow::anyhow!("the variable AZURE_KEY is not set"))?;
    let table = AzureTableStore::connect(url, AzureCredential::key(key)).await?;
    Ok(builder.membership_store(table).hub("/chatHub", table::chat_hub()))
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let store = arguments.next().unwrap_or_else(|| "sqlite://groups-page.db".into());
    let builder = Engine::builder()
        .hub("/contosoChatHub", rooms::contoso_chat_hub())
        .hub("/announcingChatHub", rooms::announcing_chat_hub())
        .classic("/signalr")
        .authenticate(identify)
        .keys(keys()?);
    let builder = match store.starts_with("azure-table:") {
        true => with_table(builder, &store).await?,
        false => with_database(builder, &store).await?,
    };
    let engine = builder.build()?;
    let server = engine.http_server(|engine| App::new().configure(engine.routes())).bind(address)?;
    println!("Clients connect to http://{}/ as the head of main.rs describes.", server.addrs()[0]);
    Ok(engine.serve(server).await?)
}
