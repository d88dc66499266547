//! Requests from pages of other origins.
//!
//! Wire: what ASP.NET Core's middleware answers, since the browsers' client sends credentials: the origin
//! is named, never `*`, on every answer, refusals included; a preflight is granted what it asks for.
//!
//! A browser lets any page open a WebSocket anywhere, asks nobody, and only says where the page is from. A WebSocket from
//! a page of another origin that is not allowed is therefore refused here (RFC 6455 section 10.2). Clients that are no
//! pages name no origin, and pass.

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

/// Which origins may use an application with their users' credentials. Wrap the application with it.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Absent: every origin.
    origins: Option<Arc<[String]>>,
}

impl Cors {
    /// Every origin. Only for applications that no cookie opens.
    #[must_use]
    pub fn any_origin() -> Self {
        Self { origins: None }
    }

    /// These origins, each as a browser writes it: `https://app.example`.
    #[must_use]
    pub fn origins(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { origins: Some(origins.into_iter().map(Into::into).collect()) }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins
            .as_ref()
            .is_none_or(|origins| origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
    }

    /// True for a WebSocket that a page of a foreign origin wants to open.
    fn refuses(&self, request: &ServiceRequest) -> bool {
        let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
        let origin = request.headers().get(header::ORIGIN);
        request.headers().get(header::UPGRADE).is_some_and(is_websocket)
            && origin.is_some_and(|origin| !self.allows(origin) && !is_own(origin, request))
    }

    /// The origin of a request, if it has one and that is allowed.
    fn allowed(&self, request: &ServiceRequest) -> Option<HeaderValue> {
        request.headers().get(header::ORIGIN).filter(|origin| self.allows(origin)).cloned()
    }
}

/// True for a page of the server itself, as its visitor addressed it; a proxy says so in `X-Forwarded-Host`.
fn is_own(origin: &HeaderValue, request: &ServiceRequest) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    authority.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(request.connection_info().host()))
}

fn refuse_websocket() -> HttpResponse {
    let text = "pages of this origin may not connect; whoever runs the server can allow it (cors.origins)";
    HttpResponse::Forbidden().content_type("text/plain; charset=utf-8").body(text)
}

fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn grant(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
}

fn answer_preflight(request: &ServiceRequest, origin: Option<HeaderValue>) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    grant(headers, origin);
    for (asked, granted) in [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(value) = request.headers().get(asked) {
            headers.insert(granted, value.clone());
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

/// [`Cors`] around a service.
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
            let response = answer_preflight(&request, origin);
            return Box::pin(ready(Ok(request.into_response(response).map_into_right_body())));
        }
        if self.cors.refuses(&request) {
            return Box::pin(ready(Ok(request.into_response(refuse_websocket()).map_into_right_body())));
        }
        let answer = self.service.call(request);
        Box::pin(async move {
            let mut response = answer.await?.map_into_left_body();
            if has_origin {
                response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
            }
            if let Some(origin) = origin {
                grant(response.headers_mut(), origin);
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

    /// The status of a request with these headers to an application at `https://chat.example` that allows pages of
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
    async fn a_foreign_page_cannot_open_a_websocket() {
        let websocket = ("Upgrade", "websocket");
        for foreign in ["https://evil.example", "https://chat.example.evil", "null", "https://chat.example:8443"] {
            assert_eq!(status(&[websocket, ("Origin", foreign)]).await, StatusCode::FORBIDDEN, "{foreign}");
        }
        for welcome in ["https://app.example", "https://chat.example"] {
            assert_eq!(status(&[websocket, ("Origin", welcome)]).await, StatusCode::OK, "{welcome}");
        }
        assert_eq!(status(&[websocket]).await, StatusCode::OK, "a client that is no page");
        let forwarded = [websocket, ("Origin", "https://outside"), ("X-Forwarded-Host", "outside")];
        assert_eq!(status(&forwarded).await, StatusCode::OK, "a page as a proxy's visitor sees it");
    }

    #[actix_web::test]
    async fn another_request_of_a_foreign_page_is_answered_and_not_shown_to_it() {
        assert_eq!(status(&[("Origin", "https://evil.example")]).await, StatusCode::OK);
    }
}
