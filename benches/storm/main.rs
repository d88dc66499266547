//! Reconnect storm: all users with durable groups connect again at once, while established members exchange messages.
//!
//! Run it with `cargo bench --bench storm`. It starts the service on SQLite, then on PostgreSQL, and stores 10,000 users
//! with 10 durable groups each. The users connect, get rejoin tokens, and disconnect. Then all present their tokens at once;
//! that is repeated. For each storm and for all together, it prints the calls of the store for each 100 connections, the
//! duration, and the delay of messages between established members when idle and during the storm. `-- USERS` changes the
//! number of users, and `-- USERS PROGRAM` measures another build of the service.
//!
//! The service and the established members run in the real-time class of the kernel, and the clients of the storm and
//! PostgreSQL in the idle class (`chrt`), because the latter would run on other machines. In the ordinary class on few
//! processors, the benchmark would measure how long a thread waits for a processor: several time slices of 4 ms. Without
//! the permission for the real-time class (`CAP_SYS_NICE`), it prints a warning and measures that too. Compare the ratio of
//! the delays, not the delays.

#[path = "../sockets/client.rs"]
mod client;
mod established;
#[expect(dead_code, reason = "`sockets` uses the rest")]
#[path = "../sockets/peers.rs"]
mod peers;
mod service;
mod users;

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use established::{Delays, Established};
use hubcast_fixtures::databases::DatabaseServer;
use service::{Calls, Service};
use tokio::{task::LocalSet, time::sleep};

const DEFAULT_USERS: usize = 10_000;
/// The number of storms for each store. The seven slowest messages of a single one decide its p99.
const STORMS: usize = 5;

const IDLE_DURATION: Duration = Duration::from_secs(5);

/// The first argument of the process that connects the users.
const CONNECT: &str = "--connect";

/// Moves this process, and those that it starts from now on, to the real-time class.
#[expect(clippy::print_stderr, reason = "it is the output of the benchmark")]
fn use_real_time_class() -> Result<()> {
    let status = Command::new("chrt").args(["--rr", "--pid", "1", &std::process::id().to_string()]).status()?;
    if !status.success() {
        eprintln!("no permission for the real-time class: the delays include those of the kernel's scheduler");
    }
    Ok(())
}

/// The figures of one storm or several.
#[derive(Default)]
struct Figures {
    storms: usize,
    idle: Delays,
    storm: Delays,
    duration: Duration,
    /// Calls of the store that load durable groups or redeem rejoin tokens.
    calls: Calls,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.storms += other.storms;
        self.idle.extend(&other.idle);
        self.storm.extend(&other.storm);
        self.duration += other.duration;
        self.calls += other.calls;
    }

    #[expect(clippy::print_stdout, reason = "the table is the output of the benchmark")]
    fn print(&self, store: &str) {
        let Self { storms, idle, storm, duration, calls } = self;
        let for_100_users = |calls: u64| calls as f64 * 100.0 / self.calls.accepted as f64;
        println!(
            "| {store} | {storms} | {:.1} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |",
            duration.as_secs_f64() / *storms as f64,
            for_100_users(calls.loads),
            for_100_users(calls.redemptions),
            idle.percentile(50),
            idle.percentile(99),
            storm.percentile(50),
            storm.percentile(99),
            storm.percentile(99) / idle.percentile(99),
        );
    }
}

/// The process of the clients.
struct Users {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Users {
    fn start(address: SocketAddr, users: usize) -> Result<Self> {
        let mut process = Command::new("chrt")
            .args(["--idle", "0"])
            .arg(std::env::current_exe()?)
            .args([CONNECT, &address.to_string(), &users.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(process.stdout.take().context("it is piped")?);
        Ok(Self { process, output })
    }

    /// Starts the next step of the clients.
    fn continue_steps(&mut self) -> Result<()> {
        Ok(self.process.stdin.as_mut().context("it is piped")?.write_all(b"\n")?)
    }

    /// Waits until the clients have done a step.
    async fn wait(mut self) -> Result<Self> {
        let wait = move || {
            let mut line = String::new();
            let read = self.output.read_line(&mut line);
            read.map(|_| (self, line))
        };
        let (this, line) = tokio::task::spawn_blocking(wait).await??;
        ensure!(line == "\n", "the clients failed: {line}");
        Ok(this)
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn measure(store: &str, program: &Path, store_url: Option<&str>, count: usize) -> Result<()> {
    let service = Service::start(program, store_url).await?;
    service.store_memberships(count).await?;
    let mut users = Users::start(service.address, count)?.wait().await?;
    let established = Established::connect(service.address).await?;
    let mut all = Figures::default();
    for _ in 0..STORMS {
        users.continue_steps()?;
        users = users.wait().await?;
        service.wait_until_left(established::CONNECTIONS).await?;
        established.take_delays();
        sleep(IDLE_DURATION).await;
        let idle = established.take_delays();
        let (before, started) = (service.calls().await?, Instant::now());
        users.continue_steps()?;
        users = users.wait().await?;
        let (duration, storm) = (started.elapsed(), established.take_delays());
        let calls = service.calls().await? - before;
        ensure!(calls.accepted == count as u64, "{} rejoin tokens were accepted", calls.accepted);
        let figures = Figures { storms: 1, idle, storm, duration, calls };
        figures.print(store);
        all.add(&figures);
    }
    all.print(store);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is the output of the benchmark")]
fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let [CONNECT, address, users] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return LocalSet::new().block_on(&runtime, users::run(address.parse()?, users.parse()?));
    }
    let users = arguments.first().map_or(Ok(DEFAULT_USERS), |users| users.parse())?;
    let program = arguments.get(1).map_or_else(service::build, |program| Ok(program.into()))?;
    println!(
        "| store | storms | s | loads for 100 users | redemptions | idle p50 ms | p99 | storm p50 ms | p99 | p99 ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let postgres = DatabaseServer::postgres();
    postgres.process.run_when_idle();
    use_real_time_class()?;
    for (name, store_url) in [("SQLite", None), ("PostgreSQL", Some(postgres.new_database()))] {
        LocalSet::new().block_on(&runtime, measure(name, &program, store_url.as_deref(), users))?;
    }
    Ok(())
}
