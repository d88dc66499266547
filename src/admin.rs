//! The HTTP API for operators: health checks, the state of the engine, and changes of connections and memberships.
//!
//! The service mounts these routes on a separate listener. Each handler asks the engine and its actors, and serializes
//! the result. The module owns no state. Without the token it reveals only the health of the process, and the metrics
//! if they are public.
//!
//! | route | response |
//! |---|---|
//! | `GET /healthz/live` | 200 while the process responds |
//! | `GET /healthz/ready` | 200 if the store can be written to, memberships can be read and the process is not draining, else 503. The reason is only in the log and in responses to requests with the token |
//! | `GET /metrics` | the metrics of the engine as OpenMetrics text; without the token if [`MetricsAccess`] is public |
//! | `GET /admin/overview` | version, node, uptime, whether the store can be written to and memberships can be read, live counts, the longest queue, restarts, all counters |
//! | `GET /admin/connections?hub=&user=&group=&transport=&sort=&limit=&cursor=` | a page of connections; `group` requires `hub` if the engine has several hubs |
//! | `GET /admin/connections/{id}` | one connection with its groups, running calls and phase |
//! | `GET /admin/connections/{id}/lease` | the stored record of a connection of any node, for a day after its end, too: its node, when it was last seen, when and why it was closed |
//! | `GET /admin/filters?hub=&sort=&limit=&cursor=` | a page of the filters with their modes and figures; with `hub`, those that run on it |
//! | `PUT /admin/filters/{name}?mode=` | sets the mode of a filter to `enabled`, `disabled` or `shadow`, until the process ends: `{"mode": "shadow", "previous": "enabled"}` |
//! | `GET /admin/groups?hub=&prefix=&sort=&limit=&cursor=` | a page of the groups with live members |
//! | `GET /admin/groups/{hub}/{name}?limit=&cursor=&durableCursor=` | one group with a page of its live members and a page of its durable members |
//! | `GET /admin/groups/{hub}/{name}/presence?limit=&cursor=` | a page of the durable members, each with `isOnline` and `lastSeen`; `total` is null if the store does not count |
//! | `GET /admin/users?prefix=&sort=&limit=&cursor=` | a page of the connected users |
//! | `GET /admin/users/{user}` | one user with a page of its connections, and its live and durable groups |
//! | `DELETE /admin/connections/{id}?reconnect=` | ends the connection: `{"disconnected": 1}` |
//! | `POST /admin/users/{user}/disconnect?hub=&reconnect=` | ends all connections of the user: `{"disconnected": n}` |
//! | `POST /admin/users/{user}/sign-out` | ends all connections of the user and revokes its rejoin tokens: `{"revoked": true, "disconnected": n}`. If the store fails, the connections end too, and the answer is 503 with `"revoked": false` |
//! | `POST /admin/users/{user}/revoke-tokens` | revokes the rejoin tokens of the user: `{"revoked": true}` |
//! | `POST /admin/groups/{hub}/{name}/disconnect?reconnect=` | ends the connections of all live members: `{"disconnected": n}` |
//! | `POST /admin/groups/{hub}/{name}/revoke-tokens` | revokes the group in all rejoin tokens: `{"revoked": true}` |
//! | `PUT`, `DELETE /admin/groups/{hub}/{name}/members/{user}` | adds or removes the user durably: `{"stored": "applied" or "unchanged", "connections": n}` |
//! | `POST /admin/groups/{hub}/{name}/members`, with `{"users": […]}` | adds the users durably, by one write: the outcomes |
//! | `POST /admin/users/{user}/groups/{hub}`, with `{"groups": […]}` | adds the user to the groups durably, by one write: the outcomes |
//! | `PUT /admin/users/{user}/groups/{hub}`, with `{"groups": […]}` | makes these groups the durable groups of the user, by one write: the outcomes |
//! | `DELETE /admin/users/{user}/groups/{hub}` | removes the user from all its durable groups, by one write: the outcomes |
//! | `PUT`, `DELETE /admin/groups/{hub}/{name}/connections/{id}` | adds or removes the connection: `{"result": "joined", "alreadyMember", "left" or "notMember"}` |
//!
//! Names in a path are percent-encoded, `/` as `%2F`. `reconnect` is `deny` (default) or `allow`: whether the client is
//! told that it may reconnect ([`Reconnect`](crate::Reconnect)). A change is complete when the response arrives, and
//! `disconnected` and `connections` count the connections of this node that it reached. Each change is logged with
//! level `info` and target `hubcast::audit`.
//!
//! The outcomes of a change of many memberships are `{"outcomes": [{"name": text, "op": "add" or "remove", "result": "applied",
//! "unchanged", "refused" or "interrupted"}]}`, with `connections`, or with `error` for a refused name and for a group whose
//! actor crashed after the change was stored. A request makes at most 1,000 changes, else it has status 400 and no effect.
//! A change for which the table names no body has status 400 and no effect if it has one.
//!
//! Every response except that of `/metrics` is JSON with names in camelCase (counters keep the names of
//! [`Metrics`](crate::metrics::Metrics)). A page is `{"items": […], "total": n, "next": cursor or null}`. It has
//! `limit` rows, 100 by default and 1000 at most. `sort` names a column; a `-` before it reverses the order. A page
//! begins after the row that its cursor names, even if that row no longer exists.
//!
//! Errors have the body `{"error": text}` and one of these statuses: 400 for an invalid parameter, 401 for a missing
//! or wrong token, 404 for an unknown object, 405 with `Allow` for a wrong method, 503 if the store does not respond.

use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web::{self, ServiceConfig},
};

use crate::{
    Engine,
    client_log::{self, Cause, optional},
    web::bearer_header,
};

mod bulk;
mod changes;
mod connections;
mod error;
mod filters;
mod groups;
mod health;
mod listing;
mod methods;
mod metrics;
mod overview;
mod presence;
mod query;
mod token;
mod users;

use error::AdminError;
use methods::Methods;
pub use token::AdminToken;

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Requests need the token.
    #[default]
    Token,
    /// Everyone who can reach the listener. Metrics contain counts, the version and the name of the node, and no names
    /// of users or groups.
    Public,
}

/// Returns the routes of the table above, for `App::configure`. Requests below `/admin`, and for `/metrics` unless it is
/// public, need `token` as their bearer token. If `token` is empty, all of them are refused.
pub fn routes(
    engine: &Engine,
    token: &AdminToken,
    metrics_access: MetricsAccess,
) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let (engine, token) = (web::Data::new(engine.clone()), token.clone());
    move |config| {
        config.app_data(engine);
        config.service(Methods::at("/healthz/live").get(health::live).build());
        let token_of_health = token.clone();
        let ready = move |engine, request| health::ready(engine, request, token_of_health.clone());
        config.service(Methods::at("/healthz/ready").get(ready).build());
        let exposition = Methods::at("/metrics").get(metrics::metrics).build();
        let token_of_metrics = token.clone();
        match metrics_access {
            MetricsAccess::Token => config.service(
                exposition.wrap(from_fn(move |request, next| authorize(token_of_metrics.clone(), request, next))),
            ),
            MetricsAccess::Public => config.service(exposition),
        };
        let authorization = from_fn(move |request, next| authorize(token.clone(), request, next));
        let admin = web::scope("/admin")
            .app_data(bulk::bodies())
            .configure(mount)
            .default_service(web::to(unknown_route))
            .wrap(authorization);
        config.service(admin);
    }
}

/// The response to a path without a route. [`routes`] uses it below `/admin`; the service, for all other paths of its
/// listener.
pub(crate) async fn unknown_route() -> HttpResponse {
    AdminError::NotFound("unknown route".into()).response()
}

/// Order: the first pattern that matches a path counts. A name in a GET route may contain `/`.
fn mount(config: &mut ServiceConfig) {
    let routes = [
        Methods::at("/overview").get(overview::overview),
        Methods::at("/connections").get(connections::list),
        Methods::at("/connections/{id}").get(connections::detail).delete(changes::disconnect_connection),
        Methods::at("/connections/{id}/lease").get(connections::lease),
        Methods::at("/filters").get(filters::list),
        Methods::at("/filters/{name}").put(filters::set_mode),
        Methods::at("/groups").get(groups::list),
        Methods::at("/groups/{hub}/{name}/presence").get(presence::list),
        Methods::at("/groups/{hub}/{name}/disconnect").post(changes::disconnect_group),
        Methods::at("/groups/{hub}/{name}/revoke-tokens").post(changes::revoke_group_tokens),
        Methods::at("/groups/{hub}/{name}/members").post_body(bulk::add_users),
        Methods::at("/groups/{hub}/{name}/members/{user}").put(changes::add_user).delete(changes::remove_user),
        Methods::at("/groups/{hub}/{name}/connections/{id}")
            .put(changes::add_connection)
            .delete(changes::remove_connection),
        Methods::at("/groups/{hub}/{name:.*}").get(groups::detail),
        Methods::at("/users").get(users::list),
        Methods::at("/users/{user}/disconnect").post(changes::disconnect_user),
        Methods::at("/users/{user}/sign-out").post(changes::sign_out),
        Methods::at("/users/{user}/revoke-tokens").post(changes::revoke_tokens),
        Methods::at("/users/{user}/groups/{hub}")
            .effect(bulk::EFFECT_OF_REMOVE_ALL)
            .post_body(bulk::add_groups)
            .put_body(bulk::set_groups)
            .delete(bulk::remove_all_groups),
        Methods::at("/users/{user:.*}").get(users::detail),
    ];
    for route in routes {
        config.service(route.build());
    }
}

/// Middleware that refuses requests without the token.
async fn authorize(
    token: AdminToken,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if token.is_in(request.headers()) {
        return next.call(request).await;
    }
    let address = optional(request.peer_addr());
    client_log::log(Cause::AdminUnauthorized, &[("address", &address), ("path", &request.path())]);
    let is_missing = bearer_header(request.headers()).is_none_or(str::is_empty);
    Err(if is_missing { AdminError::TokenMissing } else { AdminError::TokenWrong }.into())
}

#[cfg(test)]
mod tests;
