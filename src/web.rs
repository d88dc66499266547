//! HTTP functions that both dialects and the service share: authentication, authorization, CORS and request parsing.
//!
//! Authenticators are values that are built before the engine. Endpoints use this module; it uses actix-web.
//! It does not answer requests itself, except those that are not authorized and those of other origins ([`Cors`]).

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web::Payload,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use crate::{
    connections::LimitReached,
    hub::{Authorize, Identity, Request},
    ids::check_user,
};

mod base_path;
mod cors;
mod filters;
#[cfg(feature = "jwt")]
mod jwt;
mod proxies;
mod query;
mod refusal;
mod socket_limit;
mod unread_body;

pub use base_path::{BasePath, InvalidBasePath};
pub use cors::{Cors, CorsService};
pub(crate) use filters::{authorize_connect, has_connect_filters};
#[cfg(feature = "jwt")]
pub use jwt::{InvalidPublicKey, Jwt, PublicKey};
pub use proxies::{ForwardingHeaders, InvalidNetwork, Network, TrustedProxies, TrustedProxiesService};
pub(crate) use query::LocalQueryUser;
pub use query::QueryUser;
pub(crate) use refusal::{log_refusal, log_request};
pub(crate) use socket_limit::refuse_beyond_socket_limit;
pub use unread_body::close_after_unread_body;

/// Authenticates requests.
pub trait Authenticate: Send + Sync + 'static {
    /// Returns the identity of the client; a client without a name, or with an empty one, is anonymous. It must not block.
    /// Slow work belongs in a middleware, which passes its result in the request's extensions.
    ///
    /// # Errors
    /// [`AuthError`], if the credentials are invalid. The request is answered with 401.
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError>;
}

/// The credentials are invalid. The text is sent to the client.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthError(pub String);

impl AuthError {
    /// The response: 401, with the accepted scheme (RFC 9110 section 11.6.1) and the reason.
    pub(crate) fn response(&self) -> HttpResponse {
        let challenge = (header::WWW_AUTHENTICATE, "Bearer realm=\"hubcast\"");
        HttpResponse::Unauthorized()
            .insert_header(challenge)
            .content_type("text/plain; charset=utf-8")
            .body(self.0.clone())
    }
}

/// Authenticates a request to an endpoint and checks that its identity is authorized. Returns the identity.
///
/// # Errors
/// The response for a client that is not authorized: 403 if its identity is authenticated, else 401. 431 if its request
/// has too many bytes, and 400 if its user name is invalid.
pub(crate) fn authorize_request(
    authenticate: &dyn Authenticate,
    authorize: Option<&Authorize>,
    request: &HttpRequest,
) -> Result<Identity, HttpResponse> {
    check_head(request)?;
    let mut identity = authenticate.identify(request).map_err(|error| error.response())?;
    identity.user.take_if(|user| user.is_empty());
    let user = identity.user.as_ref().map_or(Ok(()), check_user);
    user.map_err(|error| HttpResponse::BadRequest().content_type("text/plain").body(error.to_string()))?;
    refusal::remember_user(request, &identity);
    if authorize.is_none_or(|authorize| authorize(&identity)) {
        return Ok(identity);
    }
    Err(HttpResponse::new(unauthorized_status(&identity)))
}

/// The status for a client that is not authorized.
fn unauthorized_status(identity: &Identity) -> StatusCode {
    if identity.is_authenticated { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED }
}

/// The maximum number of bytes of the query and the headers of a request together. A connection keeps most of them, as
/// hubs can read them. It is the limit of nginx.
const MAX_HEAD_BYTES: usize = 32 * 1024;

fn check_head(request: &HttpRequest) -> Result<(), HttpResponse> {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    if request.query_string().len() + headers.sum::<usize>() <= MAX_HEAD_BYTES {
        return Ok(());
    }
    let text = format!("The query and the headers of the request have more than {MAX_HEAD_BYTES} bytes.");
    Err(HttpResponse::build(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).content_type("text/plain").body(text))
}

/// When the credentials of an identity expire, as a time of the monotonic clock; `None` if they do not. Times in the past
/// become the present.
pub(crate) fn expiry(identity: &Identity) -> Option<Instant> {
    let remaining = identity.expires?.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now().checked_add(remaining)
}

/// Accepts every client as anonymous.
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

/// The bearer token of a request: from the `Authorization` header, or else from `access_token` in the query, because
/// browsers cannot set a header for a WebSocket or an event stream.
#[must_use]
pub fn bearer(request: &HttpRequest) -> Option<Cow<'_, str>> {
    if let Some(token) = bearer_header(request.headers()) {
        return Some(token.into());
    }
    let mut query = form_urlencoded::parse(request.query_string().as_bytes());
    query.find(|(name, _)| name.eq_ignore_ascii_case("access_token")).map(|(_, token)| token)
}

/// The bearer token in a request's header. The scheme is compared case-insensitively (RFC 9110 section 11.1).
pub(crate) fn bearer_header(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The time after which a client that was refused for a limit may try again, in seconds.
const RETRY_AFTER_LIMIT: &str = "5";

/// The response to a client beyond a limit of connections: 503 if the process has no room, else 429.
pub(crate) fn limit_response(limit: LimitReached) -> HttpResponse {
    let status = match limit {
        LimitReached::Total => StatusCode::SERVICE_UNAVAILABLE,
        LimitReached::PerUser | LimitReached::PerAddress => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut response = HttpResponse::build(status);
    response.insert_header((header::RETRY_AFTER, RETRY_AFTER_LIMIT)).content_type("text/plain").body(limit.to_string())
}

/// The time limit for reading the body of a request: enough for a megabyte over a slow line. A slower client would
/// occupy a connection of the server for nothing.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the body of a request was not read.
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

/// Reads the body of a request, of at most `limit` bytes.
pub(crate) async fn read_body(payload: Payload, limit: usize) -> Result<Bytes, BodyError> {
    let body = timeout(BODY_READ_TIMEOUT, payload.to_bytes_limited(limit)).await.map_err(|_| BodyError::TooSlow)?;
    body.map_err(|_| BodyError::TooLong)?.map_err(|_| BodyError::Broken)
}

/// Reads the next part of the body of a request; `None` at its end. The time that the caller takes between two parts does
/// not count.
pub(crate) async fn next_body_part(payload: &mut Payload) -> Option<Result<Bytes, BodyError>> {
    match timeout(BODY_READ_TIMEOUT, payload.next()).await {
        Ok(part) => part.map(|part| part.map_err(|_| BodyError::Broken)),
        Err(_) => Some(Err(BodyError::TooSlow)),
    }
}

/// The part of a request that hubs can see.
pub(crate) fn hub_request(request: &HttpRequest) -> Request {
    let text = |value: &actix_web::http::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Request {
        query: parse_query(request.query_string()),
        headers: request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        remote: request.peer_addr(),
    }
}

/// The parameters of a query or a form, decoded, in their original order.
pub(crate) fn parse_query(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// The value of a query or form parameter. Names are compared case-insensitively. Wire: the values of a repeated
/// parameter are joined by a comma, and a parameter without a value counts as absent.
pub(crate) fn query_value(parameters: &[(String, String)], name: &str) -> Option<String> {
    let values: Vec<_> =
        parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect();
    Some(values.join(",")).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_web::{FromRequest, test::TestRequest};

    use super::*;

    #[actix_web::test]
    async fn body_that_does_not_arrive_times_out() {
        tokio::time::pause();
        let (_never, payload) = actix_http::h1::Payload::create(false);
        let request = TestRequest::default().to_http_request();
        let payload = Payload::from_request(&request, &mut payload.into()).await.unwrap();
        assert_eq!(read_body(payload, 10).await, Err(BodyError::TooSlow));
    }

    /// As in SignalR: its clients without a name have an empty one.
    #[test]
    fn client_with_an_empty_name_is_anonymous() {
        struct Named(&'static str);
        impl Authenticate for Named {
            fn identify(&self, _: &HttpRequest) -> Result<Identity, AuthError> {
                Ok(Identity { user: Some(self.0.into()), is_authenticated: true, ..Identity::default() })
            }
        }
        let request = TestRequest::default().to_http_request();
        for (name, user) in [("ann", Some("ann")), ("", None)] {
            let identity = authorize_request(&Named(name), None, &request).expect("an authorized client");
            assert_eq!((identity.user.as_deref(), identity.is_authenticated), (user, true));
        }
    }

    #[test]
    fn authorization_scheme_is_case_insensitive() {
        for (value, token) in
            [("Bearer abc", Some("abc")), ("bearer  abc", Some("abc")), ("Basic abc", None), ("abc", None)]
        {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(bearer_header(&headers), token, "{value}");
        }
    }

    #[test]
    fn parameters_are_case_insensitive_and_repeats_are_joined() {
        let parameters = [("A", "1"), ("b", ""), ("a", "2")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(query_value(&parameters, "a").as_deref(), Some("1,2"));
        assert_eq!(query_value(&parameters, "B"), None);
        assert_eq!(query_value(&parameters, "c"), None);
    }
}
