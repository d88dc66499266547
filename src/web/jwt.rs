//! Authentication with a JSON web token (RFC 7519).
//!
//! The algorithm that a token states is not trusted. Secrets verify only HS256 and public keys verify only RS256, so
//! that a public key cannot be used as an HS256 secret to forge tokens. Every token must expire.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use actix_web::HttpRequest;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{AuthError, Authenticate, bearer};
use crate::{crypto, hub::Identity};

mod public_key;

pub use public_key::{InvalidPublicKey, PublicKey};

/// The tolerated difference between the clocks of issuer and server.
const LEEWAY: Duration = Duration::from_secs(60);

/// Accepts tokens that are signed with one of its keys.
///
/// The cryptography of the crate jsonwebtoken is common to a process. This type installs ring, for HS256 and RS256, unless
/// there is one: an application that uses that crate for other algorithms installs its provider first.
#[derive(Clone)]
pub struct Jwt {
    keys: Vec<(Algorithm, DecodingKey)>,
    audience: Option<String>,
    issuer: Option<String>,
    user_claim: String,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Default for Jwt {
    fn default() -> Self {
        crypto::install_for_jwt();
        Self { keys: Vec::new(), audience: None, issuer: None, user_claim: "sub".into() }
    }
}

impl Jwt {
    /// Accepts HS256 tokens signed with this secret.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Self {
        self.keys.push((Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes())));
        self
    }

    /// Accepts RS256 tokens signed with the private key of this RSA public key.
    #[must_use]
    pub fn public_key(mut self, key: PublicKey) -> Self {
        self.keys.push((Algorithm::RS256, key.0));
        self
    }

    /// Accepts only tokens for `audience`. Default: any.
    #[must_use]
    pub fn audience(mut self, audience: Option<String>) -> Self {
        self.audience = audience;
        self
    }

    /// Accepts only tokens of `issuer`. Default: any issuer whose key is configured.
    #[must_use]
    pub fn issuer(mut self, issuer: Option<String>) -> Self {
        self.issuer = issuer;
        self
    }

    /// Sets the claim that contains the user. Default: `sub`.
    #[must_use]
    pub fn user_claim(mut self, claim: &str) -> Self {
        claim.clone_into(&mut self.user_claim);
        self
    }

    /// Invariant: every claim that is validated is also required. Otherwise jsonwebtoken accepts tokens without it.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.validate_aud = self.audience.is_some();
        let mut required = vec!["exp"];
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn claims(&self, token: &str) -> Result<Map<String, Value>, AuthError> {
        let header = decode_header(token).map_err(|_| refused("it is not a JSON web token"))?;
        // RFC 7515 section 4.1.11: a token with an unsupported critical extension must be refused. None is supported.
        if header.crit.is_some() {
            return Err(refused("it requires an extension that is not supported (crit)"));
        }
        let validation = self.validation(header.alg);
        let mut refusal = refused("none of the keys is for its algorithm");
        for (_, key) in self.keys.iter().filter(|(of, _)| *of == header.alg) {
            match decode(token, key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => refusal = refused(reason(error.kind())),
                // The signature is verified first, so this is the token's key and its error is the reason.
                Err(error) => return Err(refused(reason(error.kind()))),
            }
        }
        Err(refusal)
    }

    fn user(&self, claims: &Map<String, Value>) -> Result<String, AuthError> {
        let user = claims.get(&self.user_claim).and_then(claim_text).filter(|user| !user.is_empty());
        user.ok_or_else(|| refused(&format!("it names no user in its claim {}", self.user_claim)))
    }
}

impl Authenticate for Jwt {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        let token = bearer(request).ok_or_else(|| {
            AuthError("a bearer token is required, in the header Authorization or as access_token in the query".into())
        })?;
        let claims = self.claims(&token)?;
        let user = self.user(&claims)?;
        let expires = claims.get("exp").and_then(Value::as_f64).and_then(|exp| Duration::try_from_secs_f64(exp).ok());
        let claims = claims.iter().filter_map(|(name, value)| Some((name.clone(), claim_text(value)?)));
        Ok(Identity {
            expires: expires.and_then(|exp| UNIX_EPOCH.checked_add(exp.checked_add(LEEWAY)?)),
            claims: claims.collect::<BTreeMap<_, _>>(),
            ..Identity::authenticated(user.into())
        })
    }
}

/// A claim as a string: a string as it is, null as `None`, any other value as JSON.
fn claim_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

// The log leaves out what a reason quotes, so `why` quotes nothing.
fn refused(why: &str) -> AuthError {
    AuthError(format!("the bearer token is refused: {why}"))
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAudience => "it is meant for another audience",
        ErrorKind::InvalidIssuer => "it has another issuer",
        ErrorKind::MissingRequiredClaim(_) => "it lacks a claim that is required (exp, or aud and iss where set)",
        _ => "it is malformed",
    }
}

#[cfg(test)]
mod tests;
