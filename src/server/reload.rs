//! The parts of the configuration that a running service reads again: the certificate and the signing keys.

use std::error::Error;

use log::{error, info};

use super::{OpenError, Tls, open::key_ring};
use crate::{
    Engine, KeyRing,
    config::{Faults, Settings},
};

/// Reads the certificate again, if there is one.
pub(super) fn certificate(tls: Option<&Tls>) {
    match tls {
        Some(tls) => {
            info!("reload requested: the TLS certificate and the signing keys are read again");
            tls.reload_and_log();
        }
        None => info!("reload requested: the signing keys are read again; there is no TLS certificate to reload"),
    }
}

/// An error that leaves the previous keys in use.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("the settings cannot be read")]
    Settings(#[from] Faults),
    #[error(transparent)]
    Keys(#[from] OpenError),
}

/// Replaces the signing keys by those of the settings that were read again. Without configured keys, those in use stay: the
/// random key in the data directory never changes.
pub(super) fn signing_keys(engine: &Engine, settings: Result<Settings, Faults>) {
    match read_keys(settings) {
        Ok(Some(keys)) => {
            let ids = keys.ids();
            engine.replace_keys(keys);
            info!(signs = ids[0], verify:? = ids; "signing keys reloaded");
        }
        Ok(None) => info!("signing keys not reloaded: none are configured, those in use stay"),
        Err(error) => {
            let causes = std::iter::successors(error.source(), |cause| Error::source(*cause));
            let causes: Vec<_> = causes.map(|cause| cause.to_string().replace('\n', " ")).collect();
            error!(cause = causes.join(": "); "signing keys not reloaded, the previous ones stay in use: {error}");
        }
    }
}

fn read_keys(settings: Result<Settings, Faults>) -> Result<Option<KeyRing>, KeysError> {
    let settings = settings?;
    if settings.signing_keys.is_empty() { Ok(None) } else { Ok(Some(key_ring(&settings)?)) }
}
