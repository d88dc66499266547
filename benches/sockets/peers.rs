//! The servers that are compared, and what they use.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

const SERVER_CPU: &str = "0";

/// In how many ticks of a second Linux tells the time of processes, on every machine.
const TICKS: f64 = 100.0;

/// How long a server may take to begin, and a delivery to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How a server is talked to.
#[derive(Clone, Copy)]
pub(crate) enum Dialect {
    Core,
    Classic,
    /// Whatever is sent goes to everybody.
    Plain,
}

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

pub(crate) fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CPU]).arg(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(crate) fn start(name: &str, dialect: Dialect, port: u16, command: &mut Command) -> Result<Peer> {
    let process = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        ensure!(begun.elapsed() < PATIENCE, "{name} does not listen");
        std::thread::yield_now();
    }
    Ok(Peer { name: name.to_owned(), dialect, address, pid: process.id(), process: Some(process) })
}

pub(crate) fn built(example: &str) -> Result<PathBuf> {
    let status = Command::new(env!("CARGO")).args(["build", "--release", "--example", example]).status()?;
    ensure!(status.success(), "the example {example} does not build");
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/examples").join(example))
}

pub(crate) fn hubcast(dialect: Dialect) -> Result<Peer> {
    let (port, name) = (
        free_port()?,
        match dialect {
            Dialect::Classic => "hubcast, classic",
            _ => "hubcast, core",
        },
    );
    start(name, dialect, port, pinned(&built("conformance")?).arg(port.to_string()))
}

pub(crate) const BUN: &str = r#"
const server = Bun.serve({
  port: Number(process.argv[2]), hostname: "127.0.0.1",
  fetch(request, server) { return server.upgrade(request) ? undefined : new Response("no", { status: 400 }); },
  websocket: { open(socket) { socket.subscribe("room"); }, message(socket, text) { server.publish("room", text); } },
});
"#;

pub(crate) fn bun() -> Result<Peer> {
    let folder = std::env::temp_dir().join("hubcast-bench-bun");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("node_modules/.bin/bun");
    if !program.exists() {
        // Its script puts the program in its place; npm asks for permission since version 11.
        std::fs::write(folder.join("package.json"), r#"{"private":true,"allowScripts":{"bun":true}}"#)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "bun@1"]).current_dir(&folder);
        ensure!(npm.status()?.success(), "npm cannot install bun");
    }
    std::fs::write(folder.join("server.js"), BUN)?;
    let port = free_port()?;
    start("bun", Dialect::Plain, port, pinned(&program).arg(folder.join("server.js")).arg(port.to_string()))
}

pub(crate) fn other(argument: &str) -> Result<Peer> {
    let parts: Vec<_> = argument.split('=').collect();
    let [dialect, address, pid] = parts[..] else { bail!("not DIALECT=HOST:PORT=PID: {argument}") };
    let dialect = match dialect {
        "core" => Dialect::Core,
        "classic" => Dialect::Classic,
        _ => bail!("no such dialect: {dialect}"),
    };
    Ok(Peer { name: argument.to_owned(), dialect, address: address.parse()?, pid: pid.parse()?, process: None })
}

/// Processor time that a process has used, in seconds, threads that have gone included.
pub(crate) fn cpu(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before the parenthesis may hold blanks; user and system time are the 12th and 13th behind it.
    let (_, behind) = stat.rsplit_once(')').context("a process has a name")?;
    let ticks: Vec<f64> = behind.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

/// Memory that a process has in use, in KiB.
pub(crate) fn memory(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no memory in use")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
