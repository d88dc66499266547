//! The cryptography library: ring, for TLS and for JSON web tokens ([decision 9](../docs/decisions/0009-ring-for-cryptography.md)).
//!
//! No other module selects one, so a build contains one.

#[cfg(any(feature = "azure", feature = "service"))]
use std::sync::Arc;

#[cfg(any(feature = "azure", feature = "service"))]
use rustls::crypto::{CryptoProvider, ring};

#[cfg(feature = "jwt")]
mod jwt;

#[cfg(feature = "jwt")]
pub(crate) use jwt::install as install_for_jwt;

/// The cryptography of TLS. It is named where TLS is configured, because the default of the process depends on the
/// features of other crates.
#[cfg(any(feature = "azure", feature = "service"))]
pub(crate) fn for_tls() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
