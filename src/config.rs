//! Every setting, its default and the reason for it.
//!
//! Role: reads `hubcast.toml`, the environment and the command line into one value, the later over the earlier, and
//! reports every fault of them at once, each with its key and where it was set.
//! Life: read once, when the service starts. Neighbours: the service; the engine's own settings are made of these.
//! Never: nothing else reads the environment, and no secret is ever printed.
//!
//! A key `admin.listen` is `listen` under `[admin]` in the file and `HUBCAST_ADMIN__LISTEN` in the environment, where
//! a list is separated by commas. Every variable that begins with `HUBCAST_` must be a key. Spans of time are written
//! as `15s`, `500ms` or `24h`, in hours at most; sizes are a number of bytes.

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
mod serving;
#[cfg(test)]
mod tests;
mod units;

pub use auth::{Auth, Mode, PublicKey};
pub use classic::{Classic, KeepAlive};
pub use faults::{Fault, Faults};
pub use flags::Flags;
pub use serving::{AspNetCore, Limits, Rejoin};
pub use units::Secret;

use crate::tokens::SHORTEST_SECRET;

/// Every setting. `Settings::default()` is what an empty configuration means.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where clients connect. Default `127.0.0.1:8080`: whoever wants the network says so.
    pub listen: SocketAddr,
    /// How many threads serve clients. Default: one for each processor.
    #[serde(deserialize_with = "units::whole")]
    pub workers: NonZeroUsize,
    /// The name of this process among those that share a store. Default `hubcast`.
    pub node: String,
    /// The directory of what the service keeps: database, signing key, admin token. Default `hubcast-data`, beside
    /// where it is started; it is made if missing.
    pub data_dir: PathBuf,
    /// The secrets that sign tokens: the first signs, all verify, so that one can be replaced unnoticed. Each of at
    /// least 16 characters; all nodes need the same ones. Default: a random one, kept in `data_dir`.
    #[serde(deserialize_with = "units::list")]
    pub signing_keys: Vec<Secret<SHORTEST_SECRET>>,
    /// How long clients may take to leave, and hubs to end what they have begun, when the service stops. Default 10 s:
    /// what supervisors grant at least.
    #[serde(deserialize_with = "units::span")]
    pub drain_timeout: Duration,
    /// For operators.
    pub admin: Admin,
    /// Who clients are.
    pub auth: Auth,
    /// Which web pages may connect.
    pub cors: Cors,
    /// What is remembered, and where.
    pub store: Store,
    /// How clients are put back into their groups.
    pub rejoin: Rejoin,
    /// How much may wait for a slow client.
    pub limits: Limits,
    /// How clients of ASP.NET Core SignalR are served.
    pub aspnetcore: AspNetCore,
    /// How clients of SignalR 2.x are served.
    pub classic: Classic,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: loopback(8080),
            workers: available_parallelism().unwrap_or(NonZeroUsize::MIN).min(MOST_WORKERS),
            node: "hubcast".into(),
            data_dir: "hubcast-data".into(),
            signing_keys: Vec::new(),
            drain_timeout: Duration::from_secs(10),
            admin: Admin::default(),
            auth: Auth::default(),
            cors: Cors::default(),
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

/// What operators use.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where operators connect. Default `127.0.0.1:8081`: a listener of its own, so that no proxy exposes it.
    pub listen: SocketAddr,
    /// The bearer token that opens it, of at least 16 characters. Default: a random one, kept in `data_dir`.
    pub token: Option<Secret<SHORTEST_SECRET>>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: loopback(8081), token: None }
    }
}

/// Which web pages may connect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// The origins of pages that may, each as a browser writes it (`https://app.example`), or `*` for all. Default
    /// none: only pages of this service itself, or else any page that its users visit could connect for them. A proxy
    /// before it has to pass on `Host`, or say `X-Forwarded-Host`.
    #[serde(deserialize_with = "units::list")]
    pub origins: Vec<String>,
}

/// True for what browsers send as `Origin`, letter by letter (RFC 6454 section 6.1): it is compared as it is.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return text == "*" };
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "://",
    };
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.:[]".contains(c);
    !scheme.is_empty()
        && !authority.is_empty()
        && text.replacen("://", "", 1).chars().all(is_plain)
        && !authority.ends_with(own_port)
}

/// What is remembered, and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The database's URL. Default: a SQLite file in `data_dir`, made if missing.
    pub url: Option<String>,
    /// How long the database may take for an answer. Default 5 s: a client waits that long for its connection.
    #[serde(deserialize_with = "units::span")]
    pub deadline: Duration,
    /// What happens to a client that comes while the database does not answer: `refuse` (default), so that nobody is
    /// in fewer groups than it should be, or `continue` without its durable groups.
    #[serde(deserialize_with = "units::word")]
    pub on_failure: crate::OnStoreFailure,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: None, deadline: Duration::from_secs(5), on_failure: crate::OnStoreFailure::default() }
    }
}

/// What would mean something else in the path of a database's URL.
const UNSAFE_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// As many threads as the HTTP server takes.
const MOST_WORKERS: NonZeroUsize = NonZeroUsize::new(512).expect("it is more than nothing");

/// The environment, as far as it was handed in.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process; variables that are no text are not ours.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Settings {
    /// Reads defaults, then the file, then `environment`, then `flags`, each over the one before.
    ///
    /// # Errors
    /// [`Faults`], all of them.
    pub fn read(flags: &Flags, environment: &Environment) -> Result<Self, Faults> {
        let (layers, mut faults) = layers::merge(flags, environment);
        let settings: Self = faults::sift(&layers, &mut faults);
        for (keys, text) in settings.contradictions() {
            faults.add_unless_known(&layers, &keys, text);
        }
        for error in settings.build_errors() {
            faults.add_unless_known(&layers, &building::keys_of(&error), error.to_string());
        }
        faults.none_or(settings)
    }

    /// What does not fit together: the keys that it takes, the one to be named first, and why.
    fn contradictions(&self) -> Vec<(Vec<&'static str>, String)> {
        let mut found = self.auth.contradictions(self.listen);
        if let Some(origin) = self.cors.origins.iter().find(|origin| !is_origin(origin)) {
            let text = format!(
                "`{origin}` is no origin as browsers write one: `https://app.example` or `http://app.example:8000`, in \
                 small letters, without a path and the scheme's own port; or `*` for all"
            );
            found.push((vec!["cors.origins"], text));
        }
        if self.workers > MOST_WORKERS {
            found.push((
                vec!["workers"],
                format!("{} are more than the {MOST_WORKERS} that there may be", self.workers),
            ));
        }
        let texts = [("node", self.node.as_str()), ("data_dir", self.data_dir.to_str().unwrap_or("-"))];
        for (key, _) in texts.into_iter().chain(self.auth.texts()).filter(|(_, text)| text.trim().is_empty()) {
            found.push((vec![key], "it is empty; leave it out for its default".into()));
        }
        if self.listen == self.admin.listen && self.listen.port() != 0 {
            found.push((vec!["admin.listen", "listen"], format!("{} is for clients already", self.listen)));
        }
        found
    }

    /// The database's URL.
    #[must_use]
    pub fn store_url(&self) -> String {
        let file = || {
            let path = self.database_file().to_string_lossy().into_owned();
            format!("sqlite://{}?mode=rwc", utf8_percent_encode(&path, UNSAFE_IN_PATHS))
        };
        self.store.url.clone().unwrap_or_else(file)
    }

    /// Where the database is, if no other is set.
    #[must_use]
    pub fn database_file(&self) -> PathBuf {
        self.data_dir.join("hubcast.db")
    }

    /// Where the random signing key is kept, if none is set.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.data_dir.join("signing-key")
    }

    /// Where the random admin token is kept, if none is set.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.data_dir.join("admin-token")
    }
}
