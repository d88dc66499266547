//! The bearer token of operators.

use std::fmt;

use actix_web::http::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::web::bearer_header;

/// The bearer token that admin routes require. `Debug` redacts it, and its memory is overwritten when it is dropped.
///
/// ```
/// use hubcast::admin::AdminToken;
///
/// let token = AdminToken::from("a random secret of the operators");
/// assert!(!format!("{token:?}").contains("random"));
/// ```
#[derive(Clone)]
pub struct AdminToken(SecretString);

impl AdminToken {
    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// True if the headers of a request contain this token as their bearer token.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        bearer_header(headers).is_some_and(|presented| self.matches(presented))
    }

    /// True if `presented` is this token, compared in constant time. False for every text if this token is empty.
    fn matches(&self, presented: &str) -> bool {
        let token = self.expose();
        !token.is_empty() && bool::from(token.as_bytes().ct_eq(presented.as_bytes()))
    }
}

impl From<&str> for AdminToken {
    fn from(token: &str) -> Self {
        Self(token.into())
    }
}

impl From<String> for AdminToken {
    fn from(token: String) -> Self {
        Self(token.into())
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}
