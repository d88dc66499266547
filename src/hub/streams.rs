//! Results of hub methods: a value, or a stream of values.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{
    Stream, StreamExt,
    stream::{self, LocalBoxStream},
};
use serde::Serialize;

use super::{CallError, HubError};
use crate::payload::{Format, Payload};

/// A stream of values as the result of a hub method. The client receives each value as an item.
///
/// The stream is dropped when it has ended, when the client cancels it, and when the connection ends. An error is the
/// last item: the client receives it in place of the end. The stream is polled only while the client's outbox has
/// capacity, so a client that reads slowly slows its streams down.
///
/// ```
/// use futures_util::stream;
/// use hubcast::{Args, Hub, HubError, HubStream};
///
/// async fn count(Args((n,)): Args<(u32,)>) -> Result<HubStream<u32>, HubError> {
///     Ok(HubStream::new(stream::iter(0..n)))
/// }
///
/// let hub = Hub::new("numbers").method("Count", count);
/// ```
pub struct HubStream<T>(LocalBoxStream<'static, Result<T, HubError>>);

impl<T: 'static> HubStream<T> {
    /// A stream of values that cannot fail.
    pub fn new(values: impl Stream<Item = T> + 'static) -> Self {
        Self(values.map(Ok).boxed_local())
    }

    /// A stream of values that ends with the first error.
    pub fn with_errors(values: impl Stream<Item = Result<T, HubError>> + 'static) -> Self {
        Self(values.boxed_local())
    }
}

impl<T> Stream for HubStream<T> {
    type Item = Result<T, HubError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl<T> fmt::Debug for HubStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubStream")
    }
}

/// Encoded items of a stream. It ends after the first error.
pub(crate) type ItemStream = LocalBoxStream<'static, Result<Payload, HubError>>;

/// The encoded result of a hub method.
pub struct HubResult(Output);

enum Output {
    Value(Payload),
    Stream(ItemStream),
}

impl HubResult {
    /// The length of the value in bytes; 0 for a stream.
    pub(crate) fn value_len(&self) -> usize {
        match &self.0 {
            Output::Value(value) => value.as_bytes().len(),
            Output::Stream(_) => 0,
        }
    }

    /// The value; `None` if it is a stream.
    pub(super) fn value(&self) -> Option<&Payload> {
        match &self.0 {
            Output::Value(value) => Some(value),
            Output::Stream(_) => None,
        }
    }

    /// The value; `Err` if it is a stream.
    pub(crate) fn into_value(self) -> Result<Payload, ItemStream> {
        match self.0 {
            Output::Value(value) => Ok(value),
            Output::Stream(items) => Err(items),
        }
    }
}

impl From<Payload> for HubResult {
    fn from(value: Payload) -> Self {
        Self(Output::Value(value))
    }
}

impl fmt::Debug for HubResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Output::Value(value) => f.debug_tuple("HubResult").field(value).finish(),
            Output::Stream(_) => f.write_str("HubResult(stream)"),
        }
    }
}

/// A return type of hub methods.
#[diagnostic::on_unimplemented(
    message = "a hub method must return `Result<_, HubError>`, but this one returns `{Self}`",
    label = "does not return a `Result<_, HubError>`",
    note = "return `Ok(value)` or `Err(HubError::new(text))`; `?` converts every other error to a `HubError`",
    note = "docs/hub-methods.md lists the rules of hub methods"
)]
pub trait IntoHubResult {
    /// True if the result is a stream.
    const IS_STREAM: bool = false;

    /// Encodes the result in the format of the caller ([`Arguments::format`](super::Arguments::format)); `()` is null.
    ///
    /// # Errors
    /// The error of the hub method, or [`CallError::UnserializableResult`].
    fn into_hub_result(self, format: Format) -> Result<HubResult, CallError>;
}

impl<T: Serialize> IntoHubResult for Result<T, HubError> {
    fn into_hub_result(self, format: Format) -> Result<HubResult, CallError> {
        encode(format, &self?).map(HubResult::from)
    }
}

impl<T: Serialize + 'static> IntoHubResult for Result<HubStream<T>, HubError> {
    const IS_STREAM: bool = true;

    fn into_hub_result(self, format: Format) -> Result<HubResult, CallError> {
        let encode_item = move |item: Result<T, HubError>| encode_item(format, &item?);
        Ok(HubResult(Output::Stream(self?.0.map(encode_item).boxed_local())))
    }
}

/// Encodes a result.
pub(super) fn encode(format: Format, value: &impl Serialize) -> Result<Payload, CallError> {
    Payload::encode(format, value).map_err(|error| CallError::UnserializableResult(error.to_string()))
}

fn encode_item(format: Format, item: &impl Serialize) -> Result<Payload, HubError> {
    Payload::encode(format, item).map_err(|error| HubError::hidden("JsonException", error.to_string()))
}

/// Turns a panic of the stream into its last item, and ends it after its first error. `on_panic` receives the text of
/// the panic.
pub(crate) fn until_error(items: ItemStream, on_panic: impl Fn(&str) -> HubError + 'static) -> ItemStream {
    let items = std::panic::AssertUnwindSafe(items).catch_unwind();
    stream::unfold(Some((items, on_panic)), |state| async move {
        let (mut items, on_panic) = state?;
        let item = match items.next().await? {
            Ok(item) => item,
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Err(on_panic(&text))
            }
        };
        let rest = item.is_ok().then_some((items, on_panic));
        Some((item, rest))
    })
    .boxed_local()
}
