//! A resource with a handler for each HTTP method.

use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, Route, http::header, web};

/// The handlers of a path. Other methods get status 405 with an `Allow` header.
pub(super) struct Methods {
    resource: Resource,
    allowed: Vec<&'static str>,
}

impl Methods {
    pub(super) fn at(path: &str) -> Self {
        Self { resource: web::resource(path), allowed: Vec::new() }
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
        self.route("POST", web::post().to(handler))
    }

    pub(super) fn put<F, Args>(self, handler: F) -> Self
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
        self.route("DELETE", web::delete().to(handler))
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
