//! Who clients are.

use std::{fmt, net::SocketAddr};

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::units::{self, Secret};

/// The fewest bytes of a secret of HS256 (RFC 7518 section 3.2): as many as its hash has.
const SHORTEST_HS256: usize = 32;

/// Who clients are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// How clients say who they are. Default `query`, so that anybody can try; it is refused on the network.
    #[serde(deserialize_with = "units::word")]
    pub mode: Mode,
    /// Allows `query` on the network all the same. Default false: everybody could be anybody.
    pub query_on_network: bool,
    /// The secrets that HS256 tokens may be signed with, of at least 32 characters each. Default none.
    #[serde(deserialize_with = "units::list")]
    pub secrets: Vec<Secret<SHORTEST_HS256>>,
    /// The public keys that RS256 tokens may be signed under, each as PEM text. Default none.
    #[serde(deserialize_with = "units::list")]
    pub public_keys: Vec<PublicKey>,
    /// Whom a token must be meant for (its `aud`). Default: anybody.
    pub audience: Option<String>,
    /// Who must have issued it (its `iss`). Default: anybody who has a key.
    pub issuer: Option<String>,
    /// The claim that names the user. Default `sub`.
    pub user_claim: String,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            query_on_network: false,
            secrets: Vec::new(),
            public_keys: Vec::new(),
            audience: None,
            issuer: None,
            user_claim: "sub".into(),
        }
    }
}

/// How clients say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As they like: `?user=ann`.
    #[default]
    Query,
    /// By a JSON web token.
    Jwt,
}

/// A key that verifies RS256.
#[derive(Clone)]
pub struct PublicKey(DecodingKey);

impl PublicKey {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &DecodingKey {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pem = String::deserialize(deserializer)?;
        if pem.contains("PRIVATE KEY") {
            return Err(D::Error::custom(
                "this is a private key; keep it where tokens are made, and set its public key",
            ));
        }
        let key = DecodingKey::from_rsa_pem(pem.as_bytes());
        key.map(Self).map_err(|_| D::Error::custom("this is no RSA public key in PEM"))
    }
}

impl Auth {
    /// The texts that must not be empty, by their keys.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let user_claim = Some(("auth.user_claim", &*self.user_claim));
        let audience = self.audience.as_deref().map(|text| ("auth.audience", text));
        let issuer = self.issuer.as_deref().map(|text| ("auth.issuer", text));
        [user_claim, audience, issuer].into_iter().flatten()
    }

    pub(super) fn contradictions(&self, listen: SocketAddr) -> Vec<(Vec<&'static str>, String)> {
        let has_keys = !self.secrets.is_empty() || !self.public_keys.is_empty();
        let exposes = self.mode == Mode::Query && !listen.ip().is_loopback() && !self.query_on_network;
        let keys = ["auth.mode", "auth.secrets", "auth.public_keys"];
        let mut found = Vec::new();
        if exposes {
            let text = format!(
                "with `query` everybody on the network of {listen} could be anybody; set it to `jwt`, or \
                 auth.query_on_network to true if that is wanted"
            );
            found.push((vec!["auth.mode", "listen", "auth.query_on_network"], text));
        }
        match self.mode {
            Mode::Jwt if !has_keys => {
                found.push((keys.to_vec(), "`jwt` needs a key: set auth.secrets or auth.public_keys".into()));
            }
            Mode::Query if has_keys => {
                let text = "keys are set, and `query` would not ask for tokens; set it to `jwt`, or take the keys out";
                found.push((keys.to_vec(), text.into()));
            }
            Mode::Jwt | Mode::Query => {}
        }
        found
    }
}
