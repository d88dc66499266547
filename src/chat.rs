//! The hub that the service brings along: rooms to join, and whom a message can go to.
//!
//! Role: what SignalR's page on groups shows, method for method, so that a newcomer has something to call.
//! Life: a value, made before the engine. Neighbours: the service mounts it; its API is what any hub has.
//! Never: it keeps nothing itself. Groups know who is in a room, the store knows who always is.
//!
//! | method | answers | |
//! |---|---|---|
//! | `JoinRoom(room)` | true if it was no member | the calling connection, until it ends |
//! | `EnterRoom(room)` | the same | and then everybody in the room is told, the newcomer too |
//! | `LeaveRoom(room)` | true if it was a member | the calling connection |
//! | `AddToRoom(room)` | true if it was not stored | the calling user for good, on every connection |
//! | `RemoveFromRoom(room)` | true if it was stored | the calling user, likewise |
//! | `Send(room, message)` | | to all members |
//! | `SendToOthers(room, message)` | | to all members but the caller |
//! | `SendExcept(room, message, ids)` | | to all members but these connections |
//! | `SendToUser(user, message)` | | to every connection of a user |
//!
//! Whatever is sent arrives as a call of the client's method `addChatMessage(name, message)`.

use crate::{
    Args, Caller, Clients, Groups, Hub, HubError, UserId, Users,
    hub::{Added, Removed, Target},
    store::Change,
};

type HubResult<T> = Result<T, HubError>;

/// The client's method that takes a message.
const MESSAGE: &str = "addChatMessage";

/// The hub, named `chat`.
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
        say(clients.group(&*room), &caller, format!("{} has joined {room}", caller.name())).await?;
    }
    Ok(is_new)
}

async fn leave_room(groups: Groups, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    Ok(groups.leave(room).await? == Removed::Left)
}

async fn add_to_room(caller: Caller, users: Users, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    Ok(users.add_to_group(user(&caller)?, room).await?.stored == Change::Made)
}

async fn remove_from_room(caller: Caller, users: Users, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    Ok(users.remove_from_group(user(&caller)?, room).await?.stored == Change::Made)
}

fn user(caller: &Caller) -> HubResult<UserId> {
    caller.user().cloned().ok_or_else(|| HubError::new("only a user can be in a room for good, and you have no name"))
}

async fn send(caller: Caller, clients: Clients, Args((room, message)): Args<(String, String)>) -> HubResult<()> {
    say(clients.group(room), &caller, message).await
}

async fn send_to_others(
    caller: Caller,
    clients: Clients,
    Args((room, message)): Args<(String, String)>,
) -> HubResult<()> {
    say(clients.others_in_group(room), &caller, message).await
}

async fn send_except(
    caller: Caller,
    clients: Clients,
    Args((room, message, except)): Args<(String, String, Vec<String>)>,
) -> HubResult<()> {
    say(clients.group_except(room, except), &caller, message).await
}

async fn send_to_user(
    caller: Caller,
    clients: Clients,
    Args((user, message)): Args<(String, String)>,
) -> HubResult<()> {
    say(clients.user(user), &caller, message).await
}

async fn say(whom: Target, caller: &Caller, message: String) -> HubResult<()> {
    whom.send(MESSAGE, (caller.name(), message)).await?;
    Ok(())
}
