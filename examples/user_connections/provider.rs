//! Samples 1 to 3: the server finds the connections of a user by the id that a provider returns.

use actix_web::HttpRequest;
use hubcast::{
    Args, Clients, Hub, HubError, UserId,
    filters::{AuthorizeConnect, Decision, FilterError},
    hub::Identity,
    web::{AuthError, Authenticate, bearer},
};

use crate::delivery::Delivery;

/// The id of a user. This is the only place where names are normalized. In sample 10, `OnConnected` writes the name in
/// lower case and the other methods do not, so users with capitals are never found.
pub(crate) fn find_user_id(name: &str) -> Option<UserId> {
    let name = name.trim().to_lowercase();
    (!name.is_empty()).then(|| name.into())
}

/// Sample 1: names the user of a request. There, a request without a known user is a null reference. Here, an unknown user
/// is refused with a reason, and a request without a token is anonymous.
///
/// The name is the bearer token. An application verifies the token: see `hubcast::web::Jwt`.
pub(crate) struct MyIdProvider;

impl Authenticate for MyIdProvider {
    fn identify(&self, request: &HttpRequest) -> Result<Identity, AuthError> {
        let Some(name) = bearer(request) else { return Ok(Identity::default()) };
        let user = find_user_id(&name).ok_or_else(|| AuthError("the bearer token names no user".into()))?;
        Ok(Identity::authenticated(user))
    }
}

/// A filter: only users can connect.
pub(crate) async fn require_user(event: AuthorizeConnect) -> Decision<AuthorizeConnect> {
    if event.identity.user.is_some() { Ok(event) } else { Err(FilterError::refuse("Sign in first.")) }
}

/// The hub of sample 3.
pub(crate) fn my_hub() -> Hub {
    Hub::new("MyHub").method("Send", send)
}

/// Sample 3: sends to all connections of a user, by the client method `send`. There, nothing tells the caller that the user
/// has none. Here, the result does.
async fn send(clients: Clients, Args((user_id, message)): Args<(String, String)>) -> Result<Delivery, HubError> {
    match find_user_id(&user_id) {
        Some(user) => Ok(Delivery::of(clients.user(user).send("send", (message,)).await?)),
        None => Ok(Delivery::Unknown),
    }
}
