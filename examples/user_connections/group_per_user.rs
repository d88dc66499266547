//! Sample 6: one group for each user.

use hubcast::{
    Args, Caller, Clients, Groups, Hub, HubError, UserId,
    hub::{Added, Connected},
};

use crate::{
    delivery::{Delivery, chat_message},
    provider::find_user_id,
};

/// The hub of sample 6, and `JoinRoom` of the page about groups, so that it has other groups too.
pub(crate) fn chat_hub() -> Hub {
    Hub::new("ChatHub")
        .on_connected(connected)
        .method("SendChatMessage", send_chat_message)
        .method("JoinRoom", join_room)
}

/// The group of a user. There, it has the name of the user, so a room of the same name receives the messages to the user.
/// Here, groups of users and groups of rooms have different prefixes.
fn group_of_user(user: &UserId) -> String {
    format!("user {user}")
}

fn group_of_room(room: &str) -> String {
    format!("room {room}")
}

/// Sample 6, `OnConnected`. There, it does not wait for the group, so a message that follows at once can be lost. Here, it
/// waits, and the first call of the client is handled afterwards. Nothing removes the connection: its end does.
async fn connected(Connected(context): Connected) -> Result<(), HubError> {
    if let Some(user) = context.caller().user() {
        context.groups().join(group_of_user(user)).await?;
    }
    Ok(())
}

/// Sample 6, `SendChatMessage`. There, nothing tells the caller that the user has no connection. Here, the result does.
async fn send_chat_message(
    caller: Caller,
    clients: Clients,
    Args((who, message)): Args<(String, String)>,
) -> Result<Delivery, HubError> {
    let Some(user) = find_user_id(&who) else { return Ok(Delivery::Unknown) };
    let connections = clients.group(group_of_user(&user));
    Ok(Delivery::of(connections.send("addChatMessage", chat_message(&caller, &message)).await?))
}

async fn join_room(groups: Groups, Args((room_name,)): Args<(String,)>) -> Result<bool, HubError> {
    Ok(groups.join(group_of_room(&room_name)).await? == Added::Joined)
}
