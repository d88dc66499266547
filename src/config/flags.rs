//! The command line: the path of the configuration file, and a few settings for quick experiments.

use std::path::PathBuf;

use clap::Parser;
use secrecy::{ExposeSecret, SecretString};

/// Real-time messaging for SignalR clients of both generations, in durable groups.
///
/// Every setting can be set in the file, or in the environment as HUBCAST_SECTION__KEY.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "hubcast", version)]
pub struct Flags {
    /// The configuration file, which must exist. Default: hubcast.toml, if it exists
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The address for clients
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// The address for operators
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,
    /// The directory of the database, the signing key and the admin token
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,
    /// The URL of the database
    #[arg(long, value_name = "URL")]
    pub store_url: Option<SecretString>,
    /// The number of threads that serve clients
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<String>,
}

impl Flags {
    /// The settings that are set by flags: flag, key and value.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        let flags = [
            ("--listen", "listen", self.listen.as_deref()),
            ("--admin-listen", "admin.listen", self.admin_listen.as_deref()),
            ("--data-dir", "data_dir", self.data_dir.as_deref()),
            ("--store-url", "store.url", self.store_url.as_ref().map(ExposeSecret::expose_secret)),
            ("--workers", "workers", self.workers.as_deref()),
        ];
        flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?)))
    }
}
