//! Fan-out over sockets: what does one delivery cost the server's processor, and when does it arrive?
//!
//! Learn: how a group of 1,000 is served with 1, 4 and 16 broadcasts in flight, beside another program in
//! the same run. Run: `cargo bench --bench sockets`. See: a table; a ratio is worth more than a figure,
//! since the machine's speed drifts.
//!
//! The server is pinned to one processor, the load to another. The peer is bun's own WebSocket publish,
//! installed with npm into a temporary folder. Others are measured with `-- core=URL=PID` or
//! `classic=URL=PID`, for any server that has hub `chat` with `JoinRoom` and `Send`.

use std::{
    cell::RefCell,
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    task::{LocalSet, spawn_local},
    time::timeout,
};

const MEMBERS: usize = 1000;
const PAYLOAD: usize = 100;
const IN_FLIGHT: [usize; 3] = [1, 4, 16];
const ROUND: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(20);
const SERVER_CPU: &str = "0";
const LOAD_CPU: &str = "1";

/// How a server is talked to.
#[derive(Clone, Copy)]
enum Dialect {
    Core,
    Classic,
    /// Whatever is sent goes to everybody.
    Plain,
}

struct Peer {
    name: String,
    dialect: Dialect,
    address: SocketAddr,
    pid: u32,
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

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CPU]).arg(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn start(name: &str, dialect: Dialect, port: u16, command: &mut Command) -> Result<Peer> {
    let process = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        ensure!(begun.elapsed() < PATIENCE, "{name} does not listen");
        std::thread::yield_now();
    }
    Ok(Peer { name: name.to_owned(), dialect, address, pid: process.id(), process: Some(process) })
}

fn built(example: &str) -> Result<PathBuf> {
    let status = Command::new(env!("CARGO")).args(["build", "--release", "--example", example]).status()?;
    ensure!(status.success(), "the example {example} does not build");
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/examples").join(example))
}

fn hubcast(dialect: Dialect) -> Result<Peer> {
    let (port, name) = (
        free_port()?,
        match dialect {
            Dialect::Classic => "hubcast, classic",
            _ => "hubcast, core",
        },
    );
    start(name, dialect, port, pinned(&built("conformance")?).arg(port.to_string()))
}

const BUN: &str = r#"
const server = Bun.serve({
  port: Number(process.argv[2]), hostname: "127.0.0.1",
  fetch(request, server) { return server.upgrade(request) ? undefined : new Response("no", { status: 400 }); },
  websocket: { open(socket) { socket.subscribe("room"); }, message(socket, text) { server.publish("room", text); } },
});
"#;

fn bun() -> Result<Peer> {
    let folder = std::env::temp_dir().join("hubcast-bench-bun");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("node_modules/.bin/bun");
    if !program.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--allow-scripts=bun", "bun@1"]).current_dir(&folder);
        ensure!(npm.status()?.success(), "npm cannot install bun");
    }
    std::fs::write(folder.join("server.js"), BUN)?;
    let port = free_port()?;
    start("bun", Dialect::Plain, port, pinned(&program).arg(folder.join("server.js")).arg(port.to_string()))
}

fn other(argument: &str) -> Result<Peer> {
    let parts: Vec<_> = argument.split('=').collect();
    let [dialect, address, pid] = parts[..] else { bail!("not DIALECT=HOST:PORT=PID: {argument}") };
    let dialect = match dialect {
        "core" => Dialect::Core,
        "classic" => Dialect::Classic,
        _ => bail!("no such dialect: {dialect}"),
    };
    Ok(Peer { name: argument.to_owned(), dialect, address: address.parse()?, pid: pid.parse()?, process: None })
}

/// Processor time that a process has used, in seconds.
fn cpu(pid: u32) -> Result<f64> {
    let mut total = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedule = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let nanoseconds: f64 = schedule.split(' ').next().unwrap_or_default().parse()?;
        total += nanoseconds / 1e9;
    }
    Ok(total)
}

/// Memory that a process has in use, in KiB.
fn memory(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no memory in use")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

fn masked(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = vec![0x81];
    match u8::try_from(length) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("what is sent here is short").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

impl Client {
    async fn open(address: SocketAddr, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        writer.write_all(request.as_bytes()).await?;
        let mut reader = BufReader::with_capacity(16 * 1024, reader);
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        ensure!(line.contains(" 101 "), "not upgraded: {line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).await?;
        }
        Ok(Self { reader, writer })
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.writer.write_all(&masked(text)).await?)
    }

    async fn receive(&mut self, text: &mut Vec<u8>) -> Result<()> {
        read_frame(&mut self.reader, text).await
    }

    async fn receive_until(&mut self, wanted: &str) -> Result<()> {
        let mut text = Vec::new();
        loop {
            timeout(PATIENCE, self.receive(&mut text)).await.with_context(|| format!("no {wanted}"))??;
            if String::from_utf8_lossy(&text).contains(wanted) {
                return Ok(());
            }
        }
    }
}

async fn read_frame(reader: &mut BufReader<OwnedReadHalf>, text: &mut Vec<u8>) -> Result<()> {
    let mut head = [0; 2];
    reader.read_exact(&mut head).await?;
    let length = match head[1] {
        126 => usize::from(reader.read_u16().await?),
        127 => usize::try_from(reader.read_u64().await?)?,
        short => usize::from(short),
    };
    text.resize(length, 0);
    reader.read_exact(text).await?;
    Ok(())
}

async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

const CLASSIC: &str = "transport=webSockets&clientProtocol=2.0&connectionData=%5B%7B%22name%22%3A%22chat%22%7D%5D";

async fn classic(address: SocketAddr) -> Result<Client> {
    let negotiated = get(address, &format!("/signalr/negotiate?{CLASSIC}")).await?;
    let token = negotiated
        .split(r#""ConnectionToken":""#)
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .context("no token")?;
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let mut client = Client::open(address, &format!("/signalr/connect?{CLASSIC}&connectionToken={token}")).await?;
    client.receive_until(r#""S":1"#).await?;
    get(address, &format!("/signalr/start?{CLASSIC}&connectionToken={token}")).await?;
    client.send(r#"{"H":"chat","M":"JoinRoom","A":["room"],"I":0}"#).await?;
    client.receive_until(r#""I":"0""#).await?;
    Ok(client)
}

async fn member(peer: &Peer) -> Result<Client> {
    match peer.dialect {
        Dialect::Plain => Client::open(peer.address, "/").await,
        Dialect::Classic => classic(peer.address).await,
        Dialect::Core => {
            let mut client = Client::open(peer.address, "/chat?user=somebody").await?;
            client.send("{\"protocol\":\"json\",\"version\":1}\x1e").await?;
            let join = "{\"type\":1,\"invocationId\":\"0\",\"target\":\"JoinRoom\",\"arguments\":[\"room\"]}\x1e";
            client.send(join).await?;
            client.receive_until(r#""invocationId":"0""#).await?;
            Ok(client)
        }
    }
}

fn broadcast(dialect: Dialect, number: usize) -> String {
    let mut text = format!("#{number:08}");
    while text.len() < PAYLOAD {
        text.push('x');
    }
    match dialect {
        Dialect::Plain => text,
        Dialect::Core => format!("{{\"type\":1,\"target\":\"Send\",\"arguments\":[\"room\",\"{text}\"]}}\x1e"),
        Dialect::Classic => format!(r#"{{"H":"chat","M":"Send","A":["room","{text}"],"I":1}}"#),
    }
}

/// What is under way, and what has arrived.
struct Board {
    sent: Vec<Instant>,
    left: Vec<usize>,
    latencies: Vec<u32>,
    finished: usize,
}

impl Board {
    /// Enters one more broadcast, unless so many are under way.
    fn begin(&mut self, in_flight: usize) -> Option<usize> {
        let number = self.sent.len();
        if number - self.finished >= in_flight {
            return None;
        }
        self.sent.push(Instant::now());
        self.left.push(MEMBERS);
        Some(number)
    }
}

async fn listen(mut reader: BufReader<OwnedReadHalf>, board: Rc<RefCell<Board>>, changed: Rc<Notify>) -> Result<()> {
    let mut text = Vec::new();
    loop {
        read_frame(&mut reader, &mut text).await?;
        let now = Instant::now();
        for at in memchr::memchr_iter(b'#', &text) {
            let number: usize = std::str::from_utf8(&text[at + 1..at + 9])?.parse()?;
            let mut board = board.borrow_mut();
            let latency = now - board.sent[number];
            board.latencies.push(u32::try_from(latency.as_micros())?);
            board.left[number] -= 1;
            if board.left[number] == 0 {
                board.finished += 1;
                changed.notify_one();
            }
        }
    }
}

async fn drive(
    peer: &Peer,
    sender: &mut OwnedWriteHalf,
    board: &Rc<RefCell<Board>>,
    changed: &Notify,
    in_flight: usize,
    time: Duration,
) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        while Instant::now() < end {
            let Some(number) = board.borrow_mut().begin(in_flight) else { break };
            sender.write_all(&masked(&broadcast(peer.dialect, number))).await?;
        }
        let (sent, finished) = {
            let board = board.borrow();
            (board.sent.len(), board.finished)
        };
        if sent == finished {
            return Ok(());
        }
        timeout(PATIENCE, changed.notified()).await.context("deliveries are missing")?;
    }
}

struct Row {
    per_delivery: f64,
    p50: u32,
    p99: u32,
    deliveries: usize,
}

/// The rows of the table, and the memory of an idle member in KiB.
async fn measure(peer: &Peer) -> Result<(Vec<Row>, f64)> {
    let board = Rc::new(RefCell::new(Board { sent: Vec::new(), left: Vec::new(), latencies: Vec::new(), finished: 0 }));
    let changed = Rc::new(Notify::new());
    let mut keep = Vec::new();
    // The first client pays for what is made once.
    drop(member(peer).await?);
    let before = memory(peer.pid)?;
    for _ in 0..MEMBERS {
        let Client { reader, writer } = member(peer).await?;
        keep.push(writer);
        spawn_local(listen(reader, Rc::clone(&board), Rc::clone(&changed)));
    }
    let idle = (memory(peer.pid)? - before) / MEMBERS as f64;
    let mut sender = sender(peer).await?;
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        drive(peer, &mut sender, &board, &changed, in_flight, ROUND / 5).await?;
        board.borrow_mut().latencies.clear();
        let before = cpu(peer.pid)?;
        drive(peer, &mut sender, &board, &changed, in_flight, ROUND).await?;
        let used = cpu(peer.pid)? - before;
        let mut latencies = std::mem::take(&mut board.borrow_mut().latencies);
        latencies.sort_unstable();
        let at = |share: usize| latencies[(latencies.len() - 1) * share / 100];
        rows.push(Row {
            per_delivery: used * 1e6 / latencies.len() as f64,
            p50: at(50),
            p99: at(99),
            deliveries: latencies.len(),
        });
    }
    Ok((rows, idle))
}

/// Somebody who sends; what comes for it is read and thrown away. On a server that sends everything to
/// everybody it is one more member, which is a thousandth of the cost.
async fn sender(peer: &Peer) -> Result<OwnedWriteHalf> {
    let mut client = member(peer).await?;
    match peer.dialect {
        Dialect::Plain => {}
        Dialect::Core => client.send("{\"type\":1,\"target\":\"LeaveRoom\",\"arguments\":[\"room\"]}\x1e").await?,
        Dialect::Classic => client.send(r#"{"H":"chat","M":"LeaveRoom","A":["room"],"I":2}"#).await?,
    }
    let Client { mut reader, writer } = client;
    spawn_local(async move {
        let mut text = Vec::new();
        while read_frame(&mut reader, &mut text).await.is_ok() {}
    });
    Ok(writer)
}

fn main() -> Result<()> {
    let _ =
        Command::new("taskset").args(["-cp", LOAD_CPU, &std::process::id().to_string()]).stdout(Stdio::null()).status();
    let others: Vec<_> = std::env::args().skip(1).filter(|argument| argument.contains('=')).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = String::from(
        "| server | broadcasts in flight | µs of processor per delivery | p50 ms | p99 ms | deliveries | KiB per idle client |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let is_only = std::env::args().any(|argument| argument == "only");
    let mut peers: Vec<Box<dyn FnOnce() -> Result<Peer>>> = Vec::new();
    if !is_only {
        peers.push(Box::new(|| hubcast(Dialect::Core)));
        peers.push(Box::new(|| hubcast(Dialect::Classic)));
    }
    peers.push(Box::new(bun));
    peers.extend(
        others.into_iter().map(|argument| Box::new(move || other(&argument)) as Box<dyn FnOnce() -> Result<Peer>>),
    );
    for peer in peers {
        let peer = peer()?;
        let (rows, idle) = LocalSet::new().block_on(&runtime, measure(&peer))?;
        for (row, in_flight) in rows.iter().zip(IN_FLIGHT) {
            let millis = |micros: u32| f64::from(micros) / 1000.0;
            writeln!(
                table,
                "| {} | {in_flight} | {:.2} | {:.1} | {:.1} | {} | {idle:.1} |",
                peer.name,
                row.per_delivery,
                millis(row.p50),
                millis(row.p99),
                row.deliveries
            )?;
        }
    }
    #[expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
    {
        println!("{table}");
    }
    Ok(())
}
