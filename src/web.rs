//! What both dialects and the service need of HTTP.
//!
//! Role: who is asking, and what the request says. Life: values, made before the engine.
//! Neighbours: endpoints above it, actix-web below.
//! Never: nothing in here answers a request, but those of whoever may not ask and those of other origins
//! ([`Cors`]).

use std::{borrow::Cow, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web::Payload,
};
use bytes::Bytes;
use tokio::time::timeout;

use crate::hub::{Identity, Request};

mod cors;
mod jwt;
mod query;

pub use cors::{Cors, CorsService};
pub use jwt::Jwt;
pub(crate) use query::LocalQueryUser;
pub use query::QueryUser;

/// Who may use an endpoint.
pub(crate) type EndpointGuard = Arc<dyn Fn(&Identity) -> bool + Send + Sync>;

/// Finds out who is asking.
pub trait Authenticate: Send + Sync + 'static {
    /// Answers who it is; somebody without a name is an identity too. It must not block: what takes time belongs into
    /// a middleware, which leaves what it has found in the request's extensions.
    ///
    /// # Errors
    /// [`AuthError`], if it claims to be somebody and cannot prove it: the request is answered with 401.
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError>;
}

/// What somebody brought as proof is none, and why; the client is told.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthError(pub String);

impl AuthError {
    /// The answer: 401, with the scheme that would be accepted (RFC 9110 section 11.6.1) and the reason.
    pub(crate) fn answer(&self) -> HttpResponse {
        let challenge = (header::WWW_AUTHENTICATE, "Bearer realm=\"hubcast\"");
        HttpResponse::Unauthorized()
            .insert_header(challenge)
            .content_type("text/plain; charset=utf-8")
            .body(self.0.clone())
    }
}

/// Answers who is asking at an endpoint.
///
/// # Errors
/// The answer to whoever may not: 401, or 403 if it is proven who that is.
pub(crate) fn admit(
    authenticate: &dyn Authenticate,
    guard: Option<&EndpointGuard>,
    request: &HttpRequest,
) -> Result<Identity, HttpResponse> {
    let identity = authenticate.identify(request).map_err(|unproven| unproven.answer())?;
    if guard.is_none_or(|guard| guard(&identity)) {
        return Ok(identity);
    }
    let status = if identity.is_authenticated { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
    Err(HttpResponse::new(status))
}

/// Authenticates nobody: every client is anonymous.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Authenticate for Anonymous {
    fn identify(&self, _: &HttpRequest) -> Result<Identity, AuthError> {
        Ok(Identity::default())
    }
}

impl<F> Authenticate for F
where
    F: Fn(&HttpRequest) -> Result<Identity, AuthError> + Send + Sync + 'static,
{
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        self(request)
    }
}

/// The bearer token of a request: that of the header, or else the query's `access_token`, since browsers
/// cannot set a header for a WebSocket or an event stream.
#[must_use]
pub fn bearer(request: &HttpRequest) -> Option<Cow<'_, str>> {
    if let Some(token) = bearer_header(request.headers()) {
        return Some(token.into());
    }
    let mut query = form_urlencoded::parse(request.query_string().as_bytes());
    query.find(|(name, _)| name.eq_ignore_ascii_case("access_token")).map(|(_, token)| token)
}

/// The bearer token of a request's header; the scheme compares without case (RFC 9110 section 11.1).
pub(crate) fn bearer_header(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// How long the body of a request may take: enough for a megabyte over a slow line. Whoever takes longer holds a
/// connection of the server for nothing.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Why a request's body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("The body of the request is too long.")]
    TooLong,
    #[error("The body of the request takes too long.")]
    TooSlow,
    #[error("The body of the request could not be read.")]
    Broken,
}

impl BodyError {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// The body of a request, of at most `limit` bytes.
pub(crate) async fn body_of(payload: Payload, limit: usize) -> Result<Bytes, BodyError> {
    let body = timeout(BODY_TIME, payload.to_bytes_limited(limit)).await.map_err(|_| BodyError::TooSlow)?;
    body.map_err(|_| BodyError::TooLong)?.map_err(|_| BodyError::Broken)
}

/// What hubs may know of a request.
pub(crate) fn request_of(request: &HttpRequest) -> Request {
    let text = |value: &actix_web::http::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Request {
        query: query_of(request.query_string()),
        headers: request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        remote: request.peer_addr(),
    }
}

/// The members of a query or a form, decoded, in their order.
pub(crate) fn query_of(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// What a query or a form has under a name, in any case. Wire: the values of a name that is given twice are
/// joined by a comma, and nothing but empty ones is none.
pub(crate) fn value_of(members: &[(String, String)], name: &str) -> Option<String> {
    let values: Vec<_> =
        members.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect();
    Some(values.join(",")).filter(|value| !value.is_empty())
}

/// A pattern that matches this path letter by letter; wrapped in `(?i:…)` it does so in any case.
pub(crate) fn without_case(path: &str) -> String {
    path.chars().flat_map(|c| [(!c.is_alphanumeric() && c != '/').then_some('\\'), Some(c)]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use actix_web::{FromRequest, test::TestRequest};

    use super::*;

    #[actix_web::test]
    async fn a_body_that_does_not_come_is_given_up() {
        tokio::time::pause();
        let (_never, payload) = actix_http::h1::Payload::create(false);
        let request = TestRequest::default().to_http_request();
        let payload = Payload::from_request(&request, &mut payload.into()).await.unwrap();
        assert_eq!(body_of(payload, 10).await, Err(BodyError::TooSlow));
    }

    #[test]
    fn the_scheme_of_a_token_has_no_case() {
        for (value, token) in
            [("Bearer abc", Some("abc")), ("bearer  abc", Some("abc")), ("Basic abc", None), ("abc", None)]
        {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(bearer_header(&headers), token, "{value}");
        }
    }

    #[test]
    fn names_are_found_without_case_and_doubled_ones_are_joined() {
        let members = [("A", "1"), ("b", ""), ("a", "2")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(value_of(&members, "a").as_deref(), Some("1,2"));
        assert_eq!(value_of(&members, "B"), None);
        assert_eq!(value_of(&members, "c"), None);
    }
}
