//! Invocations of client methods that wait for the client's result.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;

use crate::{
    connections::ConnectionHandle,
    ids::ConnectionId,
    payload::{EncodeError, Payload},
};

/// How a client has answered an invocation, or ended one of its streams.
#[derive(Debug)]
pub(crate) enum ClientResult {
    /// Without a result.
    Void,
    Result(Payload),
    Error(String),
}

/// Why a client has not returned a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The target is not a single connection. Wire: this and the following texts are those of the reference server.
    #[error("InvokeAsync only works with Single clients.")]
    NotSingle,
    /// OnConnected is running, and nothing is read from its client until it has returned.
    #[error("Client results inside OnConnectedAsync Hub methods are not allowed.")]
    InOnConnected,
    /// No such connection uses the hub.
    #[error("Connection '{0}' does not exist.")]
    NotConnected(ConnectionId),
    /// The connection has ended before it has answered.
    #[error("Connection '{0}' disconnected.")]
    Disconnected(ConnectionId),
    /// The client is a classic client, which returns no results.
    #[error("Connection '{0}' cannot return a result.")]
    Unsupported(ConnectionId),
    /// The arguments cannot be encoded. Nothing was sent.
    #[error("the arguments cannot be encoded: {0}")]
    Arguments(#[from] EncodeError),
    /// A filter has refused the invocation, or failed. Nothing was sent.
    #[error("{0}")]
    Refused(String),
    /// The client has answered with this error.
    #[error("{0}")]
    Client(String),
    /// The client has answered without a result.
    #[error("Exception of type 'Microsoft.AspNetCore.SignalR.HubException' was thrown.")]
    NoResult,
    /// The result is not of the requested type.
    #[error("Error trying to deserialize result to {expected}. {reason}")]
    WrongType {
        /// The name of the type.
        expected: String,
        /// The text of the deserializer.
        reason: String,
    },
}

/// The completion is not from the connection that was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAsked;

/// The invocations of this process that wait for a result.
#[derive(Debug, Default)]
pub(crate) struct ClientResults {
    last: AtomicU64,
    pending: Mutex<HashMap<u64, Pending>>,
}

#[derive(Debug)]
struct Pending {
    connection: ConnectionId,
    answer: oneshot::Sender<ClientResult>,
}

impl ClientResults {
    /// Registers an invocation of a connection.
    pub(super) fn register(self: &Arc<Self>, connection: &ConnectionId) -> PendingResult {
        let (answer, receiver) = oneshot::channel();
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().insert(number, Pending { connection: connection.clone(), answer });
        PendingResult { number, receiver, results: Arc::clone(self) }
    }

    /// Passes a result on. A result that nothing waits for is ignored.
    ///
    /// # Errors
    /// [`NotAsked`], if another connection was asked. It can still answer.
    pub(crate) fn complete(&self, id: &str, from: &ConnectionId, result: ClientResult) -> Result<(), NotAsked> {
        let Some(number) = number_of(id) else { return Ok(()) };
        let mut pending = self.lock();
        match pending.get(&number) {
            None => return Ok(()),
            Some(asked) if asked.connection != *from => return Err(NotAsked),
            Some(_) => {}
        }
        if let Some(asked) = pending.remove(&number) {
            // The caller may have given up.
            let _ = asked.answer.send(result);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Pending>> {
        // A panic under the lock cannot leave the map inconsistent.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wire: the prefix distinguishes the ids of the server from those of the client's streams.
fn number_of(id: &str) -> Option<u64> {
    id.strip_prefix('s')?.parse().ok()
}

/// An invocation that waits for a result, until it is dropped.
#[derive(Debug)]
pub(super) struct PendingResult {
    number: u64,
    receiver: oneshot::Receiver<ClientResult>,
    results: Arc<ClientResults>,
}

impl PendingResult {
    /// The invocation id.
    pub(super) fn id(&self) -> Box<str> {
        format!("s{}", self.number).into()
    }

    pub(super) async fn wait(&mut self) -> ClientResult {
        // The sender is kept until it is used.
        (&mut self.receiver).await.unwrap_or(ClientResult::Void)
    }
}

/// An invocation in the outbox of the connection that is asked for a result.
#[derive(Debug)]
pub(crate) struct SentInvocation {
    pub(super) connection: Arc<ConnectionHandle>,
    pub(super) pending: PendingResult,
}

impl SentInvocation {
    /// Waits for the result.
    ///
    /// # Errors
    /// [`InvokeError::Disconnected`], if the connection ends first.
    pub(crate) async fn result(mut self) -> Result<ClientResult, InvokeError> {
        tokio::select! {
            biased;
            result = self.pending.wait() => Ok(result),
            () = self.connection.ended().cancelled() => Err(InvokeError::Disconnected(self.connection.id.clone())),
        }
    }
}

impl Drop for PendingResult {
    fn drop(&mut self) {
        self.results.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn error(text: &str) -> ClientResult {
        ClientResult::Error(text.into())
    }

    #[test]
    fn only_the_asked_connection_can_answer() {
        let results = Arc::new(ClientResults::default());
        let mut pending = results.register(&"ann".into());
        assert_eq!(&*pending.id(), "s1");
        assert_eq!(results.complete("s1", &"bob".into(), error("me")), Err(NotAsked));
        assert_eq!(results.complete("s1", &"ann".into(), error("no, me")), Ok(()));
        let Some(ClientResult::Error(text)) = pending.wait().now_or_never() else { panic!("it is answered") };
        assert_eq!(text, "no, me");
        assert_eq!(results.complete("s1", &"bob".into(), error("again")), Ok(()), "nothing waits any more");
    }

    #[test]
    fn results_that_nothing_waits_for_are_ignored() {
        let results = Arc::new(ClientResults::default());
        drop(results.register(&"ann".into()));
        assert!(results.lock().is_empty());
        for id in ["s1", "s2", "1", "s", "sx", ""] {
            assert_eq!(results.complete(id, &"ann".into(), ClientResult::Void), Ok(()), "{id}");
        }
        assert_eq!(&*results.register(&"ann".into()).id(), "s2", "ids are not reused");
    }
}
