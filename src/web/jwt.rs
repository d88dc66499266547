//! Clients prove who they are with a JSON web token (RFC 7519).
//!
//! A token says which algorithm it uses, and is never believed: secrets verify HS256 alone, public keys RS256 alone,
//! so that nobody can sign with a key that everybody knows. Every token must expire.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use actix_web::HttpRequest;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{AuthError, Authenticate, bearer};
use crate::hub::Identity;

/// Clocks of issuers may be ahead or behind by so much.
const LEEWAY: Duration = Duration::from_secs(60);

/// Believes tokens that are signed with one of its keys.
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
        Self { keys: Vec::new(), audience: None, issuer: None, user_claim: "sub".into() }
    }
}

impl Jwt {
    /// Believes tokens signed with this secret by HS256.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Self {
        self.keys.push((Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes())));
        self
    }

    /// Believes tokens signed under this RSA key by RS256.
    #[must_use]
    pub fn public_key(mut self, key: DecodingKey) -> Self {
        self.keys.push((Algorithm::RS256, key));
        self
    }

    /// Believes only tokens meant for `audience`. Default: any.
    #[must_use]
    pub fn audience(mut self, audience: Option<String>) -> Self {
        self.audience = audience;
        self
    }

    /// Believes only tokens of `issuer`. Default: any that has a key.
    #[must_use]
    pub fn issuer(mut self, issuer: Option<String>) -> Self {
        self.issuer = issuer;
        self
    }

    /// The claim that names the user. Default `sub`.
    #[must_use]
    pub fn user_claim(mut self, claim: &str) -> Self {
        claim.clone_into(&mut self.user_claim);
        self
    }

    /// Invariant: what is demanded is also required to be there; the crate lets a missing claim pass otherwise.
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
        let header = decode_header(token).map_err(|_| refused("it is no JSON web token"))?;
        // RFC 7515 section 4.1.11: whoever does not know what is critical must refuse; nothing of it is known here.
        if header.crit.is_some() {
            return Err(refused("it demands an extension that is not known here (`crit`)"));
        }
        let validation = self.validation(header.alg);
        let mut refusal = refused("none of the keys is for its algorithm");
        for (_, key) in self.keys.iter().filter(|(of, _)| *of == header.alg) {
            match decode(token, key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => refusal = refused(reason(error.kind())),
                // The signature is looked at first: this is its key, and no other has a better word to say.
                Err(error) => return Err(refused(reason(error.kind()))),
            }
        }
        Err(refusal)
    }

    fn user(&self, claims: &Map<String, Value>) -> Result<String, AuthError> {
        let user = claims.get(&self.user_claim).and_then(text).filter(|user| !user.is_empty());
        user.ok_or_else(|| refused(&format!("it names no user in `{}`", self.user_claim)))
    }
}

impl Authenticate for Jwt {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        let token = bearer(request).ok_or_else(|| {
            AuthError(
                "a bearer token is needed, in the header `Authorization` or as `access_token` in the query".into(),
            )
        })?;
        let claims = self.claims(&token)?;
        let user = self.user(&claims)?;
        let expires = claims.get("exp").and_then(Value::as_f64).and_then(|exp| Duration::try_from_secs_f64(exp).ok());
        let claims = claims.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?)));
        Ok(Identity {
            expires: expires.and_then(|exp| UNIX_EPOCH.checked_add(exp.checked_add(LEEWAY)?)),
            claims: claims.collect::<BTreeMap<_, _>>(),
            ..Identity::proven(user.into())
        })
    }
}

/// A claim as text: a text as it is, anything else but null as JSON.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

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
        ErrorKind::MissingRequiredClaim(_) => "it lacks a claim that is required (`exp`, or `aud` and `iss` where set)",
        _ => "it is malformed",
    }
}

#[cfg(test)]
mod tests;
