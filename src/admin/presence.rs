//! The presence of the durable members of a group.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use serde::Serialize;

use super::{
    AdminError,
    groups::{StoredPage, hub_named, split_page},
    listing::{decode, parse_limit},
    query::Query,
};
use crate::{Engine, hub::MemberPresence, ids::UserId, store::Page};

const PARAMETERS: &[&str] = &["limit", "cursor"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberRow {
    user: UserId,
    is_online: bool,
    last_seen: Option<jiff::Timestamp>,
}

impl From<MemberPresence> for MemberRow {
    fn from(MemberPresence { user, is_online, last_seen }: MemberPresence) -> Self {
        Self { user, is_online, last_seen: last_seen.and_then(|seen| seen.try_into().ok()) }
    }
}

pub(super) async fn list(
    engine: Data<Engine>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, AdminError> {
    let (hub, group) = path.into_inner();
    let query = Query::from_request(&request, PARAMETERS)?;
    let (hub, limit) = (hub_named(&engine, &hub)?, parse_limit(&query)?);
    let after = query.text("cursor").map(|cursor| decode("cursor", cursor)).transpose()?;
    let presence = hub.groups().presence(group, &Page { after, limit: limit as u64 + 1 }).await?;
    let (members, next) = split_page(presence.members, limit, |member| &member.user);
    let page = StoredPage { items: members.into_iter().map(MemberRow::from).collect(), total: presence.total, next };
    if page.is_of_empty_group() {
        return Err(AdminError::NotFound("the group has no durable members".into()));
    }
    Ok(HttpResponse::Ok().json(page))
}
