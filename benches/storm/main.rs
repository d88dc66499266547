//! Reconnect storm: all users with durable groups connect at once, while established members exchange messages.
//!
//! Run it with `cargo bench --bench storm`. It starts the service on SQLite, then on PostgreSQL, and stores 10,000 users
//! with 10 durable groups each. It prints the queries for each 100 connections, the duration of the storm, and the delay of
//! messages between established members when idle and during the storm. `-- USERS` changes the number of users, and
//! `-- USERS PROGRAM` measures another build of the service.
//!
//! The clients of the storm run at a lower priority than the service and the established members. Compare the ratio of the
//! delays, not the delays.

#[path = "../sockets/client.rs"]
mod client;
mod established;
#[expect(dead_code, reason = "`sockets` uses the rest")]
#[path = "../sockets/peers.rs"]
mod peers;
mod service;
mod users;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use established::{Delays, Established};
use hubcast_fixtures::databases::DatabaseServer;
use service::Service;
use tokio::{task::LocalSet, time::sleep};

const DEFAULT_USERS: usize = 10_000;
const IDLE_DURATION: Duration = Duration::from_secs(5);

/// The first argument of the process that connects the users.
const CONNECT: &str = "--connect";

/// The figures of one storm.
struct Figures {
    idle: Delays,
    storm: Delays,
    duration: Duration,
    queries: u64,
}

/// Connects all users in a process of lower priority, and waits until each has its groups.
async fn run_storm(service: &Service, users: usize) -> Result<(std::process::Child, Duration)> {
    let started = Instant::now();
    let mut clients = Command::new("nice")
        .args(["-n", "10"])
        .arg(std::env::current_exe()?)
        .args([CONNECT, &service.address.to_string(), &users.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = clients.stdout.take().context("the output of the clients is piped")?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map(|_| line)
    });
    let line = line.await??;
    ensure!(line == users::CONNECTED, "the clients failed: {line}");
    Ok((clients, started.elapsed()))
}

async fn measure(program: &Path, store_url: Option<&str>, users: usize) -> Result<Figures> {
    let service = Service::start(program, store_url).await?;
    service.store_memberships(users).await?;
    let established = Established::connect(service.address).await?;
    established.take_delays();
    sleep(IDLE_DURATION).await;
    let idle = established.take_delays();
    let before = service.loads().await?;
    let (mut clients, duration) = run_storm(&service, users).await?;
    let storm = established.take_delays();
    let queries = service.loads().await? - before;
    clients.kill()?;
    clients.wait()?;
    Ok(Figures { idle, storm, duration, queries })
}

#[expect(clippy::print_stdout, reason = "the table is the output of the benchmark")]
fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let [CONNECT, address, users] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return LocalSet::new().block_on(&runtime, users::connect(address.parse()?, users.parse()?));
    }
    let users = arguments.first().map_or(Ok(DEFAULT_USERS), |users| users.parse())?;
    let program = arguments.get(1).map_or_else(service::build, |program| Ok(program.into()))?;
    println!(
        "| store | users | s | queries for 100 connections | idle p50 ms | p99 | storm p50 ms | p99 | p99 ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let postgres = DatabaseServer::postgres();
    for (name, store_url) in [("SQLite", None), ("PostgreSQL", Some(postgres.new_database()))] {
        let Figures { idle, storm, duration, queries } =
            LocalSet::new().block_on(&runtime, measure(&program, store_url.as_deref(), users))?;
        println!(
            "| {name} | {users} | {:.1} | {:.2} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |",
            duration.as_secs_f64(),
            queries as f64 * 100.0 / users as f64,
            idle.percentile(50),
            idle.percentile(99),
            storm.percentile(50),
            storm.percentile(99),
            storm.percentile(99) / idle.percentile(99),
        );
    }
    Ok(())
}
