//! Cross-origin requests.
//!
//! Wire: responses are those of ASP.NET Core's middleware, because the browser client sends credentials. Every
//! response, including errors, names the origin and never `*`. A preflight request is granted the method and headers
//! that it asks for.
//!
//! Browsers let any page open a WebSocket to any server without a preflight request and only send the page's origin.
//! This middleware therefore refuses WebSockets from other origins that are not allowed (RFC 6455 section 10.2).
//! Clients that are not browsers send no origin and are not affected.

use std::sync::Arc;

use actix_web::{
    Error, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};
use futures_util::future::{LocalBoxFuture, Ready, ready};

use crate::{
    client_log::{self, Cause, optional},
    transport::websocket::offers_websocket,
};

/// Middleware that decides which origins may send requests with credentials. Wrap the application with it.
///
/// ```
/// use actix_web::App;
/// use hubcast::web::Cors;
///
/// let app = App::new().wrap(Cors::origins(["https://app.example"]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// `None` allows every origin.
    origins: Option<Arc<[String]>>,
}

impl Cors {
    /// Allows every origin. Use it only for applications that do not authenticate with cookies.
    #[must_use]
    pub fn any_origin() -> Self {
        Self { origins: None }
    }

    /// Allows these origins, in the form that browsers send: `https://app.example`.
    #[must_use]
    pub fn origins(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { origins: Some(origins.into_iter().map(Into::into).collect()) }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins
            .as_ref()
            .is_none_or(|origins| origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
    }

    /// True if the request opens a WebSocket from another origin that is not allowed.
    fn refuses(&self, request: &ServiceRequest) -> bool {
        let origin = request.headers().get(header::ORIGIN);
        offers_websocket(request.headers())
            && origin.is_some_and(|origin| !self.allows(origin) && !is_same_origin(origin, request))
    }

    /// The origin of a request, if it has one that is allowed.
    fn allowed(&self, request: &ServiceRequest) -> Option<HeaderValue> {
        request.headers().get(header::ORIGIN).filter(|origin| self.allows(origin)).cloned()
    }
}

/// True if the origin is the server itself under the scheme and the host that the browser used: those of the request,
/// which [`TrustedProxies`](super::TrustedProxies) replaces by those that a proxy states. To a server with TLS, the page
/// of the same host without TLS is foreign, because an attacker on the network can forge it.
fn is_same_origin(origin: &HeaderValue, request: &ServiceRequest) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = request.headers().get(header::HOST);
    origin.zip(host).is_some_and(|((scheme, authority), host)| {
        scheme.eq_ignore_ascii_case(request.connection_info().scheme())
            && host.as_bytes().eq_ignore_ascii_case(authority.as_bytes())
    })
}

fn refuse_websocket() -> HttpResponse {
    let text = "WebSockets from this origin are not allowed. The server's operator can allow the origin \
                (cors.origins). Behind a proxy, the server must know the host and the scheme that the browser used \
                (proxies.trusted).";
    HttpResponse::Forbidden().content_type("text/plain; charset=utf-8").body(text)
}

fn log_foreign_origin(request: &ServiceRequest) {
    let (address, no_origin) = (optional(request.peer_addr()), HeaderValue::from_static(""));
    let origin = request.headers().get(header::ORIGIN).unwrap_or(&no_origin).as_bytes();
    let (origin, host) = (String::from_utf8_lossy(origin), request.connection_info().host().to_owned());
    client_log::log(
        Cause::ForeignOrigin,
        &[("address", &address), ("path", &request.path()), ("origin", &origin), ("host", &host)],
    );
}

fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
}

fn preflight_response(request: &ServiceRequest, origin: Option<HeaderValue>) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    allow_origin(headers, origin);
    for (requested, allowed) in [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(value) = request.headers().get(requested) {
            headers.insert(allowed, value.clone());
        }
    }
    response
}

impl<S, B> Transform<S, ServiceRequest> for Cors
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = CorsService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(CorsService { service, cors: self.clone() }))
    }
}

/// A service wrapped in [`Cors`].
#[derive(Debug)]
pub struct CorsService<S> {
    service: S,
    cors: Cors,
}

impl<S, B> Service<ServiceRequest> for CorsService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let has_origin = request.headers().contains_key(header::ORIGIN);
        let origin = self.cors.allowed(&request);
        if is_preflight(&request) {
            let response = preflight_response(&request, origin);
            return Box::pin(ready(Ok(request.into_response(response).map_into_right_body())));
        }
        if self.cors.refuses(&request) {
            log_foreign_origin(&request);
            return Box::pin(ready(Ok(request.into_response(refuse_websocket()).map_into_right_body())));
        }
        let response = self.service.call(request);
        Box::pin(async move {
            let mut response = response.await?.map_into_left_body();
            if has_origin {
                response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
            }
            if let Some(origin) = origin {
                allow_origin(response.headers_mut(), origin);
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpResponse,
        http::StatusCode,
        test::{TestRequest, call_service, init_service},
        web,
    };

    use super::*;
    use crate::web::TrustedProxies;

    const HTTPS: (&str, &str) = ("X-Forwarded-Proto", "https");

    /// The status of a request with these headers to an application at `http://chat.example` that allows the origin
    /// `https://app.example`.
    async fn status(headers: &[(&str, &str)]) -> StatusCode {
        let route = web::get().to(|| async { HttpResponse::Ok().finish() });
        let cors = Cors::origins(["https://app.example"]);
        let app = init_service(App::new().wrap(cors).route("/", route)).await;
        let request = TestRequest::default().insert_header(("Host", "chat.example"));
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        call_service(&app, request.to_request()).await.status()
    }

    #[actix_web::test]
    async fn foreign_origin_cannot_open_websocket() {
        let websocket = ("Upgrade", "websocket");
        for foreign in ["https://evil.example", "https://chat.example.evil", "null", "https://chat.example:8443"] {
            assert_eq!(status(&[websocket, HTTPS, ("Origin", foreign)]).await, StatusCode::FORBIDDEN, "{foreign}");
        }
        for allowed in ["https://app.example", "https://chat.example"] {
            assert_eq!(status(&[websocket, HTTPS, ("Origin", allowed)]).await, StatusCode::OK, "{allowed}");
        }
        assert_eq!(status(&[websocket]).await, StatusCode::OK, "a client that is not a browser");
    }

    #[actix_web::test]
    async fn only_a_trusted_proxy_states_the_host() {
        let host = ("X-Forwarded-Host", "outside.example");
        let headers = [("Upgrade", "websocket"), HTTPS, host, ("Origin", "https://outside.example")];
        assert_eq!(status(&headers).await, StatusCode::FORBIDDEN);
        let proxies = TrustedProxies::new(["10.0.0.1".parse().unwrap()]);
        for (peer, expected) in [("10.0.0.1:1000", StatusCode::OK), ("10.0.0.2:1000", StatusCode::FORBIDDEN)] {
            let route = web::get().to(|| async { HttpResponse::Ok().finish() });
            let app = App::new().wrap(Cors::origins([""; 0])).wrap(proxies.clone()).route("/", route);
            let request = TestRequest::default().insert_header(("Host", "inner")).peer_addr(peer.parse().unwrap());
            let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
            assert_eq!(call_service(&init_service(app).await, request.to_request()).await.status(), expected, "{peer}");
        }
    }

    #[actix_web::test]
    async fn origin_of_another_scheme_is_foreign() {
        let (websocket, plain, tls) =
            (("Upgrade", "websocket"), ("Origin", "http://chat.example"), ("Origin", "https://chat.example"));
        assert_eq!(status(&[websocket, HTTPS, plain]).await, StatusCode::FORBIDDEN);
        assert_eq!(status(&[websocket, tls]).await, StatusCode::FORBIDDEN);
        assert_eq!(status(&[websocket, plain]).await, StatusCode::OK);
    }

    #[actix_web::test]
    async fn websocket_among_other_upgrades_is_checked() {
        let (upgrade, foreign) = (("Upgrade", "h2c, websocket"), ("Origin", "https://evil.example"));
        assert_eq!(status(&[upgrade, foreign]).await, StatusCode::FORBIDDEN);
    }

    #[actix_web::test]
    async fn plain_request_of_foreign_origin_is_answered() {
        assert_eq!(status(&[("Origin", "https://evil.example")]).await, StatusCode::OK);
    }
}
