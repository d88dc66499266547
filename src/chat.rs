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
//! | `LeaveRoom(room)` | true if it was a member | removes the calling connection, also from the watchers |
//! | `AddToRoom(room)` | true unless already stored | adds the calling user durably, with all its connections |
//! | `RemoveFromRoom(room)` | true if it was stored | removes the calling user, with all its connections |
//! | `Send(room, message)` | | sends to all members |
//! | `SendToOthers(room, message)` | | sends to all members except the caller |
//! | `SendExcept(room, message, ids)` | | sends to all members except these connections |
//! | `SendToUser(user, message)` | | sends to all connections of a user |
//! | `WhoAmI()` | the caller's name | none: tells a client the user that the server has authenticated |
//! | `WatchRoom(room)` | | adds the calling connection to the watchers of a room |
//! | `WatchUser()` | | adds the calling connection to the watchers of its user and of the user's durable rooms |
//!
//! Messages arrive as calls of the client method `addChatMessage(name, message)`.
//!
//! A client that is in several rooms can distinguish their messages: immediately before a message, its watchers receive
//! `addRoomMessage(room, name, message)`. The room is null if the message is sent to the watcher's user. Watchers are not
//! members: a client that only watches a room receives no `addChatMessage`. Other clients receive no `addRoomMessage`,
//! because the official clients log a warning when a method has no handler, or a handler with another number of
//! parameters.
//!
//! Watchers are groups whose names begin with `watchers of `. The hub refuses rooms of such names.

use crate::{
    Args, Caller, Clients, Groups, Hub, HubError, UserId, Users, aspnetcore, classic,
    hub::{Added, Removed, Target},
    store::Change,
};

mod watchers;

type HubResult<T> = Result<T, HubError>;

/// The client method that receives messages.
///
/// Wire: two arguments. The official .NET client does not call a handler with another number of parameters.
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
        .method("WatchRoom", watchers::watch_room)
        .method("WatchUser", watchers::watch_user)
}

/// The endpoints at which the service serves the hub.
pub(crate) fn endpoints(hub: &Hub) -> (aspnetcore::Endpoint, classic::Endpoint) {
    (aspnetcore::Endpoint::new("/chat", hub.name()), classic::Endpoint::new("/signalr"))
}

async fn join_room(groups: Groups, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    watchers::check_room(&room)?;
    Ok(groups.join(room).await? == Added::Joined)
}

async fn enter_room(
    caller: Caller,
    groups: Groups,
    clients: Clients,
    Args((room,)): Args<(String,)>,
) -> HubResult<bool> {
    watchers::check_room(&room)?;
    let is_new = groups.join(&*room).await? == Added::Joined;
    if is_new {
        let message = format!("{} has joined {room}", caller.name());
        send(caller, clients, Args((room, message))).await?;
    }
    Ok(is_new)
}

async fn leave_room(groups: Groups, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    watchers::check_room(&room)?;
    groups.leave(watchers::of_room(&room)).await?;
    Ok(groups.leave(room).await? == Removed::Left)
}

async fn add_to_room(caller: Caller, users: Users, groups: Groups, Args((room,)): Args<(String,)>) -> HubResult<bool> {
    watchers::check_room(&room)?;
    let user = require_user(&caller)?;
    // Order: before the user becomes a member, so that its watchers receive the room of every message.
    watchers::add_watchers_of_user(&groups, &user, &room).await?;
    Ok(users.add_to_group(user, room).await?.stored == Change::Applied)
}

async fn remove_from_room(
    caller: Caller,
    users: Users,
    groups: Groups,
    Args((room,)): Args<(String,)>,
) -> HubResult<bool> {
    watchers::check_room(&room)?;
    let user = require_user(&caller)?;
    let stored = users.remove_from_group(user.clone(), &*room).await?.stored;
    groups.leave(watchers::of_room(&room)).await?;
    watchers::remove_watchers_of_user(&groups, &user, &room).await?;
    Ok(stored == Change::Applied)
}

fn require_user(caller: &Caller) -> HubResult<UserId> {
    caller
        .user()
        .cloned()
        .ok_or_else(|| HubError::new("only a named user can be a durable member of a room, and you have no name"))
}

async fn send(caller: Caller, clients: Clients, Args((room, message)): Args<(String, String)>) -> HubResult<()> {
    let targets = [watchers::of_room(&room), room.clone()].map(|group| clients.group(group));
    send_to_room(targets, &caller, &room, &message).await
}

async fn send_to_others(
    caller: Caller,
    clients: Clients,
    Args((room, message)): Args<(String, String)>,
) -> HubResult<()> {
    let targets = [watchers::of_room(&room), room.clone()].map(|group| clients.others_in_group(group));
    send_to_room(targets, &caller, &room, &message).await
}

async fn send_except(
    caller: Caller,
    clients: Clients,
    Args((room, message, except)): Args<(String, String, Vec<String>)>,
) -> HubResult<()> {
    let target = |group| clients.group_except(group, except.iter().map(String::as_str));
    let targets = [watchers::of_room(&room), room.clone()].map(target);
    send_to_room(targets, &caller, &room, &message).await
}

async fn send_to_user(
    caller: Caller,
    clients: Clients,
    Args((user, message)): Args<(String, String)>,
) -> HubResult<()> {
    let watchers = clients.group(watchers::of_user(&user));
    watchers::announce(watchers, None, caller.name(), &message).await?;
    send_message(clients.user(user), &caller, &message).await
}

async fn who_am_i(caller: Caller) -> HubResult<String> {
    Ok(caller.name().to_owned())
}

/// Sends to the watchers of a room, then to its members.
async fn send_to_room([watchers, members]: [Target; 2], caller: &Caller, room: &str, message: &str) -> HubResult<()> {
    watchers::check_room(room)?;
    watchers::announce(watchers, Some(room), caller.name(), message).await?;
    send_message(members, caller, message).await
}

async fn send_message(target: Target, caller: &Caller, message: &str) -> HubResult<()> {
    target.send(MESSAGE_METHOD, (caller.name(), message)).await?;
    Ok(())
}
