//! The compared servers, and measurements of their CPU time and memory.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

const SERVER_CPU: &str = "0";

/// The ticks (`USER_HZ`) in which `/proc` reports CPU times. Linux uses the same number on all machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// The maximum time for a server to start listening and for an expected message to arrive.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The protocol that a server speaks.
#[derive(Clone, Copy)]
pub(crate) enum Dialect {
    /// ASP.NET Core SignalR in JSON.
    Core,
    /// ASP.NET Core SignalR in MessagePack.
    CoreMessagePack,
    /// ASP.NET SignalR.
    Classic,
    /// Plain text messages. The server sends each message to all clients.
    Plain,
}

/// A server to measure.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Killed when the peer is dropped.
    process: Option<Child>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

pub(crate) fn pinned_command(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CPU]).arg(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(crate) fn start_server(name: &str, dialect: Dialect, port: u16, command: &mut Command) -> Result<Peer> {
    let process = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_until_listening(name, address)?;
    Ok(Peer { name: name.to_owned(), dialect, address, pid: process.id(), process: Some(process) })
}

pub(crate) fn wait_until_listening(name: &str, address: SocketAddr) -> Result<()> {
    let started = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        ensure!(started.elapsed() < RESPONSE_TIMEOUT, "{name} does not listen");
        std::thread::yield_now();
    }
    Ok(())
}

pub(crate) fn build_example(example: &str) -> Result<PathBuf> {
    let status = Command::new(env!("CARGO")).args(["build", "--profile", "dist", "--example", example]).status()?;
    ensure!(status.success(), "the example {example} does not build");
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dist/examples").join(example))
}

pub(crate) fn start_hubcast(dialect: Dialect) -> Result<Peer> {
    let (port, name) = (
        free_port()?,
        match dialect {
            Dialect::Classic => "hubcast, classic",
            Dialect::CoreMessagePack => "hubcast, core, MessagePack",
            Dialect::Core | Dialect::Plain => "hubcast, core",
        },
    );
    start_server(name, dialect, port, pinned_command(&build_example("conformance")?).arg(port.to_string()))
}

pub(crate) const BUN_SCRIPT: &str = r#"
const server = Bun.serve({
  port: Number(process.argv[2]), hostname: "127.0.0.1",
  fetch(request, server) { return server.upgrade(request) ? undefined : new Response("no", { status: 400 }); },
  websocket: { open(socket) { socket.subscribe("room"); }, message(socket, text) { server.publish("room", text); } },
});
"#;

pub(crate) fn start_bun() -> Result<Peer> {
    let folder = std::env::temp_dir().join("hubcast-bench-bun");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("node_modules/.bin/bun");
    if !program.exists() {
        // The install script of the package downloads the binary. Since version 11, npm runs only allowed scripts.
        std::fs::write(folder.join("package.json"), r#"{"private":true,"allowScripts":{"bun":true}}"#)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "bun@1"]).current_dir(&folder);
        ensure!(npm.status()?.success(), "npm cannot install bun");
    }
    std::fs::write(folder.join("server.js"), BUN_SCRIPT)?;
    let port = free_port()?;
    start_server(
        "bun",
        Dialect::Plain,
        port,
        pinned_command(&program).arg(folder.join("server.js")).arg(port.to_string()),
    )
}

/// A server that is already running, given as `DIALECT=HOST:PORT=PID`.
pub(crate) fn external(argument: &str) -> Result<Peer> {
    let parts: Vec<_> = argument.split('=').collect();
    let [dialect, address, pid] = parts[..] else { bail!("not DIALECT=HOST:PORT=PID: {argument}") };
    let dialect = match dialect {
        "core" => Dialect::Core,
        "core-messagepack" => Dialect::CoreMessagePack,
        "classic" => Dialect::Classic,
        _ => bail!("no such dialect: {dialect}"),
    };
    Ok(Peer { name: argument.to_owned(), dialect, address: address.parse()?, pid: pid.parse()?, process: None })
}

/// The CPU time that a process has used, in seconds, including threads that have ended.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The process name in parentheses may contain blanks. User and system time are fields 12 and 13 after it.
    let (_, fields) = stat.rsplit_once(')').context("no process name in stat")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// The resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
