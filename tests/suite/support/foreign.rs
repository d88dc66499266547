//! Clients that are not ours: scripts in `tests/clients`, each with scenarios that it knows by name.

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

use super::PATIENCE;

/// How long a step of a scenario may take: far more than it does, on a machine that does other things. Whole browsers
/// are started by some.
const FOREIGN_PATIENCE: Duration = PATIENCE.saturating_mul(4);

/// Where `tests/run` installs what the scripts need.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder").join("clients")
}

/// Runs a scenario of a script under Node.
pub(crate) async fn node(script: &str, arguments: &[&str]) {
    Conversation::begin(Path::new("node"), script, arguments).ends_well().await;
}

/// Runs a scenario of a script under Python.
pub(crate) async fn python(script: &str, arguments: &[&str]) {
    Conversation::begin(&installed().join("python/bin/python"), script, arguments).ends_well().await;
}

/// A scenario that goes on, and says how far it is.
pub(crate) struct Conversation {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    name: String,
}

impl Conversation {
    pub(crate) fn begin(program: &Path, script: &str, arguments: &[&str]) -> Self {
        let directory = installed();
        assert!(directory.is_dir(), "clients that are not ours are not installed: `tests/run` does that");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        let mut command = Command::new(program);
        command.arg(&script).args(arguments).current_dir(directory).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, output, name: format!("{} {arguments:?}", script.display()) }
    }

    /// Waits until the scenario is as far as that.
    pub(crate) async fn hears(&mut self, line: &str) {
        let heard = timeout(FOREIGN_PATIENCE, self.output.next_line()).await;
        let heard = heard.unwrap_or_else(|_| panic!("{} never said: {line}", self.name)).unwrap();
        assert_eq!(heard.as_deref(), Some(line), "{}", self.name);
    }

    pub(crate) async fn ends_well(mut self) {
        let status = timeout(FOREIGN_PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{} never ended", self.name)).unwrap();
        assert!(status.success(), "{} {status}; what it says is above", self.name);
    }
}
