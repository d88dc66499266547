//! Streams that clients send to hub methods.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{
    Call, CallError, FromCall, HubError, States,
    bind::{Binding, bind_payload},
};
use crate::payload::Payload;

/// A stream that the client sends along with an invocation, as a parameter of a hub method. A method can take several;
/// the client assigns its streams to them in order.
///
/// The client decides when the stream ends. An error of the client, an item that is not a `T`, and the end of the
/// connection are an error, and the last item. Items that the method does not read wait, up to
/// [`stream_capacity`](crate::aspnetcore::Settings::stream_capacity); then nothing more is read from the client.
///
/// ```
/// use futures_util::TryStreamExt;
/// use hubcast::{Hub, HubError, UploadStream};
///
/// async fn sum(numbers: UploadStream<i64>) -> Result<i64, HubError> {
///     numbers.try_fold(0, async |sum, number| Ok(sum + number)).await
/// }
///
/// let hub = Hub::new("numbers").method("Sum", sum);
/// ```
pub struct UploadStream<T> {
    receiver: UploadReceiver,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Stream for UploadStream<T> {
    type Item = Result<T, HubError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let receiver = &mut self.receiver;
        if receiver.has_ended {
            return Poll::Ready(None);
        }
        let item = match ready!(receiver.items.poll_recv(cx)) {
            Some(item) => item.and_then(|item| bind_payload(Binding::Strict, &item).ok()).ok_or_else(binding_error),
            None => match receiver.failure.get() {
                Some(failure) => Err(failure.error()),
                None => return Poll::Ready(None),
            },
        };
        if item.is_err() {
            receiver.has_ended = true;
            // The sender ignores the items that follow.
            receiver.items.close();
        }
        Poll::Ready(Some(item))
    }
}

impl<T> fmt::Debug for UploadStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UploadStream")
    }
}

impl<T: DeserializeOwned> FromCall for UploadStream<T> {
    const STREAM_COUNT: usize = 1;

    fn from_call(call: &Call, _: &States) -> Result<Self, CallError> {
        // The number of streams was compared with the parameters of the method.
        let receiver = call.uploads.take_next();
        let receiver = receiver.ok_or_else(|| HubError::hidden("InvalidOperationException", "no more streams"))?;
        Ok(Self { receiver, item: PhantomData })
    }
}

/// Wire: the text of the reference server.
fn binding_error() -> HubError {
    HubError::new("Failed to bind Stream message.")
}

/// The streams of an invocation that its method has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<std::vec::IntoIter<UploadReceiver>>);

impl Uploads {
    fn take_next(&self) -> Option<UploadReceiver> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

impl From<Vec<UploadReceiver>> for Uploads {
    fn from(receivers: Vec<UploadReceiver>) -> Self {
        Self(Mutex::new(receivers.into_iter()))
    }
}

/// An item, or `None` for an item that could not be read.
type UploadItem = Option<Payload>;

/// Creates the two ends of a stream that buffers `capacity` items.
pub(crate) fn upload(capacity: usize) -> (UploadSender, UploadReceiver) {
    let (sender, items) = mpsc::channel(capacity);
    let failure = Arc::new(OnceLock::new());
    let receiver = UploadReceiver { items, failure: Arc::clone(&failure), has_ended: false };
    (UploadSender { items: sender, failure, is_complete: false }, receiver)
}

/// Why a stream ends with an error.
#[derive(Debug)]
enum Failure {
    /// The client has sent this error.
    Client(String),
    ConnectionClosed,
}

impl Failure {
    /// Wire: the errors of the reference server.
    fn error(&self) -> HubError {
        match self {
            Self::Client(text) => HubError::new(text),
            Self::ConnectionClosed => {
                HubError::hidden("OperationCanceledException", "The underlying connection was closed.")
            }
        }
    }
}

/// The hub method's end of a stream.
#[derive(Debug)]
pub(crate) struct UploadReceiver {
    items: mpsc::Receiver<UploadItem>,
    failure: Arc<OnceLock<Failure>>,
    has_ended: bool,
}

/// The connection's end of a stream. Dropping it before [`UploadSender::complete`] ends the stream with an error.
#[derive(Debug)]
pub(crate) struct UploadSender {
    items: mpsc::Sender<UploadItem>,
    failure: Arc<OnceLock<Failure>>,
    is_complete: bool,
}

impl UploadSender {
    /// Passes an item on.
    ///
    /// # Errors
    /// The item, if the buffer is full.
    pub(crate) fn send(&self, item: UploadItem) -> Result<(), UploadItem> {
        match self.items.try_send(item) {
            // Items that the method does not wait for are ignored.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(item)) => Err(item),
        }
    }

    /// Ends the stream, with the client's error if there is one.
    pub(crate) fn complete(mut self, error: Option<String>) {
        self.is_complete = true;
        if let Some(error) = error {
            // Nothing else has set it: the sender is consumed.
            let _ = self.failure.set(Failure::Client(error));
        }
    }

    /// True if the hub method waits for no more items.
    pub(crate) fn is_unused(&self) -> bool {
        self.items.is_closed()
    }

    /// Waits until the buffer has space, or nothing is read from it any more.
    pub(crate) fn capacity(&self) -> UploadCapacity {
        UploadCapacity(self.items.clone())
    }
}

impl Drop for UploadSender {
    fn drop(&mut self) {
        if !self.is_complete {
            let _ = self.failure.set(Failure::ConnectionClosed);
        }
    }
}

/// Waits for space in the buffer of a stream.
#[derive(Debug)]
pub(crate) struct UploadCapacity(mpsc::Sender<UploadItem>);

impl UploadCapacity {
    pub(crate) async fn wait(self) {
        // An error means that nothing is read any more, so that the item is ignored.
        let _ = self.0.reserve().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::payload::Format;

    fn stream(receiver: UploadReceiver) -> UploadStream<i32> {
        UploadStream { receiver, item: PhantomData }
    }

    fn item(json: &str) -> UploadItem {
        Some(Payload::from_encoded(Format::Json, json.to_owned().into()))
    }

    async fn rest(stream: UploadStream<i32>) -> Vec<Result<i32, String>> {
        stream.map(|item| item.map_err(|error| error.to_string())).collect().await
    }

    #[tokio::test]
    async fn items_arrive_until_the_client_ends_the_stream() {
        let (sender, receiver) = upload(2);
        sender.send(item("1")).unwrap();
        sender.send(item("2")).unwrap();
        sender.complete(None);
        assert_eq!(rest(stream(receiver)).await, [Ok(1), Ok(2)]);
    }

    #[tokio::test]
    async fn error_of_the_client_follows_its_items() {
        let (sender, receiver) = upload(1);
        sender.send(item("1")).unwrap();
        sender.complete(Some("enough".into()));
        assert_eq!(rest(stream(receiver)).await, [Ok(1), Err("HubException: enough".into())]);
    }

    #[tokio::test]
    async fn end_of_the_connection_is_an_error() {
        let (sender, receiver) = upload(1);
        drop(sender);
        let error = "OperationCanceledException: The underlying connection was closed.";
        assert_eq!(rest(stream(receiver)).await, [Err(error.into())]);
    }

    #[tokio::test]
    async fn item_of_another_type_ends_the_stream() {
        for wrong in [item("\"x\""), None] {
            let (sender, receiver) = upload(2);
            sender.send(wrong).unwrap();
            sender.send(item("1")).unwrap();
            assert_eq!(rest(stream(receiver)).await, [Err("HubException: Failed to bind Stream message.".into())]);
            assert!(sender.is_unused());
            assert_eq!(sender.send(item("2")), Ok(()), "the rest is ignored");
        }
    }

    #[tokio::test]
    async fn full_buffer_refuses_items_until_one_is_read() {
        let (sender, receiver) = upload(1);
        let mut stream = stream(receiver);
        sender.send(item("1")).unwrap();
        assert_eq!(sender.send(item("2")), Err(item("2")));
        let mut capacity = Box::pin(sender.capacity().wait());
        assert_eq!((&mut capacity).now_or_never(), None);
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        capacity.await;
        assert_eq!(sender.send(item("2")), Ok(()));
    }
}
