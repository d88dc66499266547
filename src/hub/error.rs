//! Errors of hub methods, and which of their texts clients may read.

use std::{borrow::Cow, fmt};

use serde::Serialize;

use super::TooManyChanges;
use crate::{
    groups,
    ids::InvalidName,
    payload::{EncodeError, Format, Payload},
    router::InvokeError,
    store,
    supervised::Died,
};

/// Wire: the exception type whose text every client may read.
const HUB_EXCEPTION: &str = "HubException";

/// The text for clients when the store fails. The call can be repeated: durable changes are safe to repeat.
const STORE_UNAVAILABLE: &str = "The server cannot access its stored data now. Try again in a moment.";

/// A failure of a hub method or hook.
///
/// The text of an error from [`HubError::new`] is sent to the client unchanged. Any other error, such as one
/// converted by `?`, is internal: the client receives a generic error, and the text only if detailed errors are
/// enabled. Errors of which a client should know are exceptions: `?` shows it that a name is invalid, that a call makes
/// too many changes, and that the store is unavailable ([`UsersError::Store`]), in a text that does not reveal the cause.
///
/// ```
/// use hubcast::{Args, HubError};
///
/// async fn divide(Args((a, b)): Args<(f64, f64)>) -> Result<f64, HubError> {
///     if b == 0.0 { Err(HubError::new("the divisor is zero")) } else { Ok(a / b) }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HubError {
    kind: Cow<'static, str>,
    message: String,
    data: Option<Payload>,
    /// What the log states in place of the text. Clients do not read it.
    cause: Option<Box<str>>,
}

impl HubError {
    /// Creates an error whose text is sent to the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: HUB_EXCEPTION.into(), message: message.into(), data: None, cause: None }
    }

    /// Creates an internal error, for the log. If detailed errors are enabled, `kind` is sent in place of the exception
    /// type that the reference servers send.
    pub fn hidden(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), data: None, cause: None }
    }

    /// Adds data that classic clients receive as the error's `data`. The protocol of ASP.NET Core SignalR has no such
    /// field. Data that cannot be serialized is omitted.
    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        self.data = Payload::encode(Format::Json, data).ok();
        self
    }

    /// The kind of the error: an exception type name.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The text of the error.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The data for classic clients, as JSON.
    #[must_use]
    pub fn data(&self) -> Option<&Payload> {
        self.data.as_ref()
    }

    /// Sets the text for the log, in place of the text for clients.
    #[must_use]
    pub(crate) fn with_cause(self, cause: impl Into<Box<str>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// The text for the log.
    pub(crate) fn log_text(&self) -> String {
        self.cause.as_ref().map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// The text for the log, if clients do not receive it in any case.
    pub(crate) fn hidden_text(&self) -> Option<String> {
        (self.cause.is_some() || !self.is_shown()).then(|| self.log_text())
    }

    /// True if every client may read the text.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.kind == HUB_EXCEPTION
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl<E: std::error::Error + 'static> From<E> for HubError {
    fn from(error: E) -> Self {
        match (&error as &dyn std::any::Any).downcast_ref() {
            Some(SendError::Refused(refusal)) => refusal.clone(),
            _ if is_store_unavailable(&error) => Self::new(STORE_UNAVAILABLE).with_cause(error.to_string()),
            _ => Self::hidden(exception_type(&error), error.to_string()),
        }
    }
}

/// Wire: an empty group name is an `InvalidOperationException` in both generations. That a name is invalid, or that there
/// are too many, is told to the client, because names usually come from clients.
fn exception_type(error: &(dyn std::error::Error + 'static)) -> &'static str {
    match error.downcast_ref() {
        Some(SendError::EmptyGroupName) => "InvalidOperationException",
        _ if let Some(error) = error.downcast_ref() => invoke_exception_type(error),
        _ if is_invalid_name_error(error) || is_too_many(error) => HUB_EXCEPTION,
        _ => "Exception",
    }
}

/// Wire: what the client has answered, or failed to answer, is told to the caller.
fn invoke_exception_type(error: &InvokeError) -> &'static str {
    match error {
        InvokeError::Client(_) | InvokeError::NoResult | InvokeError::WrongType { .. } => HUB_EXCEPTION,
        InvokeError::Refused(_) => "InvalidOperationException",
        InvokeError::NotConnected(_) | InvokeError::Disconnected(_) => "IOException",
        InvokeError::NotSingle | InvokeError::InOnConnected | InvokeError::Unsupported(_) => {
            "InvalidOperationException"
        }
        InvokeError::Arguments(_) => "Exception",
    }
}

fn is_invalid_name_error(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_group = |error: &groups::Error| matches!(error, groups::Error::InvalidName(_));
    error.is::<InvalidName>()
        || error.downcast_ref().is_some_and(of_group)
        || matches!(error.downcast_ref(), Some(SendError::Group(error)) if of_group(error))
        || matches!(error.downcast_ref(), Some(UsersError::InvalidName(_)))
}

fn is_store_unavailable(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(UsersError::Store(store::Error::Unavailable(_))))
}

fn is_too_many(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<TooManyChanges>() || matches!(error.downcast_ref(), Some(UsersError::TooManyChanges(_)))
}

/// Why an invocation was not sent to clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The arguments cannot be encoded in a format that clients use. Nothing was sent.
    #[error("the arguments cannot be encoded: {0}")]
    Arguments(#[from] EncodeError),
    /// A group name is empty. Nothing was sent. Wire: the text is that of the reference servers.
    #[error("Cannot send to an empty group name.")]
    EmptyGroupName,
    /// The actor of a group crashed meanwhile. Groups earlier in the list have received the invocation.
    #[error(transparent)]
    Group(#[from] groups::Error),
    /// A filter refused it, or failed. Nothing was sent. A hub method that returns it with `?` fails with the error of
    /// the filter.
    #[error("{0}")]
    Refused(HubError),
}

/// Why an operation on users and their durable groups failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// The store failed or did not answer in time.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The name of a user or a group is invalid. Nothing has changed.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The call makes too many changes. Nothing has changed.
    #[error(transparent)]
    TooManyChanges(#[from] TooManyChanges),
    /// The change is stored, but the actor of a live group crashed meanwhile. Repeating the call completes the change.
    #[error(transparent)]
    Group(#[from] groups::Error),
    /// The connections of the user have ended, but the store failed or did not answer in time: the rejoin tokens of the
    /// user may still be valid. Repeating the call completes the sign-out.
    #[error("{disconnected} disconnected, but the rejoin tokens may still be valid: {error}")]
    NotRevoked {
        /// The number of clients that were told.
        disconnected: usize,
        /// The error of the store.
        error: store::Error,
    },
}

impl From<Died> for UsersError {
    fn from(died: Died) -> Self {
        Self::Store(store::Error::Unavailable(died.to_string()))
    }
}

impl From<HubError> for CallError {
    fn from(error: HubError) -> Self {
        Self::Failed(error)
    }
}

/// Why an invocation failed.
#[derive(Clone, Debug, PartialEq)]
pub enum CallError {
    /// The hub has no such method.
    NoSuchMethod,
    /// The method takes a different number of arguments.
    WrongArgumentCount {
        /// The registered name of the method.
        method: Box<str>,
        /// The number of arguments that the client passed.
        given: usize,
        /// The number of arguments that the method takes.
        expected: usize,
    },
    /// The arguments are not a list of values.
    MalformedArguments(Box<str>),
    /// An argument is not of the parameter's type.
    Binding(String),
    /// The caller is not authorized to invoke this method.
    Unauthorized,
    /// The client requested a stream, but the method does not return one.
    NoStream,
    /// The method returns a stream, but the client requested none.
    StreamRequired,
    /// The method returned an error, or could not run.
    Failed(HubError),
    /// The result of the method cannot be serialized.
    UnserializableResult(String),
}
