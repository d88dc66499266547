//! The groups token of a client: when its new channel sends one.
//!
//! Wire: the groups token (`G`) lists all groups. It is sent when the groups differ from those of the last sent token.

use super::{Session, SessionEffects};
use crate::connection::{ChannelAttached, Effect};

/// A channel was attached. A token that the previous channel has not sent is sent now, and so is one if the client did
/// not receive the last one.
pub(super) fn on_attached(attached: &ChannelAttached<Session>) -> SessionEffects {
    if attached.is_rejoined {
        return Effect::RefreshGroupsToken.into();
    }
    let lacks_token = attached.has_unsent_token || !attached.has_current_token;
    lacks_token.then_some(Effect::SendGroupsToken(true)).into()
}
