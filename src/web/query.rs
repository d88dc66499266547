//! Takes the user name from the query without verification: for development on one's own machine.

use std::net::IpAddr;

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderValue},
};

use super::{AuthError, Authenticate, parse_query};
use crate::{UserId, hub::Identity};

/// Accepts the user in `?user=ann` without verification. Clients without the parameter are anonymous. The resulting
/// identities are not authenticated.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryUser;

impl Authenticate for QueryUser {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        let users =
            parse_query(request.query_string()).into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("user"));
        let user = users.map(|(_, user)| user).find(|user| !user.is_empty());
        Ok(Identity::named(user.map(UserId::from)))
    }
}

/// Like [`QueryUser`], but only for requests whose `Host` header names the local machine. It prevents DNS rebinding: a
/// foreign page can make its own host name resolve to loopback, and the browser would then treat this server as the
/// page's own origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalQueryUser;

impl Authenticate for LocalQueryUser {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        match request.headers().get(header::HOST).map(HeaderValue::to_str) {
            Some(Ok(host)) if !is_local(host) => Err(AuthError(format!(
                "auth.mode = query accepts only requests to localhost, not to `{host}`; \
                 auth.query_on_network allows other hosts"
            ))),
            _ => QueryUser.identify(request),
        }
    }
}

/// True if a host, with or without a port, always names the local machine.
fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn identify(uri: &str) -> Identity {
        QueryUser.identify(&TestRequest::with_uri(uri).to_http_request()).unwrap()
    }

    #[test]
    fn user_is_taken_from_query() {
        assert_eq!(identify("/chat?id=1&user=ann%20lee").user, Some("ann lee".into()));
        assert_eq!(identify("/chat?User=ann").user, Some("ann".into()));
    }

    #[test]
    fn foreign_host_name_is_refused() {
        for (host, is_accepted) in [
            ("localhost", true),
            ("LocalHost:8080", true),
            ("127.0.0.1:8080", true),
            ("127.0.0.2", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("192.168.0.1:8080", false),
            ("", false),
        ] {
            let request = TestRequest::with_uri("/chat?user=ann").insert_header(("Host", host)).to_http_request();
            assert_eq!(LocalQueryUser.identify(&request).is_ok(), is_accepted, "{host}");
        }
    }

    #[test]
    fn missing_user_is_anonymous_and_none_is_authenticated() {
        assert_eq!(identify("/chat"), Identity::default());
        assert_eq!(identify("/chat?user="), Identity::default());
        assert!(!identify("/chat?user=ann").is_authenticated);
    }
}
