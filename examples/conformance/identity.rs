//! Authentication by the query parameter `user` and an unsigned bearer token.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use actix_web::{HttpRequest, web::Query};
use hubcast::{
    UserId,
    hub::Identity,
    web::{AuthError, bearer},
};

pub(crate) fn is_member(identity: &Identity) -> bool {
    identity.claims.contains_key("member")
}

pub(crate) fn identify(request: &HttpRequest) -> Result<Identity, AuthError> {
    let mut identity = Identity::named(user_from_query(request));
    let token = bearer(request).unwrap_or_default();
    let mut parts = token.split('.');
    if parts.next().is_none_or(str::is_empty) {
        return Ok(identity);
    }
    identity.is_authenticated = true;
    identity.claims =
        parts.next().map(|member| ("member".into(), member.into())).into_iter().collect::<BTreeMap<_, _>>();
    let seconds = parts.next().and_then(|seconds| seconds.parse().ok());
    identity.expires = seconds.map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
    Ok(identity)
}

fn user_from_query(request: &HttpRequest) -> Option<UserId> {
    let query = Query::<Vec<(String, String)>>::from_query(request.query_string()).ok()?;
    query.iter().find(|(name, _)| name.eq_ignore_ascii_case("user")).map(|(_, user)| user.as_str().into())
}
