//! Samples 8 and 9: members of rooms in Azure Table Storage.
//!
//! Sample 8, `UserGroupEntity`, is a row with the user as `PartitionKey` and the room as `RowKey`. hubcast's
//! `AzureTableStore` has the same layout. There, names that contain `/`, `\`, `#` or `?`, or are too long for a key, make
//! each request of the user fail. Here, keys are encoded, and the names themselves are columns.
//!
//! The table is created once, at the start. In sample 9, each connect creates it.

use hubcast::{Args, Caller, Hub, HubError, Users};

use crate::members::{self, MembershipChange};

/// The hub of sample 9. There, `OnConnected` adds the connection to the rooms of its user and does not wait, so a message
/// that follows at once can miss it, and a failed add is lost. Here, hubcast does that before the first call, or refuses
/// the client with a reason.
pub(crate) fn chat_hub() -> Hub {
    members::chat_hub().method("AddToRoom", add_to_room).method("RemoveFromRoom", remove_from_room)
}

/// Sample 9, `AddToRoom`: the room need not exist. There, only the calling connection joins. Here, all connections of the
/// user do.
async fn add_to_room(
    caller: Caller,
    users: Users,
    Args((room_name,)): Args<(String,)>,
) -> Result<MembershipChange, HubError> {
    members::add(&caller, &users, room_name).await
}

/// Sample 9, `RemoveFromRoom`. There, the other connections of the user go on receiving the messages of the room. Here,
/// all of them leave.
async fn remove_from_room(
    caller: Caller,
    users: Users,
    Args((room_name,)): Args<(String,)>,
) -> Result<MembershipChange, HubError> {
    members::remove(&caller, &users, room_name).await
}
