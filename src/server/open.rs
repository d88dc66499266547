//! Opens a service from a configuration: data directory, keys, database and engine.

use std::{
    fs::DirBuilder,
    io,
    num::NonZeroUsize,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use log::warn;
use secrecy::ExposeSecret;

use super::{DataLockError, Service, Tls, TlsError, data_lock, descriptors, secret_file, secret_file::SecretFileError};
use crate::{
    BuildError, ConnectionLimits, Engine, EngineBuilder, Hub, KeyRing, NodeInUse,
    admin::AdminToken,
    aspnetcore, chat, classic,
    config::{Auth, Limits, Mode, Secret, Settings},
    store::{self, sea::SeaStore},
    tokens::BadSecret,
    web::{Cors, Jwt, LocalQueryUser, QueryUser},
};

/// Why a service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be created.
    #[error("data_dir: cannot create {}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The data directory cannot be locked.
    #[error("data_dir")]
    DataLock(#[from] DataLockError),
    /// The file with the signing key cannot be used.
    #[error("signing_keys")]
    KeyFile(#[source] SecretFileError),
    /// A signing key is invalid.
    #[error("signing_keys")]
    Keys(#[from] BadSecret),
    /// The file with the admin token cannot be used.
    #[error("admin.token")]
    TokenFile(#[source] SecretFileError),
    /// The database cannot be used.
    #[error("store.url: cannot open the database")]
    Store(#[source] store::Error),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The engine cannot be built.
    #[error(transparent)]
    Engine(#[from] BuildError),
    /// Another process uses the name of the node in the database.
    #[error("node")]
    Node(#[from] NodeInUse),
}

impl Service {
    /// Opens everything that `settings` configure. Requires a running actix system.
    ///
    /// If another process on the same database uses the name of the node, that takes up to 40 s: see
    /// [`Engine::claim_node`].
    ///
    /// # Errors
    /// [`OpenError`] names the setting that causes the failure.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        let max_sockets = descriptors::raise_limit(settings.workers);
        create_directory(&settings.data_dir)?;
        let (data_lock, process) = data_lock::lock(&settings.data_dir, &settings.node)?;
        let key_ring = key_ring(settings)?;
        let admin_token = admin_token(settings)?;
        let tls = settings.tls.files().map(Tls::open).transpose()?;
        let stores = with_stores(Engine::builder(), settings).await.map_err(OpenError::Store)?;
        let hub = chat::hub();
        let (aspnetcore, classic) = endpoints(&hub, settings);
        let engine = with_authentication(stores, &settings.auth)
            .hub_only(hub)
            .aspnetcore_endpoint(aspnetcore)
            .classic_endpoint(classic)
            .base_path(settings.base_path.as_str())
            .keys(key_ring)
            .aspnetcore_settings(settings.aspnetcore.clone().into())
            .classic_settings(settings.classic.clone().into())
            .rejoin(settings.rejoin.settings(&settings.store))
            .limits(settings.limits.into())
            .durable_change_rate(settings.limits.durable_changes)
            .connection_limits(connection_limits(&settings.limits, max_sockets))
            .node(&settings.node)
            .process(process)
            .shards(settings.workers.get())
            .store_deadline(settings.store.deadline)
            .reconcile_interval(settings.store.reconcile_interval)
            .build()?;
        engine.claim_node().await?;
        let (workers, drain_timeout) = (settings.workers, settings.drain_timeout);
        let proxies = settings.proxies.trusted_proxies();
        Ok(Self {
            engine,
            cors: cors(&settings.cors.origins),
            proxies,
            proxy_protocol: settings.proxy_protocol,
            admin_proxy_protocol: settings.admin.proxy_protocol,
            tls,
            admin_token,
            metrics_access: settings.metrics.access(),
            workers,
            max_sockets,
            drain_timeout,
            drain_window: settings.drain_window(),
            data_lock,
        })
    }
}

/// Azure Table Storage keeps memberships only; leases and tokens are in the database in the data directory then.
async fn with_stores(builder: EngineBuilder, settings: &Settings) -> Result<EngineBuilder, store::Error> {
    #[cfg(feature = "azure")]
    if let Some(credential) = settings.store.azure_credential() {
        let memberships = store::azure::AzureTableStore::connect(&settings.store_url(), credential).await?;
        let local = SeaStore::connect(&settings.database_url()).await?;
        return Ok(builder.store(local).membership_store(memberships));
    }
    Ok(builder.store(SeaStore::connect(&settings.store_url()).await?))
}

/// The limits of connections. By default there are no more connections than sockets.
fn connection_limits(limits: &Limits, max_sockets: NonZeroUsize) -> ConnectionLimits {
    let (total, configured) = (limits.connections, ConnectionLimits::from(*limits));
    if let Some(total) = total.filter(|total| *total > max_sockets) {
        warn!(connections = total.get(), sockets = max_sockets.get(); "limits.connections exceeds the sockets that the limit of file descriptors allows");
    }
    ConnectionLimits { total: total.unwrap_or(configured.total.min(max_sockets)), ..configured }
}

pub(super) fn endpoints(hub: &Hub, settings: &Settings) -> (aspnetcore::Endpoint, classic::Endpoint) {
    let (mut aspnetcore, mut classic) = chat::endpoints(hub);
    if settings.aspnetcore.allow_stateful_reconnects {
        aspnetcore = aspnetcore.allow_stateful_reconnects();
    }
    if settings.auth.close_on_expiry {
        (aspnetcore, classic) = (aspnetcore.close_on_expiry(), classic.close_on_expiry());
    }
    (aspnetcore, classic)
}

fn create_directory(path: &Path) -> Result<(), OpenError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|source| OpenError::DataDir { path: path.into(), source })
}

pub(super) fn key_ring(settings: &Settings) -> Result<KeyRing, OpenError> {
    if settings.signing_keys.is_empty() {
        let secret = secret_file::read_or_create(&settings.key_file()).map_err(OpenError::KeyFile)?;
        return Ok(KeyRing::new([secret.expose_secret()])?);
    }
    Ok(KeyRing::new(settings.signing_keys.iter().map(Secret::expose))?)
}

fn admin_token(settings: &Settings) -> Result<AdminToken, OpenError> {
    if let Some(token) = &settings.admin.token {
        return Ok(token.expose().into());
    }
    let token = secret_file::read_or_create(&settings.token_file()).map_err(OpenError::TokenFile)?;
    Ok(token.expose_secret().into())
}

fn with_authentication(builder: EngineBuilder, auth: &Auth) -> EngineBuilder {
    match auth.mode {
        Mode::Query if auth.query_on_network => builder.authenticate(QueryUser),
        Mode::Query => builder.authenticate(LocalQueryUser),
        Mode::Jwt => builder.authenticate(jwt(auth)),
    }
}

pub(super) fn jwt(auth: &Auth) -> Jwt {
    let jwt = Jwt::default().user_claim(&auth.user_claim).audience(auth.audience.clone()).issuer(auth.issuer.clone());
    let jwt = auth.secrets.iter().fold(jwt, |jwt, secret| jwt.secret(secret.expose()));
    auth.public_keys.iter().fold(jwt, |jwt, key| jwt.public_key(key.clone()))
}

fn cors(origins: &[String]) -> Cors {
    if origins.iter().any(|origin| origin == "*") { Cors::any_origin() } else { Cors::origins(origins) }
}
