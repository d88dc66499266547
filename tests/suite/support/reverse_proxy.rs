//! Real reverse proxies, with the configurations that `docs/operations.md` shows.

use std::{fs, net::SocketAddr, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use super::{wait_until_async, with_timeout};

/// A running proxy. Dropping it kills the process.
pub(crate) struct ReverseProxy {
    pub(crate) address: SocketAddr,
    _process: Child,
    _directory: TempDir,
}

/// A block of `docs/operations.md` in this language, without TLS, which the test clients do not speak.
fn documented(language: &str, index: usize) -> String {
    let page = include_str!("../../../docs/operations.md");
    let start = format!("```{language}\n");
    let block = page.split(&start).nth(1 + index).unwrap_or_else(|| panic!("no block {index} in {language}"));
    block.split("```").next().unwrap().lines().filter_map(without_tls).collect()
}

fn without_tls(line: &str) -> Option<String> {
    if line.trim_start().to_lowercase().starts_with("ssl") {
        return None;
    }
    let end = if line.ends_with(';') { ";\n" } else { "\n" };
    let directive = line.trim_end_matches(';');
    Some(
        directive.split_once(" ssl ").map_or(directive, |(before, _)| before).trim_end_matches(" ssl").to_owned() + end,
    )
}

/// Replaces a text that the documented configuration must contain.
fn replaced(config: &str, from: &str, to: &str) -> String {
    assert!(config.contains(from), "`{from}` is not in: {config}");
    config.replace(from, to)
}

/// Reserves a free port of 127.0.0.1 for a proxy. The closed connection keeps it in TIME_WAIT: the kernel gives it to
/// no socket that asks for any port, and the proxy can bind it (`SO_REUSEADDR`).
async fn reserve_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    drop(accepted);
    let end = tokio::io::AsyncReadExt::read(&mut client, &mut [0]).await.unwrap();
    assert_eq!(end, 0, "the listening side has closed first");
    address
}

impl ReverseProxy {
    pub(crate) async fn nginx(server: SocketAddr) -> Self {
        let address = reserve_port().await;
        let config = replaced(&documented("nginx", 0), "listen 8443", &format!("listen {address}"));
        let config = replaced(&config, "127.0.0.1:8080", &server.to_string());
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
             events {{}}\nhttp {{ access_log off;\n{temporary}{config}}}\n"
        );
        let file = write(&directory, &config);
        Self::start(address, directory, Command::new("nginx").args(["-e", "stderr", "-c"]).arg(file)).await
    }

    pub(crate) async fn haproxy(server: SocketAddr) -> Self {
        let address = reserve_port().await;
        let config = replaced(&documented("haproxy", 0), "bind :8443", &format!("bind {address}"));
        let config = replaced(&config, "127.0.0.1:8080", &server.to_string());
        Self::start_haproxy(address, &config).await
    }

    /// A proxy of TCP connections that states the client's address by the PROXY protocol. `option` selects the version.
    pub(crate) async fn haproxy_tcp(server: SocketAddr, option: &str) -> Self {
        let address = reserve_port().await;
        let config = replaced(&documented("haproxy", 1), "bind :8443", &format!("bind {address}"));
        let config = replaced(&config, "127.0.0.1:8080", &server.to_string());
        let config = replaced(&config, "send-proxy-v2", option);
        let defaults = documented("haproxy", 0);
        let defaults = defaults.split("frontend").next().unwrap();
        Self::start_haproxy(address, &format!("{defaults}{config}")).await
    }

    async fn start_haproxy(address: SocketAddr, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = write(&directory, config);
        // `-db` keeps it in one process in the foreground.
        Self::start(address, directory, Command::new("haproxy").args(["-q", "-db", "-f"]).arg(file)).await
    }

    pub(crate) async fn apache(server: SocketAddr) -> Self {
        let address = reserve_port().await;
        let config = replaced(&documented("apache", 0), "*:8443", &address.to_string());
        let config = replaced(&config, "127.0.0.1:8080", &server.to_string());
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().display();
        let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http", "headers"]
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .concat();
        let config = format!(
            "{modules}Listen {address}\nServerName localhost\nServerRoot {folder}\nDefaultRuntimeDir {folder}\n\
             PidFile {folder}/pid\nErrorLog /dev/stderr\nLogLevel crit\n\
             User www-data\nGroup www-data\n{config}"
        );
        let file = write(&directory, &config);
        // `-X` keeps it in one process in the foreground.
        Self::start(address, directory, Command::new("apache2").args(["-X", "-f"]).arg(file)).await
    }

    /// Starts a proxy and waits until it accepts connections.
    async fn start(address: SocketAddr, directory: TempDir, command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; run `tests/run`"));
        let accepts = wait_until_async(async || TcpStream::connect(address).await.is_ok());
        tokio::select! {
            () = with_timeout(accepts) => {}
            status = process.wait() => panic!("{command:?} has stopped: {status:?}; its output is above"),
        }
        Self { address, _process: process, _directory: directory }
    }
}

fn write(directory: &TempDir, config: &str) -> std::path::PathBuf {
    let file = Path::join(directory.path(), "proxy.conf");
    fs::write(&file, config).unwrap();
    file
}
