//! A store of your own: durable groups in a text file.
//!
//! Learn: a store of durable memberships implements three methods. Leases of connections and used rejoin tokens have
//! stores of their own, which stay in memory here. This one keeps memberships in memory and appends each change to a file,
//! which it reads again at the start. Run: `cargo run --example custom_store`, open the page, and call `AddToRoom` of a
//! room from the page's console or another client. Then restart the example: the user is still a member. Your own store
//! should pass `hubcast::membership_store_conformance!` (feature `testkit`).
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use actix_web::App;
use hubcast::{
    Engine, GroupName, HubName, chat,
    store::{
        Change, Error, Members, MembershipChange, MembershipOp, MembershipStore, Owner, Page, memory::MemoryStore,
    },
    web::QueryUser,
};

/// A store that appends each change of a membership to a file, as a JSON array of four strings in one line.
struct FileStore {
    memory: MemoryStore,
    file: Mutex<File>,
}

impl FileStore {
    async fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let memory = MemoryStore::default();
        for line in BufReader::new(&file).lines() {
            let [change, hub, user, group]: [String; 4] = serde_json::from_str(&line?)?;
            let (owner, group) = (Owner { hub: hub.into(), user: user.into() }, GroupName::from(group));
            let applied = match &*change {
                "add" => memory.add(&owner, &group).await,
                _ => memory.remove(&owner, &group).await,
            };
            applied.map_err(io::Error::other)?;
        }
        Ok(Self { memory, file: Mutex::new(file) })
    }

    /// Returns when the changes are on the disk: the contract of a store.
    fn append(&self, changes: &[MembershipChange]) -> Result<(), Error> {
        let mut lines = String::new();
        for MembershipChange { owner, group, op } in changes {
            let op = if *op == MembershipOp::Add { "add" } else { "remove" };
            lines += &serde_json::json!([op, *owner.hub, *owner.user, **group]).to_string();
            lines.push('\n');
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|error| Error::Unavailable(error.to_string()))
    }
}

impl MembershipStore for FileStore {
    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        self.memory.groups_of(owners).await
    }

    async fn apply(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, Error> {
        self.append(changes)?;
        self.memory.apply(changes).await
    }

    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        self.memory.members(hub, group, page).await
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let path = arguments.next().unwrap_or_else(|| "memberships.jsonl".into());
    let store = FileStore::open(Path::new(&path)).await?;
    let engine = Engine::builder().hub("/chat", chat::hub()).authenticate(QueryUser).membership_store(store).build()?;
    let app = |engine: &Engine| App::new().configure(engine.routes()).configure(hubcast::page::routes(engine));
    let server = engine.http_server(app).bind(address)?;
    println!("Open http://{}/ and add yourself to a room. Memberships are kept in {path}.", server.addrs()[0]);
    Ok(engine.serve(server).await?)
}
