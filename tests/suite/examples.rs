//! Each example, run as its documentation says and used by clients.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
};

use hubcast_fixtures::azurite::{AZURITE_KEY, Azurite};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::{CoreClient, http_request, packages_folder, run_node, send_signal, with_timeout};

/// The emulator of Azure Table Storage for examples.
pub(crate) static AZURITE: LazyLock<Azurite> = LazyLock::new(|| Azurite::start(&packages_folder()));

/// The environment of the examples with Microsoft's samples. With the same key, clients continue their connections after a
/// restart.
pub(crate) const SAMPLES_ENVIRONMENT: [(&str, &str); 2] =
    [("AZURE_KEY", AZURITE_KEY), ("SIGNING_KEY", "a secret of the tests of the samples")];

/// A running example. Dropping it kills the process.
pub(crate) struct Example {
    pub(crate) address: SocketAddr,
    output: Lines<BufReader<ChildStdout>>,
    process: Child,
}

impl Example {
    async fn start(name: &str, directory: &Path, arguments: &[&str]) -> Self {
        Self::start_with(name, directory, arguments, &[]).await
    }

    /// Starts an example with additional environment variables, and reads its address from its first line.
    pub(crate) async fn start_with(
        name: &str,
        directory: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = example(name, directory);
        let mut process = command.args(arguments).envs(environment.iter().copied()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = with_timeout(output.next_line()).await.unwrap().expect("the example prints its address");
        let url = line.split("http://").nth(1).unwrap_or_else(|| panic!("no address in: {line}"));
        let address = url.split('/').next().unwrap().parse().unwrap();
        Self { address, output, process }
    }

    async fn connect(&self, user: &str) -> CoreClient {
        CoreClient::connect(self.address, &format!("/chat?user={user}")).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Kills the process with SIGKILL and waits for its end. Returns its address.
    pub(crate) async fn kill(mut self) -> SocketAddr {
        with_timeout(self.process.kill()).await.unwrap();
        self.address
    }

    /// The next line of output.
    pub(crate) async fn next_line(&mut self) -> String {
        with_timeout(self.output.next_line()).await.unwrap().expect("the example still runs")
    }

    async fn send_signal(&self, name: &str) {
        send_signal(&self.process, name).await;
    }

    /// Reads output until a line contains `text`.
    async fn expect_output(&mut self, text: &str) {
        while !self.next_line().await.contains(text) {}
    }
}

/// `cargo test` builds the examples beside the directory of the test programs.
pub(crate) fn example(name: &str, directory: &Path) -> Command {
    let test_program = std::env::current_exe().unwrap();
    let program: PathBuf = test_program.parent().unwrap().with_file_name("examples").join(name);
    assert!(program.is_file(), "{} is missing: run `cargo build --examples`", program.display());
    let mut command = Command::new(program);
    command.current_dir(directory).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn hello_relays_messages_in_a_room() {
    let directory = tempfile::tempdir().unwrap();
    let example = Example::start("hello", directory.path(), &["127.0.0.1:0"]).await;
    let (mut ann, mut bob) = (example.connect("ann").await, example.connect("bob").await);
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    bob.invoke("JoinRoom", json!(["lobby"])).await;
    ann.invoke("Send", json!(["lobby", "hello"])).await;
    assert_eq!(bob.next_chat_message().await, ("ann".into(), "hello".into()));
}

#[tokio::test]
async fn embed_publishes_from_its_own_route() {
    let directory = tempfile::tempdir().unwrap();
    let example = Example::start("embed", directory.path(), &["127.0.0.1:0"]).await;
    let mut ann = example.connect("ann").await;
    ann.invoke("JoinRoom", json!(["orders"])).await;
    let response = http_request(example.address, "POST /orders/soup", "").await;
    assert_eq!(response.status, 202);
    assert!(ann.next_chat_message().await.1.contains("soup"));
}

#[tokio::test]
async fn custom_actor_prints_group_messages() {
    let directory = tempfile::tempdir().unwrap();
    let mut example = Example::start("custom_actor", directory.path(), &["127.0.0.1:0"]).await;
    let mut ann = example.connect("ann").await;
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    assert_eq!(ann.invoke("HowMany", json!([])).await, 1);
    ann.invoke("Send", json!(["lobby", "hello"])).await;
    example.expect_output("in lobby: addChatMessage").await;
}

#[tokio::test]
async fn custom_store_keeps_members_across_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["127.0.0.1:0", "memberships.jsonl"];
    let example = Example::start("custom_store", directory.path(), &arguments).await;
    example.connect("ann").await.invoke("AddToRoom", json!(["lobby"])).await;
    drop(example);
    let example = Example::start("custom_store", directory.path(), &arguments).await;
    let (mut ann, mut bob) = (example.connect("ann").await, example.connect("bob").await);
    // The first call of a client is handled when its durable groups are joined.
    assert_eq!(ann.invoke("LeaveRoom", json!(["another"])).await, false);
    bob.invoke("Send", json!(["lobby", "hello"])).await;
    assert_eq!(ann.next_chat_message().await, ("bob".into(), "hello".into()));
}

#[tokio::test]
async fn rejoin_restores_only_allowed_groups() {
    let directory = tempfile::tempdir().unwrap();
    let example = Example::start("rejoin", directory.path(), &["127.0.0.1:0"]).await;
    run_node("rejoin_browser.mjs", &["example", &example.url()]).await;
}

#[tokio::test]
async fn filters_mask_words_and_limit_calls() {
    let directory = tempfile::tempdir().unwrap();
    let mut example = Example::start("filters", directory.path(), &["127.0.0.1:0"]).await;
    let mut ann = example.connect("ann").await;
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    for _ in 0..8 {
        ann.invoke_nonblocking("Send", json!(["lobby", "darn"])).await;
        assert_eq!(ann.next_chat_message().await, ("ann".into(), "****".into()));
    }
    let error = ann.invoke_error("Send", json!(["lobby", "once more"])).await;
    assert!(error.ends_with("You have used up your calls."), "{error}");
    example.expect_output("Send of ann failed").await;
}

#[tokio::test]
async fn presence_announces_and_lists_members() {
    let directory = tempfile::tempdir().unwrap();
    let mut example = Example::start("presence", directory.path(), &["127.0.0.1:0"]).await;
    let mut ann = example.connect("ann").await;
    example.expect_output("ann is online").await;
    let mut bob = example.connect("bob").await;
    example.expect_output("bob is online").await;
    for client in [&mut bob, &mut ann] {
        client.invoke("AddToRoom", json!(["lobby"])).await;
    }
    assert_eq!(bob.next_chat_message().await, ("presence".into(), "bob is a member now".into()));
    assert_eq!(bob.next_chat_message().await, ("presence".into(), "ann is a member now".into()));
    ann.drop_socket();
    assert_eq!(bob.next_chat_message().await, ("presence".into(), "ann is offline".into()));
    example.expect_output("ann is offline").await;
    let members = http_request(example.address, "GET /rooms/lobby", "").await.json();
    let online: Vec<_> =
        members.as_array().unwrap().iter().map(|member| (&member["user"], &member["isOnline"])).collect();
    assert_eq!(online, [(&json!("ann"), &json!(false)), (&json!("bob"), &json!(true))]);
}

#[tokio::test]
async fn conformance_serves_its_endpoints() {
    let directory = tempfile::tempdir().unwrap();
    let example = Example::start("conformance", directory.path(), &["0"]).await;
    let mut ann = example.connect("ann").await;
    assert_eq!(ann.invoke("JoinRoom", json!(["lobby"])).await, json!(null));
    let response = http_request(example.address, "GET /signalr/hubs", "").await;
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn signals_drain_the_embedded_engine() {
    for signal in ["TERM", "INT"] {
        let directory = tempfile::tempdir().unwrap();
        let mut example = Example::start("embed", directory.path(), &["127.0.0.1:0"]).await;
        let mut ann = example.connect("ann").await;
        example.send_signal(signal).await;
        assert!(ann.expect_close().await.allow_reconnect, "{signal}");
        let status = with_timeout(example.process.wait()).await.unwrap();
        assert!(status.success(), "{signal}: {status}");
    }
}
