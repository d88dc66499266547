//! The common part of the two forms of `ChatHub`: users that are members of rooms for longer than one connection.

use hubcast::{
    Caller, Hub, HubError, UserId, Users,
    filters::{AuthorizeConnect, Decision, FilterError, on},
    hub::DurableChange,
    store::Change,
};
use serde::Serialize;

use crate::rooms;

/// The result of adding a user to a room, or of removing it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MembershipChange {
    /// False if the user was a member already, or was none.
    changed: bool,
    /// The number of connections of the user that joined or left.
    connections: usize,
}

impl From<DurableChange> for MembershipChange {
    fn from(DurableChange { stored, connections }: DurableChange) -> Self {
        Self { changed: stored == Change::Applied, connections }
    }
}

/// The attribute `[Authorize]` of `ChatHub`.
async fn signed_in(event: AuthorizeConnect) -> Decision<AuthorizeConnect> {
    if event.identity.is_authenticated { Ok(event) } else { Err(FilterError::refuse("Sign in first.")) }
}

/// The hub, without the methods that differ. Its `OnConnected` does nothing: hubcast adds each connection to the rooms of
/// its user before it handles the first call.
pub(crate) fn chat_hub() -> Hub {
    Hub::new("ChatHub").filter("signed-in", on(signed_in)).method("Send", rooms::send)
}

/// The user of the caller.
pub(crate) fn user_of(caller: &Caller) -> Result<UserId, HubError> {
    caller.user().cloned().ok_or_else(|| HubError::new("Sign in first."))
}

/// Stores the membership, then adds all connections of the user, then returns.
pub(crate) async fn add(caller: &Caller, users: &Users, room_name: String) -> Result<MembershipChange, HubError> {
    Ok(users.add_to_group(user_of(caller)?, room_name).await?.into())
}

/// Deletes the membership, then removes all connections of the user, then returns.
pub(crate) async fn remove(caller: &Caller, users: &Users, room_name: String) -> Result<MembershipChange, HubError> {
    Ok(users.remove_from_group(user_of(caller)?, room_name).await?.into())
}
