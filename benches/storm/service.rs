//! The service under test, and requests of its operator.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::{AddAssign, Sub},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    peers::{RESPONSE_TIMEOUT, free_port, wait_until_listening},
    users,
};

const TOKEN: &str = "the token of the benchmark";
const GROUPS_OF_USER: usize = 10;
const USERS_OF_GROUP: usize = 100;

/// Builds the service. Returns the path of the program.
pub(crate) fn build() -> Result<PathBuf> {
    let status = Command::new(env!("CARGO")).args(["build", "--profile", "dist", "--bin", "hubcast"]).status()?;
    ensure!(status.success(), "the service does not build");
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dist/hubcast"))
}

/// Calls of the store, and the rejoin tokens that were accepted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) loads: u64,
    pub(crate) redemptions: u64,
    pub(crate) accepted: u64,
}

impl Sub for Calls {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            loads: self.loads - before.loads,
            redemptions: self.redemptions - before.redemptions,
            accepted: self.accepted - before.accepted,
        }
    }
}

impl AddAssign for Calls {
    fn add_assign(&mut self, other: Self) {
        self.loads += other.loads;
        self.redemptions += other.redemptions;
        self.accepted += other.accepted;
    }
}

pub(crate) struct Service {
    process: Child,
    _data: TempDir,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    /// Starts the service, with SQLite unless there is a URL.
    pub(crate) async fn start(program: &Path, store_url: Option<&str>) -> Result<Self> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (address, admin, data) = (local(free_port()?), local(free_port()?), TempDir::new()?);
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
            .args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string(), "--data-dir"])
            .arg(data.path())
            .env("HUBCAST_ADMIN__TOKEN", TOKEN);
        if let Some(url) = store_url {
            command.args(["--store-url", url]);
        }
        let process = command.spawn().context("cannot start the service")?;
        let service = Self { process, _data: data, address, admin };
        wait_until_listening("hubcast", address)?;
        Ok(service)
    }

    /// Stores the durable groups of all users: 10 for each user, 100 users in each group.
    pub(crate) async fn store_memberships(&self, users: usize) -> Result<()> {
        for group in 0..users * GROUPS_OF_USER / USERS_OF_GROUP {
            let members = (0..USERS_OF_GROUP).map(|number| users::name((group * USERS_OF_GROUP + number) % users));
            let body = json!({ "users": Vec::from_iter(members) });
            let answer = self.request("POST", &format!("/admin/groups/chat/group{group}/members"), &body).await?;
            ensure!(answer.starts_with("HTTP/1.0 200"), "memberships are not stored: {answer}");
        }
        Ok(())
    }

    /// Waits until the ends of all connections but `rest` are handled.
    pub(crate) async fn wait_until_left(&self, rest: usize) -> Result<()> {
        let wait = async {
            while self.overview().await?["live"]["connections"] != rest {
                sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        };
        timeout(RESPONSE_TIMEOUT, wait).await.context("the ends of the connections are not handled")?
    }

    /// The calls of the store so far.
    pub(crate) async fn calls(&self) -> Result<Calls> {
        let overview = self.overview().await?;
        let counter = |name| overview["counters"][name].as_u64().with_context(|| format!("no {name}: {overview}"));
        let (loads, redemptions) = (counter("store_loads")?, counter("store_redemptions")?);
        Ok(Calls { loads, redemptions, accepted: counter("rejoins_accepted")? })
    }

    async fn overview(&self) -> Result<serde_json::Value> {
        let overview = self.request("GET", "/admin/overview", &json!(null)).await?;
        let (_, body) = overview.split_once("\r\n\r\n").context("no body")?;
        Ok(serde_json::from_str(body)?)
    }

    async fn request(&self, method: &str, path: &str, body: &serde_json::Value) -> Result<String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
            self.admin,
            body.len()
        );
        let mut stream = TcpStream::connect(self.admin).await?;
        stream.write_all((head + &body).as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}
