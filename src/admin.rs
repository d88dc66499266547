//! What operators ask over HTTP.
//!
//! Role: routes to be mounted on a listener of their own; each asks the engine and shapes the answer. Life: as long
//! as that listener. Neighbours: the engine and its actors below, the service above.
//! Never: it owns nothing, decides nothing, and hands out nothing without the token but whether the process is fit.
//!
//! | route | answer |
//! |---|---|
//! | `GET /healthz/live` | 200 while the process answers at all |
//! | `GET /healthz/ready` | 200 if the store answers and the process does not drain, else 503 |
//! | `GET /admin/overview` | version, node, uptime, live counts, the longest queue, restarts, every counter |
//! | `GET /admin/connections?hub=&user=&group=&transport=&sort=&limit=&cursor=` | a page of connections; `group` needs `hub` where there are several |
//! | `GET /admin/connections/{id}` | one connection with its groups, calls and phase |
//! | `GET /admin/groups?hub=&prefix=&sort=&limit=&cursor=` | a page of the groups that exist now |
//! | `GET /admin/groups/{hub}/{name}?limit=&cursor=&durableCursor=` | one group with its live and its durable members, a page of each |
//! | `GET /admin/users?prefix=&sort=&limit=&cursor=` | a page of the users with a connection |
//! | `GET /admin/users/{user}` | one user: connections, and groups live and durable |
//!
//! Every answer is JSON with names in camelCase (counters keep the names of [`Metrics`](crate::metrics::Metrics)).
//! A page is `{"items": […], "total": n, "next": cursor or null}`: 100 rows unless `limit` says otherwise, at most
//! 1000. `sort` names a column, with `-` before it for the largest first. A page begins after the row that its
//! cursor names, even if that row has gone since.
//!
//! What is asked wrongly is answered 400, who has not the token 401, what is not there 404, and what the store
//! cannot tell now 503, each as `{"error": text}`.

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

/// The routes of the table above, to be mounted with `App::configure`. Whoever shows `token` as a bearer token may
/// see everything; an empty one opens nothing.
pub fn routes(engine: &Engine, token: &SecretString) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let (engine, token) = (web::Data::new(engine.clone()), token.clone());
    move |config| {
        config.app_data(engine);
        config.service(get("/healthz/live", health::live)).service(get("/healthz/ready", health::ready));
        let gate = from_fn(move |request, next| admit(token.clone(), request, next));
        let admin = web::scope("/admin")
            .service(get("/overview", overview::overview))
            .service(get("/connections", connections::list))
            .service(get("/connections/{id}", connections::detail))
            .service(get("/groups", groups::list))
            .service(get("/groups/{hub}/{name:.*}", groups::detail))
            .service(get("/users", users::list))
            .service(get("/users/{user:.*}", users::detail))
            .default_service(web::to(|| async { AdminError::Unknown("no such route".into()).answer() }))
            .wrap(gate);
        config.service(admin);
    }
}

/// A resource that can be read and nothing else.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    let refuse = || async {
        HttpResponse::MethodNotAllowed()
            .insert_header((header::ALLOW, "GET, HEAD"))
            .json(serde_json::json!({ "error": "this can only be read, with GET" }))
    };
    let (body, head) = (web::get().to(handler.clone()), web::head().to(handler));
    web::resource(path).route(body).route(head).default_service(web::to(refuse))
}

/// Lets through who shows the token.
async fn admit(
    token: SecretString,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let shown = bearer_header(request.headers()).ok_or(AdminError::Unauthorised)?;
    let token = token.expose_secret();
    if token.is_empty() || !bool::from(token.as_bytes().ct_eq(shown.as_bytes())) {
        return Err(AdminError::Unauthorised.into());
    }
    next.call(request).await
}

#[cfg(test)]
mod tests;
