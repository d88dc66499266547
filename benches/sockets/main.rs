//! Fan-out benchmark over sockets: the server's CPU time for each delivery, and the latency of deliveries.
//!
//! It broadcasts to a group of 1,000 members with 1, 4 and 16 broadcasts in flight, and measures other servers in the
//! same run. Run it with `cargo bench --bench sockets`. It prints a table. Compare the ratios of servers rather than
//! absolute numbers, since the speed of the machine drifts.
//!
//! The server is pinned to one CPU and the load generator to another. The reference is the WebSocket publish of bun,
//! which npm installs into a temporary folder. Pass `-- DIALECT=HOST:PORT=PID`, with `core`, `core-messagepack` or
//! `classic`, to measure any other server that has the hub `chat` with the methods `JoinRoom`, `LeaveRoom` and `Send`.
//! Add `only` to skip hubcast itself.

mod client;
mod peers;

use std::{
    cell::RefCell,
    fmt::Write as _,
    process::{Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use client::{Client, connect_member, connect_sender, masked_invocation_frame, masked_text_frame, read_frame};
use peers::{Dialect, Peer, RESPONSE_TIMEOUT, cpu_seconds, external, resident_kib, start_bun, start_hubcast};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::Notify,
    task::{LocalSet, spawn_local},
    time::timeout,
};

const MEMBERS: usize = 1000;
const PAYLOAD_BYTES: usize = 100;
const IN_FLIGHT: [usize; 3] = [1, 4, 16];
const ROUND_DURATION: Duration = Duration::from_secs(5);
const LOAD_CPU: &str = "1";

/// The WebSocket frame that asks a server for a broadcast.
fn broadcast(dialect: Dialect, number: usize) -> Result<Vec<u8>> {
    let mut text = format!("#{number:08}");
    while text.len() < PAYLOAD_BYTES {
        text.push('x');
    }
    let message = match dialect {
        Dialect::Plain => text,
        Dialect::Core => format!("{{\"type\":1,\"target\":\"Send\",\"arguments\":[\"room\",\"{text}\"]}}\x1e"),
        Dialect::CoreMessagePack => return masked_invocation_frame(None, "Send", &["room", &text]),
        Dialect::Classic => format!(r#"{{"H":"chat","M":"Send","A":["room","{text}"],"I":1}}"#),
    };
    Ok(masked_text_frame(&message))
}

/// The state of all broadcasts, by their numbers.
struct Progress {
    sent: Vec<Instant>,
    /// The number of members that have not received the broadcast yet.
    remaining: Vec<usize>,
    /// The latencies of all deliveries, in microseconds.
    latencies: Vec<u32>,
    /// The number of broadcasts that all members have received.
    finished: usize,
}

impl Progress {
    /// Records a new broadcast and returns its number, unless `in_flight` broadcasts are unfinished.
    fn begin(&mut self, in_flight: usize) -> Option<usize> {
        let number = self.sent.len();
        if number - self.finished >= in_flight {
            return None;
        }
        self.sent.push(Instant::now());
        self.remaining.push(MEMBERS);
        Some(number)
    }
}

async fn receive_deliveries(
    mut reader: BufReader<OwnedReadHalf>,
    progress: Rc<RefCell<Progress>>,
    changed: Rc<Notify>,
) -> Result<()> {
    let mut text = Vec::new();
    loop {
        read_frame(&mut reader, &mut text).await?;
        let now = Instant::now();
        for position in memchr::memchr_iter(b'#', &text) {
            let number: usize = std::str::from_utf8(&text[position + 1..position + 9])?.parse()?;
            let mut progress = progress.borrow_mut();
            let latency = now - progress.sent[number];
            progress.latencies.push(u32::try_from(latency.as_micros())?);
            progress.remaining[number] -= 1;
            if progress.remaining[number] == 0 {
                progress.finished += 1;
                changed.notify_one();
            }
        }
    }
}

async fn run_broadcasts(
    peer: &Peer,
    sender: &mut OwnedWriteHalf,
    progress: &Rc<RefCell<Progress>>,
    changed: &Notify,
    in_flight: usize,
    duration: Duration,
) -> Result<()> {
    let end = Instant::now() + duration;
    loop {
        while Instant::now() < end {
            let Some(number) = progress.borrow_mut().begin(in_flight) else { break };
            sender.write_all(&broadcast(peer.dialect, number)?).await?;
        }
        let (sent, finished) = {
            let progress = progress.borrow();
            (progress.sent.len(), progress.finished)
        };
        if sent == finished {
            return Ok(());
        }
        timeout(RESPONSE_TIMEOUT, changed.notified()).await.context("deliveries are missing")?;
    }
}

/// One row of the table.
struct Row {
    /// CPU time in microseconds.
    per_delivery: f64,
    /// Latency percentiles in microseconds.
    p50: u32,
    p99: u32,
    deliveries: usize,
}

/// Measures a server. Returns the rows of the table and the memory for an idle member in KiB.
async fn measure(peer: &Peer) -> Result<(Vec<Row>, f64)> {
    let progress =
        Rc::new(RefCell::new(Progress { sent: Vec::new(), remaining: Vec::new(), latencies: Vec::new(), finished: 0 }));
    let changed = Rc::new(Notify::new());
    // Keeps the sockets of the members open.
    let mut writers = Vec::new();
    // Connect one client before measuring, so that one-time allocations are not counted.
    drop(connect_member(peer.dialect, peer.address).await?);
    let before = resident_kib(peer.pid)?;
    for _ in 0..MEMBERS {
        let Client { reader, writer } = connect_member(peer.dialect, peer.address).await?;
        writers.push(writer);
        spawn_local(receive_deliveries(reader, Rc::clone(&progress), Rc::clone(&changed)));
    }
    let idle = (resident_kib(peer.pid)? - before) / MEMBERS as f64;
    let mut sender = connect_sender(peer.dialect, peer.address).await?;
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        run_broadcasts(peer, &mut sender, &progress, &changed, in_flight, ROUND_DURATION / 5).await?;
        progress.borrow_mut().latencies.clear();
        let before = cpu_seconds(peer.pid)?;
        run_broadcasts(peer, &mut sender, &progress, &changed, in_flight, ROUND_DURATION).await?;
        let used = cpu_seconds(peer.pid)? - before;
        let mut latencies = std::mem::take(&mut progress.borrow_mut().latencies);
        latencies.sort_unstable();
        let percentile = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        rows.push(Row {
            per_delivery: used * 1e6 / latencies.len() as f64,
            p50: percentile(50),
            p99: percentile(99),
            deliveries: latencies.len(),
        });
    }
    Ok((rows, idle))
}

fn main() -> Result<()> {
    let _ =
        Command::new("taskset").args(["-cp", LOAD_CPU, &std::process::id().to_string()]).stdout(Stdio::null()).status();
    let external_servers: Vec<_> = std::env::args().skip(1).filter(|argument| argument.contains('=')).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = String::from(
        "| server | broadcasts in flight | µs of processor per delivery | p50 ms | p99 ms | deliveries | KiB per idle client |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let is_only = std::env::args().any(|argument| argument == "only");
    let mut peers: Vec<Box<dyn FnOnce() -> Result<Peer>>> = Vec::new();
    if !is_only {
        peers.push(Box::new(|| start_hubcast(Dialect::Core)));
        peers.push(Box::new(|| start_hubcast(Dialect::CoreMessagePack)));
        peers.push(Box::new(|| start_hubcast(Dialect::Classic)));
    }
    peers.push(Box::new(start_bun));
    peers.extend(
        external_servers
            .into_iter()
            .map(|argument| Box::new(move || external(&argument)) as Box<dyn FnOnce() -> Result<Peer>>),
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
    #[expect(clippy::print_stdout, reason = "the table is the output of the benchmark")]
    {
        println!("{table}");
    }
    Ok(())
}
