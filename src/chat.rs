//! The built-in hub of the service: a chat with rooms.
//!
//! It offers the group operations of SignalR's documentation, so that a new installation has a hub to call. The hub is
//! built before the engine and uses only the public API. It must not keep state: groups hold the connections in a room,
//! and the store holds the durable members.
//!
//! | method | result | effect |
//! |---|---|---|
//! | `JoinRoom(room)` | true unless already a member | adds the calling connection until it ends |
//! | `EnterRoom(room)` | like `JoinRoom` | like `JoinRoom`, and announces the caller to all members, including itself |
//! | `LeaveRoom(room)` | true if it was a member | removes the calling connection |
//! | `AddToRoom(room)` | true unless already stored | adds the calling user durably, with all its connections |
//! | `RemoveFromRoom(room)` | true if it was stored | removes the calling user, with all its connections |
//! | `Send(room, message)` | | sends to all members |
//! | `SendToOthers(room, message)` | | sends to all members except the caller |
//! | `SendExcept(room, message, ids)` | | sends to all members except these connections |
//! | `SendToUser(user, message)` | | sends to all connections of a user |
//! | `WhoAmI()` | the caller's name | none: tells a client the user that the server has authenticated |
//!
//! Messages arrive as calls of the client method `addChatMessage(name, message, room)`. The room is null if the message
//! was sent to a user. A client that is in several rooms distinguishes their messages by it.

use crate::{
    Args, Caller, Clients, Groups, Hub, HubError, UserId, Users, aspnetcore, classic,
    hub::{Added, Removed, Target},
    store::Change,
};

type HubResult<T> = Result<T, HubError>;

/// The client method that receives messages.
const MESSAGE_METHOD: &str = "addChatMessage";

/// Builds the hub, named `chat`.
#[must_use]
pub fn hub() -> Hub {
    Hub::new("chat")
        .method("JoinRoom", join_room)
        .method("EnterRoom", enter_room)
        .method("LeaveRoom", leave_room)
        .method("AddToRoom", add_to_room)
        .method("RemoveFromRoom", remove_from_room)
        .method("Send", send)
        .method("SendToOthers", send_to_others)
        .method("SendExcept", send_except)
        .method("SendToUser", send_to_user)
        .method("WhoAmI", who_am_i)
}

/// The endpoints at which the service serves the hub.
pub(crate) fn endpoints(hub: &Hub) -> (aspnetcore::Endpoint, classic::Endpoint) {
    (aspnetcore::Endpoint::new("/chat", hub.name()), classic::Endpoint::new("/signalr"))
}

async fn join_room(groups: Groups, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    Ok(groups.join(room).await? == Added::Joined)
}

async fn enter_room(
    caller: Caller,
    groups: Groups,
    clients: Clients,
    Args((room,)): Args<(String,)>,
) -> HubResult<bool> {
    let is_new = groups.join(&*room).await? == Added::Joined;
    if is_new {
        let message = format!("{} has joined {room}", caller.name());
        send_message(clients.group(&*room), &caller, message, Some(&room)).await?;
    }
    Ok(is_new)
}

async fn leave_room(groups: Groups, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    Ok(groups.leave(room).await? == Removed::Left)
}

async fn add_to_room(caller: Caller, users: Users, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    Ok(users.add_to_group(require_user(&caller)?, room).await?.stored == Change::Applied)
}

async fn remove_from_room(caller: Caller, users: Users, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    Ok(users.remove_from_group(require_user(&caller)?, room).await?.stored == Change::Applied)
}

fn require_user(caller: &Caller) -> HubResult<UserId> {
    caller
        .user()
        .cloned()
        .ok_or_else(|| HubError::new("only a named user can be a durable member of a room, and you have no name"))
}

async fn send(caller: Caller, clients: Clients, Args((room, message)): Args<(String, String)>) -> HubResult<()> {
    send_message(clients.group(&*room), &caller, message, Some(&room)).await
}

async fn send_to_others(
    caller: Caller,
    clients: Clients,
    Args((room, message)): Args<(String, String)>,
) -> HubResult<()> {
    send_message(clients.others_in_group(&*room), &caller, message, Some(&room)).await
}

async fn send_except(
    caller: Caller,
    clients: Clients,
    Args((room, message, except)): Args<(String, String, Vec<String>)>,
) -> HubResult<()> {
    send_message(clients.group_except(&*room, except), &caller, message, Some(&room)).await
}

async fn send_to_user(
    caller: Caller,
    clients: Clients,
    Args((user, message)): Args<(String, String)>,
) -> HubResult<()> {
    send_message(clients.user(user), &caller, message, None).await
}

async fn who_am_i(caller: Caller) -> HubResult<String> {
    Ok(caller.name().to_owned())
}

async fn send_message(target: Target, caller: &Caller, message: String, room: Option<&str>) -> HubResult<()> {
    target.send(MESSAGE_METHOD, (caller.name(), message, room)).await?;
    Ok(())
}
