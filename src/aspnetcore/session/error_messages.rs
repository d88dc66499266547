//! Error texts that are sent to clients. Wire: test suites of clients compare these texts literally.

use crate::{
    aspnetcore::protocol::{HubProtocol, ServerMessage},
    connection::PendingCall,
    hub::{CallError, Hub, HubError},
    ids::{MAX_NAME_LENGTH, truncated},
    payload::Payload,
};

/// A call that has not returned yet: its invocation id, if the client expects a completion, and the method name as the
/// client spelled it.
#[derive(Debug)]
pub(crate) struct PendingInvocation {
    pub(super) id: Option<String>,
    pub(super) target: String,
}

impl PendingCall for PendingInvocation {
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

const BINDING_ERROR: &str = "Error binding arguments. Make sure that the types of the provided values match the types of \
                       the hub method being invoked.";

/// Builds error texts for clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorMessages {
    /// Include the text of every error, also of hidden ones.
    pub(super) is_detailed: bool,
}

impl ErrorMessages {
    /// Appends `error` to `text` if it may be shown to the client.
    pub(super) fn for_client(self, text: &str, error: &HubError) -> String {
        if error.is_shown() || self.is_detailed { format!("{text} {error}") } else { text.to_owned() }
    }

    /// The completion message of a call, if the client expects one.
    ///
    /// # Errors
    /// If the result cannot be serialized. The connection must be closed with this error.
    pub(super) fn completion(
        self,
        protocol: &dyn HubProtocol,
        hub: &Hub,
        invocation: &PendingInvocation,
        result: Result<Payload, CallError>,
    ) -> Result<Option<Box<[u8]>>, HubError> {
        let error = match result {
            Ok(result) => {
                let write = |id| protocol.write(&ServerMessage::Result { id, result: &result });
                return Ok(invocation.id.as_deref().map(write));
            }
            Err(CallError::UnserializableResult(text)) => return Err(HubError::hidden("JsonException", text)),
            // Wire: the text contains the registered method name, or the client's spelling if the method is unknown.
            Err(error) => self.call_error(
                &error,
                hub.registered_name(&invocation.target).unwrap_or(truncated(&invocation.target, MAX_NAME_LENGTH)),
            ),
        };
        let write = |id| protocol.write(&ServerMessage::Error { id, error: &error });
        Ok(invocation.id.as_deref().map(write))
    }

    fn call_error(self, error: &CallError, target: &str) -> String {
        let failed = format!("Failed to invoke '{target}' due to an error on the server.");
        let invalid = |text: String| self.for_client(&failed, &HubError::hidden("InvalidDataException", text));
        match error {
            CallError::NoSuchMethod => format!("{failed} HubException: Method does not exist."),
            CallError::WrongArgumentCount { given, expected, .. } => {
                invalid(format!("Invocation provides {given} argument(s) but target expects {expected}."))
            }
            CallError::MalformedArguments(text) => invalid(text.to_string()),
            CallError::Binding(_) => invalid(BINDING_ERROR.to_owned()),
            CallError::Unauthorized => format!("Failed to invoke '{target}' because user is unauthorized"),
            CallError::NoStream => format!(
                "The client attempted to invoke the non-streaming '{target}' method with a streaming invocation."
            ),
            CallError::StreamRequired => format!(
                "The client attempted to invoke the streaming '{target}' method with a non-streaming invocation."
            ),
            CallError::Failed(error) => {
                self.for_client(&format!("An unexpected error occurred invoking '{target}' on the server."), error)
            }
            CallError::UnserializableResult(text) => invalid(text.clone()),
        }
    }
}
