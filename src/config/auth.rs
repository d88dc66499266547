//! Settings of the authentication of clients.

use std::net::SocketAddr;

use serde::Deserialize;

use super::units::{self, Secret};
use crate::web::PublicKey;

/// The minimum length of an HS256 secret in bytes: that of its hash (RFC 7518 section 3.2).
const MIN_HS256_SECRET: usize = 32;

/// Authentication of clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// How clients authenticate. Default `query`, for evaluation; it is refused if `listen` is not a loopback address.
    #[serde(deserialize_with = "units::keyword")]
    pub mode: Mode,
    /// Allows `query` on the network. Default false, because every client could claim any user name.
    pub query_on_network: bool,
    /// The secrets that verify HS256 tokens, with at least 32 bytes each. Default none.
    #[serde(deserialize_with = "units::list")]
    pub secrets: Vec<Secret<MIN_HS256_SECRET>>,
    /// The public keys that verify RS256 tokens, each in PEM format. Default none.
    #[serde(deserialize_with = "units::list")]
    pub public_keys: Vec<PublicKey>,
    /// The required audience of a token (`aud`). Default: any.
    pub audience: Option<String>,
    /// The required issuer of a token (`iss`). Default: any that has a key.
    pub issuer: Option<String>,
    /// The claim that names the user. Default `sub`.
    pub user_claim: String,
    /// Ends a connection when its token expires, so that a client that is blocked meanwhile does not stay. The client
    /// may reconnect with a new token. Default false, as in ASP.NET Core SignalR.
    pub close_on_expiry: bool,
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
            close_on_expiry: false,
        }
    }
}

/// How clients authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Without proof, by a name in the query: `?user=ann`.
    #[default]
    Query,
    /// With a JSON Web Token.
    Jwt,
}

impl Auth {
    /// The settings that must not be empty, with their keys.
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
                "with `query`, every client that reaches {listen} can claim any user name; set auth.mode to `jwt`, or \
                 set auth.query_on_network to true to allow this"
            );
            found.push((vec!["auth.mode", "listen", "auth.query_on_network"], text));
        }
        match self.mode {
            Mode::Jwt if !has_keys => {
                found.push((keys.to_vec(), "`jwt` needs a key; set auth.secrets or auth.public_keys".into()));
            }
            Mode::Query if has_keys => {
                let text = "auth.secrets and auth.public_keys have no effect with `query`; set auth.mode to \
                            `jwt`, or remove the keys";
                found.push((keys.to_vec(), text.into()));
            }
            Mode::Jwt | Mode::Query => {}
        }
        if self.close_on_expiry && self.mode == Mode::Query {
            let text = "has no effect with `query`, whose users do not expire; set auth.mode to `jwt`, or remove it";
            found.push((vec!["auth.close_on_expiry", "auth.mode"], text.into()));
        }
        found
    }
}
