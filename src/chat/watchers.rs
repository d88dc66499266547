//! Watchers: connections that receive the room of each message.

use super::HubResult;
use crate::{
    Args, Caller, Groups, HubError, UserId, Users,
    hub::Target,
    ids::{ConnectionId, MAX_NAME_LENGTH},
};

/// The client method that receives messages with their room.
const ROOM_MESSAGE_METHOD: &str = "addRoomMessage";

/// The start of the names of groups of watchers.
const PREFIX: &str = "watchers of ";

/// The group of the watchers of a room. Rooms share their watchers if their names differ only after about 240
/// characters. Clients tolerate that, because they ignore an `addRoomMessage` without an `addChatMessage`.
pub(super) fn of_room(room: &str) -> String {
    group_name("room", room)
}

/// The group of the watchers of a user, shortened in the same way.
pub(super) fn of_user(user: &str) -> String {
    group_name("user", user)
}

fn group_name(kind: &str, name: &str) -> String {
    format!("{PREFIX}{kind} {name}").chars().take(MAX_NAME_LENGTH).collect()
}

/// Refuses the groups of watchers as rooms. Their members would receive messages that are not for them.
pub(super) fn check_room(room: &str) -> HubResult<()> {
    match room.starts_with(PREFIX) {
        true => Err(HubError::new(format!("the name of a room cannot begin with `{PREFIX}`"))),
        false => Ok(()),
    }
}

pub(super) async fn watch_room(groups: Groups, Args((room,)): Args<(String,)>) -> HubResult<()> {
    groups.join(of_room(&room)).await?;
    Ok(())
}

pub(super) async fn watch_user(caller: Caller, groups: Groups, users: Users) -> HubResult<()> {
    let Some(user) = caller.user() else { return Ok(()) };
    // Order: before the rooms are read, so that `add_watchers_of_user` finds the caller for every later room.
    groups.join(of_user(user)).await?;
    for room in users.groups_of(user.clone()).await? {
        groups.join(of_room(&room)).await?;
    }
    Ok(())
}

/// Adds the watchers of a user to the watchers of a room.
pub(super) async fn add_watchers_of_user(groups: &Groups, user: &UserId, room: &str) -> HubResult<()> {
    for id in watchers_of_user(groups, user).await? {
        groups.add(id, of_room(room)).await?;
    }
    Ok(())
}

/// Removes the watchers of a user from the watchers of a room.
pub(super) async fn remove_watchers_of_user(groups: &Groups, user: &UserId, room: &str) -> HubResult<()> {
    for id in watchers_of_user(groups, user).await? {
        groups.remove(id, of_room(room)).await?;
    }
    Ok(())
}

async fn watchers_of_user(groups: &Groups, user: &UserId) -> HubResult<Vec<ConnectionId>> {
    Ok(groups.members(of_user(user)).await?.unwrap_or_default().members)
}

/// Tells watchers the room of the message that follows, or `None` for a message to their user.
pub(super) async fn announce(watchers: Target, room: Option<&str>, name: &str, message: &str) -> HubResult<()> {
    watchers.send(ROOM_MESSAGE_METHOD, (room, name, message)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_of_long_names_have_valid_groups() {
        assert_eq!(of_room("lobby"), "watchers of room lobby");
        assert_eq!(of_user("ann"), "watchers of user ann");
        for name in [of_room(&"ż".repeat(MAX_NAME_LENGTH)), of_user(&"ż".repeat(MAX_NAME_LENGTH))] {
            assert_eq!(name.chars().count(), MAX_NAME_LENGTH);
        }
    }

    #[test]
    fn groups_of_watchers_are_no_rooms() {
        for name in [of_room("lobby"), of_user("ann"), of_room("")] {
            assert!(check_room(&name).is_err(), "{name}");
        }
        for name in ["lobby", "", "watchers", "the watchers of lobby"] {
            assert!(check_room(name).is_ok(), "{name}");
        }
    }
}
