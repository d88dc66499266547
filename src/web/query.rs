//! Takes the user name from the query without verification: for development on one's own machine.

use std::net::IpAddr;

use actix_web::{HttpRequest, http::header};

use super::{AuthError, Authenticate, parse_query, proxies::hides_client};
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

/// Like [`QueryUser`], but only for requests that come from the local machine and name it in `Host`. It prevents DNS
/// rebinding: a foreign page can make its own host name resolve to loopback, and the browser would then treat this
/// server as the page's own origin. It also refuses what a proxy forwards for a client that is not known to be local:
/// behind a proxy that rewrites `Host`, every client of the network would name the local machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalQueryUser;

impl Authenticate for LocalQueryUser {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        if hides_client(request) {
            return Err(refused("not to those of a proxy"));
        }
        // A trusted proxy has stated this address. Other peers are local, because the service listens on loopback.
        if let Some(client) = request.peer_addr().filter(|client| !client.ip().to_canonical().is_loopback()) {
            return Err(refused(&format!("not of a client at {}", client.ip())));
        }
        // Each host counts: a request that names several could mean any of them.
        let headers = request.headers().get_all(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
        let target = request.uri().authority().map(|authority| authority.as_str().into());
        let hosts: Vec<_> = headers.chain(target).collect();
        match hosts.iter().find(|host| !is_local(host)) {
            Some(host) => Err(refused(&format!("not to `{}`", host.escape_debug()))),
            None if hosts.is_empty() => Err(refused("and this one names no host")),
            None => QueryUser.identify(request),
        }
    }
}

fn refused(why: &str) -> AuthError {
    AuthError(format!(
        "auth.mode = query accepts only requests to localhost, {why}; auth.query_on_network allows all requests"
    ))
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
    use actix_web::{
        App, HttpResponse,
        http::{StatusCode, header::HeaderValue},
        test::{TestRequest, call_service, init_service},
        web,
    };

    use super::*;
    use crate::web::TrustedProxies;

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
    fn unreadable_missing_or_second_host_is_refused() {
        let local = || TestRequest::with_uri("/chat?user=ann").insert_header(("Host", "localhost"));
        let is_accepted = |request: TestRequest| LocalQueryUser.identify(&request.to_http_request()).is_ok();
        assert!(is_accepted(local()));
        assert!(!is_accepted(local().append_header(("Host", "evil.example"))));
        assert!(!is_accepted(TestRequest::with_uri("/chat?user=ann")));
        assert!(!is_accepted(TestRequest::with_uri("http://evil.example/chat").insert_header(("Host", "localhost"))));
        let bytes = HeaderValue::from_bytes(b"ev\xefl.example").unwrap();
        assert!(!is_accepted(TestRequest::with_uri("/chat?user=ann").insert_header((header::HOST, bytes))));
    }

    #[test]
    fn request_of_a_proxy_is_refused() {
        for header in ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP"] {
            let request = TestRequest::with_uri("/chat").insert_header(("Host", "localhost"));
            let request = request.insert_header((header, "x")).to_http_request();
            assert!(LocalQueryUser.identify(&request).is_err(), "{header}");
        }
    }

    #[actix_web::test]
    async fn trusted_proxy_is_accepted_for_local_clients_only() {
        let identify = |request: HttpRequest| async move {
            let refusal = LocalQueryUser.identify(&request).err();
            refusal.map_or_else(|| HttpResponse::Ok().finish(), |refusal| refusal.response())
        };
        let proxies = TrustedProxies::new(["127.0.0.1".parse().unwrap()]);
        let app = init_service(App::new().wrap(proxies).default_service(web::to(identify))).await;
        let request =
            || TestRequest::default().insert_header(("Host", "localhost")).peer_addr("127.0.0.1:1".parse().unwrap());
        assert_eq!(call_service(&app, request().to_request()).await.status(), StatusCode::OK);
        for (header, expected) in [
            (("X-Forwarded-For", "127.0.0.1"), StatusCode::OK),
            (("Forwarded", "for=\"[::1]\";proto=https"), StatusCode::OK),
            (("X-Forwarded-For", "203.0.113.7"), StatusCode::UNAUTHORIZED),
            (("X-Forwarded-For", "unknown"), StatusCode::UNAUTHORIZED),
            (("X-Forwarded-Proto", "https"), StatusCode::UNAUTHORIZED),
            (("Via", "1.1 proxy"), StatusCode::UNAUTHORIZED),
        ] {
            let forwarded = request().insert_header(header).to_request();
            assert_eq!(call_service(&app, forwarded).await.status(), expected, "{header:?}");
        }
        // As from a PROXY header.
        let remote =
            TestRequest::default().insert_header(("Host", "localhost")).peer_addr("203.0.113.7:1".parse().unwrap());
        assert_eq!(call_service(&app, remote.to_request()).await.status(), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn missing_user_is_anonymous_and_none_is_authenticated() {
        assert_eq!(identify("/chat"), Identity::default());
        assert_eq!(identify("/chat?user="), Identity::default());
        assert!(!identify("/chat?user=ann").is_authenticated);
    }
}
