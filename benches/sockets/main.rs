//! Fan-out over sockets: what does one delivery cost the server's processor, and when does it arrive?
//!
//! Learn: how a group of 1,000 is served with 1, 4 and 16 broadcasts in flight, beside another program in
//! the same run. Run: `cargo bench --bench sockets`. See: a table; a ratio is worth more than a figure,
//! since the machine's speed drifts.
//!
//! The server is pinned to one processor, the load to another. The peer is bun's own WebSocket publish,
//! installed with npm into a temporary folder. Others are measured with `-- core=URL=PID` or
//! `classic=URL=PID`, for any server that has hub `chat` with `JoinRoom` and `Send`.

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
use client::{Client, masked, member, read_frame, sender};
use peers::{Dialect, PATIENCE, Peer, bun, cpu, hubcast, memory, other};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::Notify,
    task::{LocalSet, spawn_local},
    time::timeout,
};

const MEMBERS: usize = 1000;
const PAYLOAD: usize = 100;
const IN_FLIGHT: [usize; 3] = [1, 4, 16];
const ROUND: Duration = Duration::from_secs(5);
const LOAD_CPU: &str = "1";

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
