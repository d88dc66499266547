//! The HTTP API for operators: health checks, and read access to the state of the engine.
//!
//! The service mounts these routes on a separate listener. Each handler queries the engine and its actors, and
//! serializes the result. The module owns no state and changes nothing. Without the token it reveals only the health
//! of the process.
//!
//! | route | response |
//! |---|---|
//! | `GET /healthz/live` | 200 while the process responds |
//! | `GET /healthz/ready` | 200 if the store responds and the process is not draining, else 503 |
//! | `GET /admin/overview` | version, node, uptime, live counts, the longest queue, restarts, all counters |
//! | `GET /admin/connections?hub=&user=&group=&transport=&sort=&limit=&cursor=` | a page of connections; `group` requires `hub` if the engine has several hubs |
//! | `GET /admin/connections/{id}` | one connection with its groups, running calls and phase |
//! | `GET /admin/groups?hub=&prefix=&sort=&limit=&cursor=` | a page of the groups with live members |
//! | `GET /admin/groups/{hub}/{name}?limit=&cursor=&durableCursor=` | one group with a page of its live members and a page of its durable members |
//! | `GET /admin/users?prefix=&sort=&limit=&cursor=` | a page of the connected users |
//! | `GET /admin/users/{user}` | one user with a page of its connections, and its live and durable groups |
//!
//! Every response is JSON with names in camelCase (counters keep the names of [`Metrics`](crate::metrics::Metrics)).
//! A page is `{"items": […], "total": n, "next": cursor or null}`. It has `limit` rows, 100 by default and 1000 at
//! most. `sort` names a column; a `-` before it reverses the order. A page begins after the row that its cursor names,
//! even if that row no longer exists.
//!
//! Errors have the body `{"error": text}` and one of these statuses: 400 for an invalid parameter, 401 for a missing
//! or wrong token, 404 for an unknown object, 503 if the store does not respond.

use actix_web::{
    Error, HttpResponse, Resource,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::{Next, from_fn},
    web::{self, ServiceConfig},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::{Engine, web::bearer_header};

mod connections;
mod error;
mod groups;
mod health;
mod listing;
mod overview;
mod query;
mod users;

use error::AdminError;

/// Returns the routes of the table above, for `App::configure`. Requests below `/admin` need `token` as their bearer
/// token. If `token` is empty, all of them are refused.
pub fn routes(engine: &Engine, token: &SecretString) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let (engine, token) = (web::Data::new(engine.clone()), token.clone());
    move |config| {
        config.app_data(engine);
        config.service(get("/healthz/live", health::live)).service(get("/healthz/ready", health::ready));
        let authorization = from_fn(move |request, next| authorize(token.clone(), request, next));
        let admin = web::scope("/admin")
            .service(get("/overview", overview::overview))
            .service(get("/connections", connections::list))
            .service(get("/connections/{id}", connections::detail))
            .service(get("/groups", groups::list))
            .service(get("/groups/{hub}/{name:.*}", groups::detail))
            .service(get("/users", users::list))
            .service(get("/users/{user:.*}", users::detail))
            .default_service(web::to(|| async { AdminError::NotFound("unknown route".into()).response() }))
            .wrap(authorization);
        config.service(admin);
    }
}

/// A resource that allows only GET and HEAD.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    let method_not_allowed = || async {
        HttpResponse::MethodNotAllowed()
            .insert_header((header::ALLOW, "GET, HEAD"))
            .json(serde_json::json!({ "error": "method not allowed; use GET" }))
    };
    let (body, head) = (web::get().to(handler.clone()), web::head().to(handler));
    web::resource(path).route(body).route(head).default_service(web::to(method_not_allowed))
}

/// Middleware that refuses requests without the token.
async fn authorize(
    token: SecretString,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let presented = bearer_header(request.headers()).ok_or(AdminError::Unauthorized)?;
    let token = token.expose_secret();
    if token.is_empty() || !bool::from(token.as_bytes().ct_eq(presented.as_bytes())) {
        return Err(AdminError::Unauthorized.into());
    }
    next.call(request).await
}

#[cfg(test)]
mod tests;
