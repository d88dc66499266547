//! The service as a separate process that a test can kill.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

use super::{Certificate, http_request, send_signal, with_timeout};

/// The service with its data in a directory of the test. Dropping this kills the process.
pub(crate) struct ServiceProcess {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    data: PathBuf,
    child: Child,
    log: Option<Lines<BufReader<ChildStderr>>>,
    /// Kept open, because the service could not write to a closed pipe.
    _output: Lines<BufReader<ChildStdout>>,
}

impl ServiceProcess {
    /// Starts the service on free ports.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_at(data, "127.0.0.1:0").await
    }

    /// Starts the service at a given address.
    pub(crate) async fn start_at(data: &Path, listen: &str) -> Self {
        Self::start_at_with(data, listen, &[]).await
    }

    /// Starts the service on free ports, with more settings in its environment.
    pub(crate) async fn start_with(data: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_at_with(data, "127.0.0.1:0", environment).await
    }

    async fn start_at_with(data: &Path, listen: &str, environment: &[(&str, &str)]) -> Self {
        Self::spawn(command(data, listen).env("RUST_LOG", "error").envs(environment.iter().copied())).await
    }

    /// Starts the service with its log piped to the test. `filter` is the value of `RUST_LOG`, if it is set.
    pub(crate) async fn start_logged(data: &Path, filter: Option<&str>) -> Self {
        let mut command = command(data, "127.0.0.1:0");
        command.env_remove("RUST_LOG").envs(filter.map(|filter| ("RUST_LOG", filter))).stderr(Stdio::piped());
        Self::spawn(&mut command).await
    }

    /// Starts the service with TLS.
    pub(crate) async fn start_with_tls(data: &Path, certificate: &Certificate) -> Self {
        let (chain, key) = (certificate.certificate_file(), certificate.key_file());
        let (chain, key) = (chain.to_str().unwrap(), key.to_str().unwrap());
        Self::start_with(data, &[("HUBCAST_TLS__CERTIFICATE", chain), ("HUBCAST_TLS__KEY", key)]).await
    }

    /// Runs a service that cannot start. Returns its exit code and its log.
    pub(crate) async fn run_to_end(data: &Path, environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut command = command(data, "127.0.0.1:0");
        command.env("RUST_LOG", "error").envs(environment.iter().copied()).kill_on_drop(true);
        let output = with_timeout(command.output()).await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    async fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let log = child.stderr.take().map(|log| BufReader::new(log).lines());
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = read_address(&mut output, "hub chat (ASP.NET Core SignalR)").await;
        let admin = read_address(&mut output, "admin ").await;
        let data = command.as_std().get_current_dir().expect("it is the data directory").to_owned();
        Self { address, admin, data, child, log, _output: output }
    }

    /// The answer of the admin interface.
    pub(crate) async fn admin_json(&self, path: &str) -> Value {
        let token = std::fs::read_to_string(self.data.join("admin-token")).unwrap();
        let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
        http_request(self.admin, &format!("GET {path}"), &bearer).await.json()
    }

    /// Whether the service can serve new clients.
    pub(crate) async fn is_ready(&self) -> bool {
        http_request(self.admin, "GET /healthz/ready", "").await.status == 200
    }

    /// The resident memory of the process, in bytes.
    pub(crate) fn resident_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    /// The next line of the log that contains `text`.
    pub(crate) async fn log_line(&mut self, text: &str) -> String {
        let log = self.log.as_mut().expect("the log is piped");
        loop {
            let line = with_timeout(log.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("the log ends without `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) async fn signal(&self, name: &str) {
        send_signal(&self.child, name).await;
    }

    /// Stops the service by SIGTERM. Returns its exit code and the rest of its log.
    pub(crate) async fn stop(mut self) -> (Option<i32>, Vec<String>) {
        self.signal("TERM").await;
        let mut lines = Vec::new();
        if let Some(log) = &mut self.log {
            while let Some(line) = with_timeout(log.next_line()).await.unwrap() {
                lines.push(line);
            }
        }
        (with_timeout(self.child.wait()).await.unwrap().code(), lines)
    }

    /// Kills the process with SIGKILL.
    pub(crate) async fn kill(mut self) {
        with_timeout(self.child.kill()).await.unwrap();
    }

    /// Kills the service and starts it again with the same data and address.
    pub(crate) async fn kill_and_restart(self, data: &Path) -> Self {
        self.kill_and_restart_with(data, &[]).await
    }

    /// As [`Self::kill_and_restart`], with more settings in the environment.
    pub(crate) async fn kill_and_restart_with(self, data: &Path, environment: &[(&str, &str)]) -> Self {
        let listen = self.address.to_string();
        self.kill().await;
        Self::start_at_with(data, &listen, environment).await
    }
}

fn command(data: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubcast"));
    command
        .args(["--listen", listen, "--admin-listen", "127.0.0.1:0", "--workers", "2", "--data-dir"])
        .arg(data)
        .current_dir(data);
    command
}

/// Reads the startup message up to the line that begins with `label`, and returns the address in it.
async fn read_address(output: &mut Lines<BufReader<ChildStdout>>, label: &str) -> SocketAddr {
    loop {
        let line = with_timeout(output.next_line()).await.unwrap().expect("the service prints its addresses");
        if let Some(rest) = line.trim_start().strip_prefix(label) {
            let address = rest.split('/').nth(2).unwrap_or_else(|| panic!("no URL in: {line}"));
            return address.parse().unwrap();
        }
    }
}
