//! Everybody is whoever they say: for trying out, on a machine of one's own.

use std::net::IpAddr;

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderValue},
};

use super::{AuthError, Authenticate, query_of};
use crate::{UserId, hub::Identity};

/// Takes `?user=ann` at its word; who says nothing has no name. Nobody is authenticated by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryUser;

impl Authenticate for QueryUser {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        let users = query_of(request.query_string()).into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("user"));
        let user = users.map(|(_, user)| user).find(|user| !user.is_empty());
        Ok(Identity::named(user.map(UserId::from)))
    }
}

/// As [`QueryUser`], on loopback: for whoever has addressed the server as what is here. A page from elsewhere can have
/// the name of its own server mean loopback, and its visitor's browser would take it for a page of this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalQueryUser;

impl Authenticate for LocalQueryUser {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        match request.headers().get(header::HOST).map(HeaderValue::to_str) {
            Some(Ok(host)) if !is_local(host) => Err(AuthError(format!(
                "users are believed (auth.mode = query) as long as this server is called localhost, not `{host}`; \
                 auth.query_on_network allows other names"
            ))),
            _ => QueryUser.identify(request),
        }
    }
}

/// True for a host, with or without a port, that is this machine to whoever names it.
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
    fn a_client_is_who_it_says() {
        assert_eq!(identify("/chat?id=1&user=ann%20lee").user, Some("ann lee".into()));
        assert_eq!(identify("/chat?User=ann").user, Some("ann".into()));
    }

    #[test]
    fn a_name_that_is_not_this_machines_is_not_taken_for_it() {
        for (host, is_here) in [
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
            assert_eq!(LocalQueryUser.identify(&request).is_ok(), is_here, "{host}");
        }
    }

    #[test]
    fn who_says_nothing_is_nobody_and_nobody_is_authenticated() {
        assert_eq!(identify("/chat"), Identity::default());
        assert_eq!(identify("/chat?user="), Identity::default());
        assert!(!identify("/chat?user=ann").is_authenticated);
    }
}
