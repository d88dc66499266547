//! The outcome of a message to a user.

use hubcast::{Caller, Clients, HubError};
use serde::Serialize;

/// The result of `SendChatMessage`. On the page, the method has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Delivery {
    /// There is no such user.
    Unknown,
    /// The user has no connection.
    Offline,
    /// The number of connections that the message was sent to.
    Sent(usize),
}

impl Delivery {
    pub(crate) fn of(connections: usize) -> Self {
        if connections == 0 { Self::Offline } else { Self::Sent(connections) }
    }

    /// Sends the caller the reason for which its message has no recipient, by the client method of samples 8 and 10.
    pub(crate) async fn report(self, clients: &Clients) -> Result<Self, HubError> {
        let text = match self {
            Self::Unknown => "Could not find that user.",
            Self::Offline => "The user is no longer connected.",
            Self::Sent(_) => return Ok(self),
        };
        clients.caller().send("showErrorMessage", (text,)).await?;
        Ok(self)
    }
}

/// The only argument of `addChatMessage` on the page.
pub(crate) fn chat_message(caller: &Caller, message: &str) -> (String,) {
    (format!("{}: {message}", caller.name()),)
}
