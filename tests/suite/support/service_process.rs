//! The service as a separate process that a test can kill.

use std::{net::SocketAddr, path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::with_timeout;

/// The service with its data in a directory of the test. Dropping this kills the process.
pub(crate) struct ServiceProcess {
    pub(crate) address: SocketAddr,
    child: Child,
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
        let mut child = Command::new(env!("CARGO_BIN_EXE_hubcast"))
            .args(["--listen", listen, "--admin-listen", "127.0.0.1:0", "--workers", "2", "--data-dir"])
            .arg(data)
            .current_dir(data)
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = read_address(&mut output, "hub chat (ASP.NET Core SignalR)").await;
        Self { address, child, _output: output }
    }

    /// The resident memory of the process, in bytes.
    pub(crate) fn resident_memory(&self) -> usize {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Kills the process with SIGKILL.
    pub(crate) async fn kill(mut self) {
        with_timeout(self.child.kill()).await.unwrap();
    }

    /// Kills the service and starts it again with the same data and address.
    pub(crate) async fn kill_and_restart(self, data: &Path) -> Self {
        let listen = self.address.to_string();
        self.kill().await;
        Self::start_at(data, &listen).await
    }
}

/// Reads the startup message up to the line that begins with `label`, and returns the address in it.
async fn read_address(output: &mut Lines<BufReader<ChildStdout>>, label: &str) -> SocketAddr {
    loop {
        let line = with_timeout(output.next_line()).await.unwrap().expect("the service prints its addresses");
        if let Some(rest) = line.trim_start().strip_prefix(label) {
            let url = rest.trim_start().strip_prefix("http://").unwrap();
            return url.split('/').next().unwrap().parse().unwrap();
        }
    }
}
