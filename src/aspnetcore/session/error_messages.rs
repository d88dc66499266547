//! What clients are told of failures. Wire: the texts are compared literally by clients' own tests.

use crate::{
    aspnetcore::json,
    hub::{CallError, Hub, HubError},
    message::Json,
};

/// What names a call: the id that the client gave, if it wants an answer, and the method as it spelt it.
#[derive(Debug)]
pub(crate) struct PendingInvocation {
    pub(super) id: Option<String>,
    pub(super) target: String,
}

const BINDING: &str = "Error binding arguments. Make sure that the types of the provided values match the types of \
                       the hub method being invoked.";

/// How much clients are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorMessages {
    pub(super) is_detailed: bool,
}

impl ErrorMessages {
    /// A text for the client, with what went wrong if it may know.
    pub(super) fn told(self, text: &str, error: &HubError) -> String {
        if error.is_shown() || self.is_detailed { format!("{text} {error}") } else { text.to_owned() }
    }

    /// The answer to a call, if its client wants one.
    ///
    /// # Errors
    /// What the connection has to be closed for: a result that cannot be put on the wire.
    pub(super) fn answer(
        self,
        hub: &Hub,
        ticket: &PendingInvocation,
        result: Result<Json, CallError>,
    ) -> Result<Option<Box<[u8]>>, HubError> {
        let error = match result {
            Ok(result) => return Ok(ticket.id.as_deref().map(|id| json::completion(id, &result))),
            Err(CallError::UnserializableResult(text)) => return Err(HubError::hidden("JsonException", text)),
            // Wire: a method is named as it was registered, and one that is unknown as the client spelt it.
            Err(error) => self.of(&error, hub.registered(&ticket.target).unwrap_or(&ticket.target)),
        };
        Ok(ticket.id.as_deref().map(|id| json::failure(id, &error)))
    }

    fn of(self, error: &CallError, target: &str) -> String {
        let failed = format!("Failed to invoke '{target}' due to an error on the server.");
        let invalid = |text: String| self.told(&failed, &HubError::hidden("InvalidDataException", text));
        match error {
            CallError::NoSuchMethod => format!("{failed} HubException: Method does not exist."),
            CallError::WrongArgumentCount { given, expected, .. } => {
                invalid(format!("Invocation provides {given} argument(s) but target expects {expected}."))
            }
            CallError::Binding(_) => invalid(BINDING.to_owned()),
            CallError::Unauthorized => format!("Failed to invoke '{target}' because user is unauthorized"),
            CallError::NoStream => format!(
                "The client attempted to invoke the non-streaming '{target}' method with a streaming invocation."
            ),
            CallError::Failed(error) => {
                self.told(&format!("An unexpected error occurred invoking '{target}' on the server."), error)
            }
            CallError::UnserializableResult(text) => invalid(text.clone()),
        }
    }
}
