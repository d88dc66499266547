//! Changes of many durable memberships in one request.
//!
//! The body of a request is JSON. The response names the outcome of each name, also if some are refused.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json, JsonConfig, Path},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AdminError,
    changes::{Response, hub},
    query::Query,
};
use crate::{
    Engine,
    hub::{BulkOutcome, DurableChange, Users, UsersError},
    ids::{GroupName, UserId},
    store::MembershipOp,
};

/// The maximum size of a body: the longest names of a call with the maximum number of changes, each character escaped.
const MAX_BODY: usize = 4 << 20;

/// For an operator who sends the names of groups to [`remove_all_groups`].
pub(super) const EFFECT_OF_REMOVE_ALL: &str = ": it removes the user from all its durable groups; \
    `DELETE /admin/groups/{hub}/{name}/members/{user}` removes it from one";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupNames {
    groups: Vec<GroupName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserNames {
    users: Vec<UserId>,
}

/// How bodies are read: any content type, and errors as in other responses.
pub(super) fn bodies() -> JsonConfig {
    let config = JsonConfig::default().limit(MAX_BODY).content_type_required(false).content_type(|_| true);
    config.error_handler(|error, _| AdminError::InvalidRequest(format!("the body is invalid: {error}")).into())
}

#[derive(Serialize)]
struct OutcomeRow<N> {
    name: N,
    op: &'static str,
    /// `applied`, `unchanged`, `refused` or `interrupted`.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<N> From<BulkOutcome<N>> for OutcomeRow<N> {
    fn from(BulkOutcome { name, op, result }: BulkOutcome<N>) -> Self {
        let op = match op {
            MembershipOp::Add => "add",
            MembershipOp::Remove => "remove",
        };
        let row = |result, connections, error| Self { name, op, result, connections, error };
        match result {
            Ok(DurableChange { stored, connections }) => row(stored.name(), Some(connections), None),
            Err(error @ UsersError::InvalidName(_)) => row("refused", None, Some(error.to_string())),
            Err(error) => row("interrupted", None, Some(error.to_string())),
        }
    }
}

fn outcomes<N: Serialize>(outcomes: Vec<BulkOutcome<N>>) -> HttpResponse {
    let rows: Vec<_> = outcomes.into_iter().map(OutcomeRow::from).collect();
    HttpResponse::Ok().json(json!({ "outcomes": rows }))
}

/// The user and the hub of a path, or the hub and the group.
type Names = Path<(String, String)>;

/// The users of the hub, changed by the operator. The request has no parameters.
fn users_of(engine: &Engine, hub_name: &str, request: &HttpRequest) -> Result<Users, AdminError> {
    Query::from_request(request, &[])?;
    Ok(hub(engine, hub_name, request)?.users())
}

pub(super) async fn add_groups(
    engine: Data<Engine>,
    path: Names,
    body: Json<GroupNames>,
    request: HttpRequest,
) -> Response {
    let (user, name) = path.into_inner();
    Ok(outcomes(users_of(&engine, &name, &request)?.add_to_groups(user, body.into_inner().groups).await?))
}

pub(super) async fn set_groups(
    engine: Data<Engine>,
    path: Names,
    body: Json<GroupNames>,
    request: HttpRequest,
) -> Response {
    let (user, name) = path.into_inner();
    Ok(outcomes(users_of(&engine, &name, &request)?.set_groups(user, body.into_inner().groups).await?))
}

pub(super) async fn remove_all_groups(engine: Data<Engine>, path: Names, request: HttpRequest) -> Response {
    let (user, name) = path.into_inner();
    Ok(outcomes(users_of(&engine, &name, &request)?.remove_from_all_groups(user).await?))
}

pub(super) async fn add_users(
    engine: Data<Engine>,
    path: Names,
    body: Json<UserNames>,
    request: HttpRequest,
) -> Response {
    let (name, group) = path.into_inner();
    Ok(outcomes(users_of(&engine, &name, &request)?.add_users_to_group(body.into_inner().users, group).await?))
}
