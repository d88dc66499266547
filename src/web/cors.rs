//! Requests from pages of other origins.
//!
//! Wire: what ASP.NET Core's middleware answers, since the browsers' client sends credentials: the origin
//! is named, never `*`, on every answer, refusals included; a preflight is granted what it asks for.

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

    /// The origin of a request, if it has one and that is allowed.
    fn allowed(&self, request: &ServiceRequest) -> Option<HeaderValue> {
        request.headers().get(header::ORIGIN).filter(|origin| self.allows(origin)).cloned()
    }
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
