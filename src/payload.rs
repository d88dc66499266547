//! Values on the wire: arguments, results and stream items, each encoded in the format of one client.
//!
//! A hub protocol puts encoded values into its messages and takes them out again without decoding them. Hub code
//! decodes a received value when it binds it to a type, and encodes a result in the format of its recipient. No value
//! is converted from one format to the other, unless an application passes a received value on to a client that uses
//! the other format.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

mod binary;
pub(crate) mod message_pack;
mod passed_on;
mod single_line;
mod timestamp;

pub use binary::Binary;
pub(crate) use single_line::{json_depth, quote, to_line};
pub use timestamp::Timestamp;

/// The encoding of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// JSON text on a single line.
    #[default]
    Json,
    /// MessagePack. Structs are maps with their field names as keys.
    MessagePack,
}

/// An encoded value. Clones share the bytes.
///
/// As a parameter of a hub method it accepts any value, which can be passed on unchanged. A value that is sent to a
/// client of another format is converted: bytes become Base64 in JSON, and there is no MessagePack timestamp in JSON. A
/// value with a list or a map as a key cannot be sent to JSON clients.
///
/// ```
/// use hubcast::{Args, Clients, HubError, Payload};
///
/// async fn relay(clients: Clients, Args((value,)): Args<(Payload,)>) -> Result<(), HubError> {
///     clients.others().send("relayed", (value,)).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    format: Format,
    bytes: Bytes,
}

/// A value cannot be encoded in the format of its recipient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(pub(crate) String);

/// An encoded value is not of the requested type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub(crate) String);

impl Payload {
    /// Encodes a value.
    ///
    /// # Errors
    /// [`EncodeError`], if the value has no representation in the format, such as a map in JSON whose keys are lists.
    pub fn encode(format: Format, value: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        let bytes = match format {
            Format::Json => to_line(value).map_err(|error| EncodeError(error.to_string()))?.into(),
            Format::MessagePack => message_pack::encode(value)?.into(),
        };
        Ok(Self { format, bytes })
    }

    /// A value that is already encoded.
    pub(crate) fn from_encoded(format: Format, bytes: Bytes) -> Self {
        Self { format, bytes }
    }

    /// Decodes the value as a `T`, without conversions.
    ///
    /// # Errors
    /// [`DecodeError`], if it is not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match self.format {
            Format::Json => serde_json::from_slice(&self.bytes).map_err(|error| DecodeError(error.to_string())),
            Format::MessagePack => message_pack::decode(&self.bytes),
        }
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The encoded value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value as JSON text; `None` if it has another format.
    #[must_use]
    pub fn as_json(&self) -> Option<&str> {
        match self.format {
            Format::Json => str::from_utf8(&self.bytes).ok(),
            Format::MessagePack => None,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("format", &self.format).field("length", &self.bytes.len()).finish()
    }
}

/// The formats that messages to several clients are encoded in: JSON, and MessagePack once a client has used it.
#[derive(Debug, Default)]
pub(crate) struct FormatsInUse {
    message_pack: AtomicBool,
}

impl FormatsInUse {
    /// Includes a format. Order: this precedes the registration of the first connection that uses the format.
    pub(crate) fn include(&self, format: Format) {
        if format == Format::MessagePack {
            self.message_pack.store(true, Ordering::SeqCst);
        }
    }

    /// True once a client has used MessagePack.
    pub(crate) fn include_message_pack(&self) -> bool {
        self.message_pack.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests;
