//! Third-party clients: scripts in `tests/clients`, each of which runs a scenario by name.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{TEST_TIMEOUT, with_timeout};

/// The time limit of one step of a scenario. Some steps start a browser.
const STEP_TIMEOUT: Duration = TEST_TIMEOUT.saturating_mul(4);

/// The folder into which `tests/run` installs the packages of the scripts.
pub(crate) fn packages_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder").join("clients")
}

/// Runs a scenario of a script under Node.
pub(crate) async fn run_node(script: &str, arguments: &[&str]) {
    ClientProcess::start(Path::new("node"), script, arguments).expect_success().await;
}

/// Runs a scenario of a script under Python.
pub(crate) async fn run_python(script: &str, arguments: &[&str]) {
    ClientProcess::start(&packages_folder().join("python/bin/python"), script, arguments).expect_success().await;
}

/// A running scenario, which prints a line after each step.
pub(crate) struct ClientProcess {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    name: String,
}

impl ClientProcess {
    pub(crate) fn start(program: &Path, script: &str, arguments: &[&str]) -> Self {
        Self::start_with(program, script, arguments, [])
    }

    /// As [`ClientProcess::start`], with additional environment variables.
    pub(crate) fn start_with<const N: usize>(
        program: &Path,
        script: &str,
        arguments: &[&str],
        environment: [(&str, PathBuf); N],
    ) -> Self {
        let directory = packages_folder();
        assert!(directory.is_dir(), "third-party clients are not installed; run `tests/run`");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        let mut command = Command::new(program);
        command
            .arg(&script)
            .args(arguments)
            .envs(environment)
            .current_dir(directory)
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, output, name: format!("{} {arguments:?}", script.display()) }
    }

    /// Waits for the next line of output, which must equal `line`.
    pub(crate) async fn expect_line(&mut self, line: &str) {
        let printed = timeout(STEP_TIMEOUT, self.output.next_line()).await;
        let printed = printed.unwrap_or_else(|_| panic!("{} did not print in time: {line}", self.name)).unwrap();
        assert_eq!(printed.as_deref(), Some(line), "{}", self.name);
    }

    /// Waits for the end of the process, which must exit with 0.
    pub(crate) async fn expect_success(mut self) {
        let status = timeout(STEP_TIMEOUT, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{} did not exit in time", self.name)).unwrap();
        assert!(status.success(), "{} {status}; its output is above", self.name);
    }
}

/// Sends a signal, such as `TERM`, to a process of the test.
pub(crate) async fn send_signal(process: &Child, name: &str) {
    let id = process.id().expect("the process runs").to_string();
    let sent = with_timeout(Command::new("kill").args(["-s", name, &id]).status()).await.unwrap();
    assert!(sent.success(), "kill -s {name} {id}: {sent}");
}
