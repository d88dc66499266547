//! Changes that an operator requests: disconnects, revocations and memberships.
//!
//! Each is logged with the address of the operator as `by`, and its response states the effect on this node.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use serde_json::json;

use super::{AdminError, query::Query};
use crate::{
    Engine, HubHandle,
    connections::{Reconnect, disconnect_all},
    hub::{Added, DurableChange, Removed, Requester, UsersError},
    ids::{ConnectionId, UserId},
    store,
};

pub(super) type Response = Result<HttpResponse, AdminError>;

fn not_connected() -> AdminError {
    AdminError::NotFound("no connection has this id".into())
}

/// The name of the operator in the audit log.
pub(super) fn operator(request: &HttpRequest) -> String {
    request.peer_addr().map_or_else(|| "admin".into(), |address| format!("admin@{address}"))
}

/// The hub of the path, which acts for the operator.
pub(super) fn hub(engine: &Engine, name: &str, request: &HttpRequest) -> Result<HubHandle, AdminError> {
    let hub = engine.hub(name).ok_or_else(|| AdminError::NotFound(format!("no hub is named `{name}`")))?;
    Ok(hub.acting_as(&operator(request)))
}

impl Query {
    /// The parameter `reconnect`. Without it, clients may not reconnect.
    fn reconnect(&self) -> Result<Reconnect, AdminError> {
        match self.text("reconnect") {
            None => Ok(Reconnect::Deny),
            Some(name) => [Reconnect::Allow, Reconnect::Deny]
                .into_iter()
                .find(|reconnect| reconnect.name() == name)
                .ok_or_else(|| AdminError::invalid_parameter("reconnect", "must be one of: allow, deny")),
        }
    }
}

fn disconnected(count: usize) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "disconnected": count }))
}

pub(super) async fn disconnect_connection(engine: Data<Engine>, id: Path<String>, request: HttpRequest) -> Response {
    let reconnect = Query::from_request(&request, &["reconnect"])?.reconnect()?;
    let id = ConnectionId::from(id.into_inner());
    let handle = engine.connections().find(&id).ok_or_else(not_connected)?;
    let result = if handle.disconnect(reconnect).await { Ok(1) } else { Err(not_connected()) };
    Requester::named(&operator(&request)).audit_disconnect(&[("conn", &*id)], reconnect, &result);
    result.map(disconnected)
}

pub(super) async fn disconnect_user(engine: Data<Engine>, user: Path<String>, request: HttpRequest) -> Response {
    let query = Query::from_request(&request, &["hub", "reconnect"])?;
    let (user, reconnect) = (UserId::from(user.into_inner()), query.reconnect()?);
    if let Some(name) = query.hub(&engine)? {
        let clients = hub(&engine, &name, &request)?.clients();
        return Ok(disconnected(clients.user(user).disconnect(reconnect).await?));
    }
    let count = disconnect_all(&engine.connections().of_user_on_any_hub(&user), reconnect).await;
    let result = Ok::<_, AdminError>(count);
    Requester::named(&operator(&request)).audit_disconnect(&[("user", &*user)], reconnect, &result);
    Ok(disconnected(count))
}

pub(super) async fn disconnect_group(
    engine: Data<Engine>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Response {
    let reconnect = Query::from_request(&request, &["reconnect"])?.reconnect()?;
    let (name, group) = path.into_inner();
    let clients = hub(&engine, &name, &request)?.clients();
    Ok(disconnected(clients.group(group).disconnect(reconnect).await?))
}

pub(super) async fn sign_out(engine: Data<Engine>, user: Path<String>, request: HttpRequest) -> Response {
    Query::from_request(&request, &[])?;
    let users = any_hub(&engine, &request)?.users();
    match users.sign_out(user.into_inner()).await {
        Ok(count) => Ok(HttpResponse::Ok().json(json!({ "revoked": true, "disconnected": count }))),
        Err(UsersError::NotRevoked { disconnected, error }) => Ok(not_revoked(disconnected, &error)),
        Err(error) => Err(error.into()),
    }
}

/// The clients are disconnected, but the store failed.
fn not_revoked(disconnected: usize, error: &store::Error) -> HttpResponse {
    let text = format!("the rejoin tokens may still be valid: {}", AdminError::store(error));
    let body = json!({ "error": text, "revoked": false, "disconnected": disconnected });
    HttpResponse::ServiceUnavailable().json(body)
}

pub(super) async fn revoke_tokens(engine: Data<Engine>, user: Path<String>, request: HttpRequest) -> Response {
    Query::from_request(&request, &[])?;
    any_hub(&engine, &request)?.users().revoke_tokens(user.into_inner()).await?;
    Ok(HttpResponse::Ok().json(json!({ "revoked": true })))
}

pub(super) async fn revoke_group_tokens(
    engine: Data<Engine>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Response {
    Query::from_request(&request, &[])?;
    let (name, group) = path.into_inner();
    hub(&engine, &name, &request)?.groups().revoke_tokens(group).await?;
    Ok(HttpResponse::Ok().json(json!({ "revoked": true })))
}

/// A hub, for changes that concern all of them.
fn any_hub(engine: &Engine, request: &HttpRequest) -> Result<HubHandle, AdminError> {
    let hubs = engine.hubs();
    let name = hubs.first().ok_or_else(|| AdminError::NotFound("the engine has no hub".into()))?;
    hub(engine, name, request)
}

/// The hub, the group and the member of a path.
type MemberPath = Path<(String, String, String)>;

pub(super) async fn add_user(engine: Data<Engine>, path: MemberPath, request: HttpRequest) -> Response {
    Query::from_request(&request, &[])?;
    let (name, group, user) = path.into_inner();
    Ok(durable_change(hub(&engine, &name, &request)?.users().add_to_group(user, group).await?))
}

pub(super) async fn remove_user(engine: Data<Engine>, path: MemberPath, request: HttpRequest) -> Response {
    Query::from_request(&request, &[])?;
    let (name, group, user) = path.into_inner();
    Ok(durable_change(hub(&engine, &name, &request)?.users().remove_from_group(user, group).await?))
}

fn durable_change(DurableChange { stored, connections }: DurableChange) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "stored": stored.name(), "connections": connections }))
}

pub(super) async fn add_connection(engine: Data<Engine>, path: MemberPath, request: HttpRequest) -> Response {
    Query::from_request(&request, &[])?;
    let (name, group, id) = path.into_inner();
    match hub(&engine, &name, &request)?.groups().add(id, group).await? {
        Added::Joined => Ok(live_change("joined")),
        Added::AlreadyMember => Ok(live_change("alreadyMember")),
        Added::NoSuchConnection => Err(not_connected()),
    }
}

pub(super) async fn remove_connection(engine: Data<Engine>, path: MemberPath, request: HttpRequest) -> Response {
    Query::from_request(&request, &[])?;
    let (name, group, id) = path.into_inner();
    match hub(&engine, &name, &request)?.groups().remove(id, group).await? {
        Removed::Left => Ok(live_change("left")),
        Removed::NotMember => Ok(live_change("notMember")),
        Removed::NoSuchConnection => Err(not_connected()),
    }
}

fn live_change(result: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "result": result }))
}
