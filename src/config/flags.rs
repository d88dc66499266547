//! The command line: where the file is, and the few settings that are tried out.

use std::path::PathBuf;

use clap::Parser;

/// Real-time messaging for SignalR clients of both generations, in durable groups.
///
/// Every setting can be in the file, and in the environment as HUBCAST_SECTION__KEY.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "hubcast", version)]
pub struct Flags {
    /// The configuration file; it must exist. Default: hubcast.toml, if there is one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Where operators connect
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,
    /// The directory of database, signing key and admin token
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,
    /// The database
    #[arg(long, value_name = "URL")]
    pub store_url: Option<String>,
    /// How many threads serve clients
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<String>,
}

impl Flags {
    /// The settings that were given: flag, key and value.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        let all = [
            ("--listen", "listen", &self.listen),
            ("--admin-listen", "admin.listen", &self.admin_listen),
            ("--data-dir", "data_dir", &self.data_dir),
            ("--store-url", "store.url", &self.store_url),
            ("--workers", "workers", &self.workers),
        ];
        all.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value.as_deref()?)))
    }
}
