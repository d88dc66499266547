//! JSON web tokens that this server issues and accepts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::HttpRequest;
use hubcast::{
    hub::Identity,
    web::{AuthError, Authenticate as _, Jwt},
};
use jsonwebtoken::{EncodingKey, Header, encode, errors::Error};
use serde_json::json;

/// The lifetime of a token. The server tolerates that clocks differ by a minute.
const LIFETIME: Duration = Duration::from_secs(5);

/// Issues tokens, and identifies clients by them.
#[derive(Clone)]
pub(super) struct Tokens {
    secret: String,
    jwt: Jwt,
}

impl Default for Tokens {
    fn default() -> Self {
        let secret = uuid::Uuid::new_v4().to_string();
        Self { jwt: Jwt::default().secret(&secret), secret }
    }
}

impl Tokens {
    /// A token for the user `testuser`.
    pub(super) fn issue(&self) -> Result<String, TokenError> {
        let expires = SystemTime::now() + LIFETIME;
        let claims = json!({
            "sub": "testuser",
            "iss": "SignalRTestServer",
            "aud": "SignalRTests",
            "exp": expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        });
        Ok(encode(&Header::default(), &claims, &EncodingKey::from_secret(self.secret.as_bytes()))?)
    }

    /// Identifies clients. A client without a valid token is anonymous.
    pub(super) fn authentication(&self) -> impl Fn(&HttpRequest) -> Result<Identity, AuthError> + use<> {
        let jwt = self.jwt.clone();
        move |request| Ok(jwt.identify(request).unwrap_or_default())
    }
}

/// The token cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct TokenError(#[from] Error);

impl actix_web::ResponseError for TokenError {}
