//! A resource with a handler for each HTTP method.

use actix_web::{
    Error, FromRequest, Handler, HttpMessage, HttpResponse, Resource, Responder, Route,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::{Next, from_fn},
    web,
};
use futures_util::TryStreamExt;

use super::AdminError;

/// The handlers of a path. Other methods get status 405 with an `Allow` header.
///
/// A change without parameters in its body refuses one: the operator expects an effect that the route does not have.
pub(super) struct Methods {
    resource: Resource,
    allowed: Vec<&'static str>,
    /// What the route does, for an operator who sends a body that it does not take.
    effect: &'static str,
}

impl Methods {
    pub(super) fn at(path: &str) -> Self {
        Self { resource: web::resource(path), allowed: Vec::new(), effect: "" }
    }

    /// Adds a text to the refusal of a body.
    pub(super) fn effect(self, effect: &'static str) -> Self {
        Self { effect, ..self }
    }

    /// Serves GET and HEAD.
    pub(super) fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.route("GET", web::get().to(handler.clone())).route("HEAD", web::head().to(handler))
    }

    pub(super) fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.route_without_body("POST", web::post().to(handler))
    }

    pub(super) fn post_body<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.route("POST", web::post().to(handler))
    }

    pub(super) fn put<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.route_without_body("PUT", web::put().to(handler))
    }

    pub(super) fn put_body<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.route("PUT", web::put().to(handler))
    }

    pub(super) fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.route_without_body("DELETE", web::delete().to(handler))
    }

    fn route_without_body(self, method: &'static str, route: Route) -> Self {
        let effect = self.effect;
        self.route(method, route.wrap(from_fn(move |request, next| refuse_body(effect, request, next))))
    }

    fn route(mut self, method: &'static str, route: Route) -> Self {
        self.allowed.push(method);
        Self { resource: self.resource.route(route), ..self }
    }

    pub(super) fn build(self) -> Resource {
        let allow = self.allowed.join(", ");
        let named: Vec<_> = self.allowed.into_iter().filter(|method| *method != "HEAD").collect();
        let error = format!("method not allowed; use {}", named.join(" or "));
        self.resource.default_service(web::to(move || {
            let response = HttpResponse::MethodNotAllowed()
                .insert_header((header::ALLOW, allow.clone()))
                .json(serde_json::json!({ "error": error }));
            async { response }
        }))
    }
}

/// Middleware that refuses a request with a body.
async fn refuse_body(
    effect: &'static str,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut body = request.take_payload();
    while let Some(part) = body.try_next().await? {
        if !part.is_empty() {
            let text = format!("this route takes no body, and nothing has changed{effect}");
            return Err(AdminError::InvalidRequest(text).into());
        }
    }
    next.call(request).await
}
