//! From a configuration to a service: directory, keys, database and engine.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use super::{Service, secret_file};
use crate::{
    BuildError, Engine, EngineBuilder, KeyRing, chat,
    config::{Auth, Mode, Secret, Settings},
    store::{self, sea::SeaStore},
    tokens::BadSecret,
    web::{Cors, Jwt, LocalQueryUser, QueryUser},
};

/// Why a service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made.
    #[error("data_dir: {} cannot be made", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file with a secret cannot be used.
    #[error("signing_keys")]
    KeyFile(#[source] secret_file::Error),
    /// The signing keys make no ring.
    #[error("signing_keys")]
    Keys(#[from] BadSecret),
    /// The file with the admin token cannot be used.
    #[error("admin.token")]
    TokenFile(#[source] secret_file::Error),
    /// The database cannot be used.
    #[error("store.url: the database cannot be opened")]
    Store(#[source] store::Error),
    /// The engine cannot be built.
    #[error(transparent)]
    Engine(#[from] BuildError),
}

impl Service {
    /// Opens all that `settings` name, inside a running actix system.
    ///
    /// # Errors
    /// [`OpenError`] names the setting.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        make_directory(&settings.data_dir)?;
        let ring = ring(settings)?;
        let admin_token = token(settings)?;
        let store = SeaStore::connect(&settings.store_url()).await.map_err(OpenError::Store)?;
        let engine = authenticated(Engine::builder(), &settings.auth)
            .hub("/chat", chat::hub())
            .classic("/signalr")
            .store(store)
            .keys(ring)
            .aspnetcore_settings(settings.aspnetcore.clone().into())
            .classic_settings(settings.classic.clone().into())
            .rejoin(settings.rejoin.settings(&settings.store))
            .limits(settings.limits.into())
            .node(&settings.node)
            .shards(settings.workers.get())
            .store_deadline(settings.store.deadline)
            .build()?;
        let (workers, drain_timeout) = (settings.workers, settings.drain_timeout);
        Ok(Self { engine, cors: cors(&settings.cors.origins), admin_token, workers, drain_timeout })
    }
}

fn make_directory(path: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| OpenError::DataDir { path: path.into(), source })
}

fn ring(settings: &Settings) -> Result<KeyRing, OpenError> {
    if settings.signing_keys.is_empty() {
        let secret = secret_file::read_or_make(&settings.key_file()).map_err(OpenError::KeyFile)?;
        return Ok(KeyRing::new([secret.expose_secret()])?);
    }
    Ok(KeyRing::new(settings.signing_keys.iter().map(Secret::expose))?)
}

fn token(settings: &Settings) -> Result<SecretString, OpenError> {
    match &settings.admin.token {
        Some(token) => Ok(token.expose().into()),
        None => secret_file::read_or_make(&settings.token_file()).map_err(OpenError::TokenFile),
    }
}

fn authenticated(builder: EngineBuilder, auth: &Auth) -> EngineBuilder {
    match auth.mode {
        Mode::Query if auth.query_on_network => builder.authenticate(QueryUser),
        Mode::Query => builder.authenticate(LocalQueryUser),
        Mode::Jwt => builder.authenticate(jwt(auth)),
    }
}

fn jwt(auth: &Auth) -> Jwt {
    let jwt = Jwt::default().user_claim(&auth.user_claim).audience(auth.audience.clone()).issuer(auth.issuer.clone());
    let jwt = auth.secrets.iter().fold(jwt, |jwt, secret| jwt.secret(secret.expose()));
    auth.public_keys.iter().fold(jwt, |jwt, key| jwt.public_key(key.key().clone()))
}

fn cors(origins: &[String]) -> Cors {
    if origins.iter().any(|origin| origin == "*") { Cors::any_origin() } else { Cors::origins(origins) }
}
