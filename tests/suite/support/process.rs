//! The service as a process of its own, which can be killed.

use std::{net::SocketAddr, path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::within;

/// The service, with its data in a directory of the test's. It is killed when this is dropped.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    /// Kept open: a service whose output nobody takes could not write it.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the service on free ports.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_at(data, "127.0.0.1:0").await
    }

    /// Starts the service where its clients expect it.
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
        let address = address_in(&mut output, "the hub chat").await;
        Self { address, child, _output: output }
    }

    /// How much memory the service occupies, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Ends the service in the middle of whatever it does.
    pub(crate) async fn kill(mut self) {
        within(self.child.kill()).await.unwrap();
    }

    /// Kills the service and starts it again over the same data, at the same place.
    pub(crate) async fn kill_and_restart(self, data: &Path) -> Self {
        let listen = self.address.to_string();
        self.kill().await;
        Self::start_at(data, &listen).await
    }
}

/// The address in the line of the welcome that begins with `label`.
async fn address_in(output: &mut Lines<BufReader<ChildStdout>>, label: &str) -> SocketAddr {
    loop {
        let line = within(output.next_line()).await.unwrap().expect("the service welcomes whoever starts it");
        if let Some(rest) = line.trim_start().strip_prefix(label) {
            let url = rest.trim_start().strip_prefix("http://").unwrap();
            return url.split('/').next().unwrap().parse().unwrap();
        }
    }
}
