//! How a hub method fails, and who gets to know why.

use std::{borrow::Cow, fmt};

use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::{groups, message::Json, store, supervised::Died};

/// The kind of an error whose text every client may read, by the name that clients know.
const SHOWN: &str = "HubException";

/// A failure of a hub method or hook.
///
/// [`HubError::new`] is meant for the client: its text is sent as it is. Any other error, such as one
/// raised by `?`, is the server's own affair: the client learns that something failed, and the text only
/// where detailed errors are on.
#[derive(Debug)]
pub struct HubError {
    kind: Cow<'static, str>,
    message: String,
    data: Option<Json>,
}

impl HubError {
    /// An error for the client to read.
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: SHOWN.into(), message: message.into(), data: None }
    }

    /// An error for the log. `kind` names it where detailed errors are on, as an exception's type name
    /// does on the original servers.
    pub fn hidden(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), data: None }
    }

    /// Adds data that classic clients find at the error as `data`; the newer wire has no place for it.
    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        self.data = to_raw_value(data).ok();
        self
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What went wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The data for classic clients.
    #[must_use]
    pub fn data(&self) -> Option<&Json> {
        self.data.as_ref()
    }

    /// True if the text is for every client to read.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.kind == SHOWN
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl<E: std::error::Error + 'static> From<E> for HubError {
    fn from(error: E) -> Self {
        Self::hidden(kind_of(&error), error.to_string())
    }
}

/// Wire: an empty name of a group is an error of this kind to both generations.
fn kind_of(error: &(dyn std::error::Error + 'static)) -> &'static str {
    match error.downcast_ref() {
        Some(SendError::EmptyGroupName) => "InvalidOperationException",
        _ => "Exception",
    }
}

/// Why a call was not sent to clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The arguments cannot be JSON. Nobody was called.
    #[error("the arguments cannot be JSON: {0}")]
    Arguments(#[from] serde_json::Error),
    /// One of the groups has no name. Nobody was called. Wire: the text is the originals'.
    #[error("Cannot send to an empty group name.")]
    EmptyGroupName,
    /// A group was interrupted; those before it were called.
    #[error(transparent)]
    Group(#[from] groups::Error),
}

/// Why something about users and their durable groups was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// The store did not do it, or not in time.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It is stored, but a living group was interrupted; the same call mends the rest.
    #[error(transparent)]
    Group(#[from] groups::Error),
}

impl From<Died> for UsersError {
    fn from(died: Died) -> Self {
        Self::Store(store::Error::Unavailable(died.to_string()))
    }
}

/// Why a call did not come to what its client wanted.
#[derive(Debug)]
pub enum CallError {
    /// The hub has no such method.
    NoSuchMethod,
    /// The method takes another number of arguments.
    WrongArgumentCount {
        /// The method as it was registered.
        method: Box<str>,
        /// How many the client gave.
        given: usize,
        /// How many the method takes.
        expected: usize,
    },
    /// An argument is not of the type that the method takes.
    Binding(String),
    /// The caller may not call this method.
    Unauthorized,
    /// The client wants a stream, and the method gives none.
    NoStream,
    /// The method ran, and failed.
    Failed(HubError),
    /// The method ran, and its answer cannot be put on the wire.
    UnserializableResult(String),
}
