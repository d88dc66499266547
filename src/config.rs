//! The settings of the service, with their defaults.
//!
//! The service reads them at its start, from `hubcast.toml`, the environment and the command line; a later source
//! overrides an earlier one. At a reload it reads them again and applies `signing_keys` only. All faults are reported
//! together, each with its key and its origin. The settings of the engine are derived from these. No other module reads
//! the environment, and no secret is ever printed.
//!
//! A key `admin.listen` is `listen` under `[admin]` in the file and `HUBCAST_ADMIN__LISTEN` in the environment. In the
//! environment, lists are separated by commas, and every variable that starts with `HUBCAST_` must be a known key.
//! Durations are written as `15s`, `500ms` or `24h`; the largest unit is the hour. Sizes are numbers of bytes.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    thread::available_parallelism,
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

mod auth;
mod building;
mod classic;
mod faults;
mod flags;
mod layers;
mod proxies;
mod serving;
#[cfg(test)]
mod tests;
mod tls;
mod units;

pub use auth::{Auth, Mode};
pub use classic::{Classic, KeepAlive};
pub use faults::{Fault, Faults};
pub use flags::Flags;
pub use proxies::Proxies;
pub use serving::{AspNetCore, Limits, Rejoin};
pub use tls::{CertificateFiles, Tls};
pub use units::Secret;

#[cfg(feature = "azure")]
use crate::store::azure::AzureCredential;
use crate::{
    admin::MetricsAccess, engine::DEFAULT_RECONCILE_INTERVAL, store::sea::SeaStore, tokens::MIN_SECRET_LENGTH,
    web::BasePath,
};

/// All settings. `Settings::default()` equals an empty configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address for clients. Default `127.0.0.1:8080`: access from the network must be configured explicitly.
    #[serde(deserialize_with = "units::address")]
    pub listen: SocketAddr,
    /// Whether connections of `proxies.trusted` to `listen` begin with a PROXY protocol header, which states the client's
    /// address. Default false: a connection does not show whether its first bytes are one.
    pub proxy_protocol: bool,
    /// The path prefix below which clients reach the service, such as `/app`, if a reverse proxy serves it there. The
    /// service accepts paths with the prefix and without it. Default none.
    pub base_path: BasePath,
    /// The number of threads that serve clients. Default: one per processor.
    #[serde(deserialize_with = "units::integer")]
    pub workers: NonZeroUsize,
    /// The name of this process among the processes that share a store, at most 255 bytes. The start fails if another running process uses
    /// it. Default `hubcast`.
    pub node: String,
    /// The directory for the database, the signing key and the admin token. Default `hubcast-data` in the working
    /// directory; it is created if it is missing. The start fails if another process uses it.
    pub data_dir: PathBuf,
    /// The secrets that sign tokens. The first one signs and all verify, so that a secret can be replaced without
    /// invalidating tokens. Each has at least 16 bytes; all nodes need the same list. A reload (SIGHUP) applies changes.
    /// Default: a random secret, stored in `data_dir`.
    #[serde(deserialize_with = "units::list")]
    pub signing_keys: Vec<Secret<MIN_SECRET_LENGTH>>,
    /// The time limit, when the service stops, for clients to disconnect and for running hub methods and hooks to
    /// finish. Default 10 s, the shortest grace period of common process supervisors.
    #[serde(deserialize_with = "units::duration")]
    pub drain_timeout: Duration,
    /// The time, when the service stops, over which clients are sent away in batches, so that they do not all reach
    /// other nodes at the same moment; `0s` sends all at once. Default: half of `drain_timeout`, so that hub methods of
    /// the last clients have the other half. At most `drain_timeout`.
    #[serde(deserialize_with = "units::optional_duration_or_zero")]
    pub drain_window: Option<Duration>,
    /// TLS of the client listener.
    pub tls: Tls,
    /// The admin listener.
    pub admin: Admin,
    /// The metrics on the admin listener.
    pub metrics: Metrics,
    /// Authentication of clients.
    pub auth: Auth,
    /// The web pages that may connect.
    pub cors: Cors,
    /// The reverse proxies in front of the service.
    pub proxies: Proxies,
    /// The database for durable state.
    pub store: Store,
    /// How reconnecting clients rejoin their groups.
    pub rejoin: Rejoin,
    /// The limits of the outbox of each client.
    pub limits: Limits,
    /// Settings for clients of ASP.NET Core SignalR.
    pub aspnetcore: AspNetCore,
    /// Settings for clients of SignalR 2.x.
    pub classic: Classic,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: loopback(8080),
            proxy_protocol: false,
            base_path: BasePath::default(),
            workers: available_parallelism().unwrap_or(NonZeroUsize::MIN).min(MAX_WORKERS),
            node: "hubcast".into(),
            data_dir: "hubcast-data".into(),
            signing_keys: Vec::new(),
            drain_timeout: Duration::from_secs(10),
            drain_window: None,
            tls: Tls::default(),
            admin: Admin::default(),
            metrics: Metrics::default(),
            auth: Auth::default(),
            cors: Cors::default(),
            proxies: Proxies::default(),
            store: Store::default(),
            rejoin: Rejoin::default(),
            limits: Limits::default(),
            aspnetcore: AspNetCore::default(),
            classic: Classic::default(),
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The admin listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address for operators. Default `127.0.0.1:8081`: a separate listener, so that no proxy exposes it.
    #[serde(deserialize_with = "units::address")]
    pub listen: SocketAddr,
    /// Whether connections of `proxies.trusted` to this listener begin with a PROXY protocol header. Default false.
    pub proxy_protocol: bool,
    /// The bearer token for operators, with at least 16 bytes. Default: a random token, stored in `data_dir`.
    pub token: Option<Secret<MIN_SECRET_LENGTH>>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: loopback(8081), proxy_protocol: false, token: None }
    }
}

/// The metrics on the admin listener.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Answer `GET /metrics` without the admin token. Default false, because the admin listener may be on the network.
    /// Metrics contain counts, the version and the name of the node.
    pub public: bool,
}

impl Metrics {
    /// Converts to the setting of the admin routes.
    #[must_use]
    pub fn access(self) -> MetricsAccess {
        if self.public { MetricsAccess::Public } else { MetricsAccess::Token }
    }
}

/// The web pages that may connect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// The origins of the pages that may connect, in the form that browsers send (`https://app.example`), or `*` for
    /// all origins. Default none: only pages of this service itself can connect, because otherwise any page that a user
    /// visits could connect as that user. A reverse proxy must forward `Host`, or be in
    /// `proxies.trusted` and set `X-Forwarded-Host`. A proxy for TLS must set `X-Forwarded-Proto`, too.
    #[serde(deserialize_with = "units::list")]
    pub origins: Vec<String>,
}

/// Whether `text` is an origin exactly as browsers send it in `Origin` (RFC 6454 section 6.1), or `*`. Requests are
/// compared with it byte by byte.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return text == "*" };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "://",
    };
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.:[]".contains(c);
    !scheme.is_empty()
        && !authority.is_empty()
        && text.replacen("://", "", 1).chars().all(is_allowed)
        && !authority.ends_with(default_port)
}

/// The database for durable state.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The URL of the database. Default: a SQLite file in `data_dir`, created if it is missing. If it is an address of
    /// Azure Table Storage, that keeps memberships, and the SQLite file keeps leases and tokens.
    pub url: Option<Secret<1>>,
    /// The key of the account of Azure Table Storage, in base64.
    pub azure_key: Option<Secret<1>>,
    /// A shared access signature for Azure Table Storage, instead of the key.
    pub azure_sas: Option<Secret<1>>,
    /// The time limit for a call of the database. Default 5 s. A connecting client waits at most that long for it.
    #[serde(deserialize_with = "units::duration")]
    pub deadline: Duration,
    /// The treatment of a client that connects while the database does not answer. `refuse` (default) rejects it, so
    /// that no client misses a durable group unnoticed; `continue` admits it without its durable groups.
    #[serde(deserialize_with = "units::keyword")]
    pub on_failure: crate::OnStoreFailure,
    /// How often the durable groups of connected users are compared with the database, or `none` for never. Default 60 s.
    /// The live memberships are made to agree with it, for example after another process on the same database has changed
    /// them.
    #[serde(deserialize_with = "units::duration_or_none")]
    pub reconcile_interval: Option<Duration>,
}

impl Default for Store {
    fn default() -> Self {
        let (deadline, on_failure) = (Duration::from_secs(5), crate::OnStoreFailure::default());
        let reconcile_interval = Some(DEFAULT_RECONCILE_INTERVAL);
        Self { url: None, azure_key: None, azure_sas: None, deadline, on_failure, reconcile_interval }
    }
}

impl Store {
    /// True if memberships are in Azure Table Storage.
    fn is_azure(&self) -> bool {
        self.url.as_ref().is_some_and(|url| url.expose().starts_with("azure-table:"))
    }

    /// The credential for Azure Table Storage, if memberships are there.
    #[cfg(feature = "azure")]
    #[must_use]
    pub fn azure_credential(&self) -> Option<AzureCredential> {
        let key = self.azure_key.as_ref().map(|key| AzureCredential::key(key.expose()));
        let signature = || self.azure_sas.as_ref().map(|signature| AzureCredential::sas(signature.expose()));
        key.or_else(signature).filter(|_| self.is_azure())
    }

    /// Faults of several settings together.
    fn contradictions(&self) -> Vec<(Vec<&'static str>, String)> {
        let keys = || vec!["store.azure_key", "store.azure_sas", "store.url"];
        if self.is_azure() && !cfg!(feature = "azure") {
            return vec![(vec!["store.url"], "this build lacks the cargo feature `azure`".into())];
        }
        let url = self.url.as_ref().filter(|_| !self.is_azure());
        if let Some(fault) = url.and_then(|url| SeaStore::address_fault(url.expose())) {
            return vec![(vec!["store.url"], fault)];
        }
        let credentials = usize::from(self.azure_key.is_some()) + usize::from(self.azure_sas.is_some());
        match (self.is_azure(), credentials) {
            (true, 0) => vec![(keys(), "Azure Table Storage needs `store.azure_key` or `store.azure_sas`".into())],
            (true, 1) | (false, 0) => Vec::new(),
            (true, _) => vec![(keys(), "set either `store.azure_key` or `store.azure_sas`".into())],
            (false, _) => vec![(keys(), "`store.url` is no address of Azure Table Storage".into())],
        }
    }
}

/// The characters that are percent-encoded in the path of a database URL.
const ENCODED_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// The largest number of threads that the HTTP server supports.
const MAX_WORKERS: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process. Variables that are not valid Unicode are ignored.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Settings {
    /// Reads the defaults, the file, `environment` and `flags`, in this order; each overrides the previous one.
    ///
    /// # Errors
    /// [`Faults`] with every fault of the configuration.
    pub fn read(flags: &Flags, environment: &Environment) -> Result<Self, Faults> {
        let (layers, mut faults) = layers::merge(flags, environment);
        let settings: Self = faults::deserialize_collecting_faults(&layers, &mut faults);
        for (keys, text) in settings.contradictions() {
            faults.add_unless_known(&layers, &keys, text);
        }
        for error in settings.build_faults() {
            faults.add_unless_known(&layers, &building::keys_of(&error), error.to_string());
        }
        faults.into_result(settings)
    }

    /// Cross-field checks. Each fault has the keys that are involved, first the key to report, and a text.
    fn contradictions(&self) -> Vec<(Vec<&'static str>, String)> {
        let mut found = self.auth.contradictions(self.listen);
        found.extend(self.tls.contradictions(self.proxy_protocol));
        if let Some(origin) = self.cors.origins.iter().find(|origin| !is_origin(origin)) {
            let text = format!(
                "`{origin}` is not an origin; write it as browsers send it, such as `https://app.example` or \
                 `http://app.example:8000`: in lower case, without a path, and without the default port of the scheme. \
                 `*` allows all origins"
            );
            found.push((vec!["cors.origins"], text));
        }
        found.extend(self.store.contradictions());
        if self.workers > MAX_WORKERS {
            found.push((
                vec!["workers"],
                format!("{} threads are too many; the maximum is {MAX_WORKERS}", self.workers),
            ));
        }
        let texts = [("node", self.node.as_str()), ("data_dir", self.data_dir.to_str().unwrap_or("-"))];
        for (key, _) in texts
            .into_iter()
            .chain(self.auth.texts())
            .chain(self.tls.texts())
            .filter(|(_, text)| text.trim().is_empty())
        {
            found.push((vec![key], "must not be empty; remove the setting to use its default".into()));
        }
        found.extend(self.proxies.contradictions(&[
            ("proxy_protocol", self.proxy_protocol),
            ("admin.proxy_protocol", self.admin.proxy_protocol),
        ]));
        if self.drain_window() > self.drain_timeout {
            let text = "must not exceed `drain_timeout`, or the last clients lose their connection without notice";
            found.push((vec!["drain_window", "drain_timeout"], text.into()));
        }
        if self.listen == self.admin.listen && self.listen.port() != 0 {
            found.push((
                vec!["admin.listen", "listen"],
                format!("{} is also the address for clients (`listen`); use another port", self.listen),
            ));
        }
        found
    }

    /// The time over which clients are sent away when the service stops, configured or default.
    #[must_use]
    pub fn drain_window(&self) -> Duration {
        self.drain_window.unwrap_or(self.drain_timeout / 2)
    }

    /// The URL of the database, configured or default.
    #[must_use]
    pub fn store_url(&self) -> String {
        self.store.url.as_ref().map_or_else(|| self.database_url(), |url| url.expose().to_owned())
    }

    /// The URL of the SQLite file in `data_dir`.
    #[must_use]
    pub fn database_url(&self) -> String {
        let path = self.database_file().to_string_lossy().into_owned();
        format!("sqlite://{}?mode=rwc", utf8_percent_encode(&path, ENCODED_IN_PATHS))
    }

    /// The path of the database, if `store.url` is not set.
    #[must_use]
    pub fn database_file(&self) -> PathBuf {
        self.data_dir.join("hubcast.db")
    }

    /// The path of the random signing key, if `signing_keys` is not set.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.data_dir.join("signing-key")
    }

    /// The path of the random admin token, if `admin.token` is not set.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.data_dir.join("admin-token")
    }
}
