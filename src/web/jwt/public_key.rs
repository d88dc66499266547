//! The RSA public key that verifies tokens.

use std::{fmt, str::FromStr};

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Deserializer, de::Error};

/// An RSA public key, which verifies RS256 tokens. It is parsed from PEM format (`BEGIN PUBLIC KEY` or
/// `BEGIN RSA PUBLIC KEY`).
///
/// ```
/// use hubcast::web::{InvalidPublicKey, Jwt, PublicKey};
///
/// fn authentication(pem: &str) -> Result<Jwt, InvalidPublicKey> {
///     let key: PublicKey = pem.parse()?;
///     Ok(Jwt::default().public_key(key))
/// }
/// ```
#[derive(Clone)]
pub struct PublicKey(pub(super) DecodingKey);

/// A text is not an RSA public key in PEM format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPublicKey {
    /// It contains a private key.
    #[error("this is a private key; keep it where tokens are issued, and configure its public key")]
    PrivateKey,
    /// It is something else.
    #[error("expected an RSA public key in PEM format")]
    NotAPublicKey,
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(pem: &str) -> Result<Self, InvalidPublicKey> {
        if pem.contains("PRIVATE KEY") {
            return Err(InvalidPublicKey::PrivateKey);
        }
        DecodingKey::from_rsa_pem(pem.as_bytes()).map(Self).map_err(|_| InvalidPublicKey::NotAPublicKey)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}
