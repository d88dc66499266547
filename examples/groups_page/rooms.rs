//! Samples 1 to 5: rooms that a connection is in until it leaves or ends.

use hubcast::{
    Args, Caller, Clients, Groups, Hub, HubError,
    hub::{Added, Removed, Target},
};

use crate::members::user_of;

/// The client method that receives messages.
const MESSAGE_METHOD: &str = "addChatMessage";

/// The hub of samples 1 and 3 to 5.
pub(crate) fn contoso_chat_hub() -> Hub {
    Hub::new("ContosoChatHub")
        .method("JoinRoom", join_room)
        .method("LeaveRoom", leave_room)
        .method("Send", send)
        .method("SendExcept", send_except)
        .method("SendToOthers", send_to_others)
}

/// The hub of sample 2. There, it is the same class in a later version.
pub(crate) fn announcing_chat_hub() -> Hub {
    Hub::new("AnnouncingChatHub").method("JoinRoom", join_and_announce).method("LeaveRoom", leave_room)
}

/// Sample 1, `JoinRoom`. There, the client learns only that the call has ended. Here, the result is false if the
/// connection was a member already.
pub(crate) async fn join_room(groups: Groups, Args((room_name,)): Args<(String,)>) -> Result<bool, HubError> {
    Ok(groups.join(room_name).await? == Added::Joined)
}

/// Sample 1, `LeaveRoom`. There, the removal of a connection that has ended waits for a timeout and fails with a
/// cancelled task, so the page advises not to wait. Here, the answer comes at once: false if the connection was no member.
pub(crate) async fn leave_room(groups: Groups, Args((room_name,)): Args<(String,)>) -> Result<bool, HubError> {
    Ok(groups.leave(room_name).await? == Removed::Left)
}

/// Sample 2: adds the caller, waits, and tells all members, the caller included. There, each further call announces the
/// caller again, and a caller without a name as `" joined."`. Here, only a new member is announced, and it has a name.
async fn join_and_announce(
    caller: Caller,
    groups: Groups,
    clients: Clients,
    Args((room_name,)): Args<(String,)>,
) -> Result<bool, HubError> {
    let user = user_of(&caller)?;
    let is_new = groups.join(room_name.as_str()).await? == Added::Joined;
    if is_new {
        clients.group(room_name).send(MESSAGE_METHOD, (format!("{user} joined."),)).await?;
    }
    Ok(is_new)
}

/// Sample 3: sends to all members. There, the sender chooses its name, and a message to a room without members is lost
/// silently. Here, the name is that of the caller, and the result is the number of recipients, as in samples 4 and 5.
pub(crate) async fn send(
    caller: Caller,
    clients: Clients,
    Args((group_name, message)): Args<(String, String)>,
) -> Result<usize, HubError> {
    send_message(clients.group(group_name), &caller, &message).await
}

/// Sample 4: sends to all members except some connections. There, the ids are arguments of the source code. Here, they
/// are a list of any length, and ids of connections that have ended do no harm.
async fn send_except(
    caller: Caller,
    clients: Clients,
    Args((group_name, message, connection_ids)): Args<(String, String, Vec<String>)>,
) -> Result<usize, HubError> {
    send_message(clients.group_except(group_name, connection_ids), &caller, &message).await
}

/// Sample 5: sends to all members except the caller, which need not be a member.
async fn send_to_others(
    caller: Caller,
    clients: Clients,
    Args((group_name, message)): Args<(String, String)>,
) -> Result<usize, HubError> {
    send_message(clients.others_in_group(group_name), &caller, &message).await
}

async fn send_message(target: Target, caller: &Caller, message: &str) -> Result<usize, HubError> {
    let user = user_of(caller)?;
    Ok(target.send(MESSAGE_METHOD, (user, message)).await?)
}
