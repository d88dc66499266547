//! Encoding of entries into the frames that a transport writes.

use std::{fmt, sync::Arc};

use bytes::BytesMut;

/// How a channel ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A WebSocket ends with a close frame of this code. Other transports end without one.
    Close(u16),
    /// A WebSocket ends without a close frame, which its client treats as an error.
    Abort,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(code) => code.fmt(f),
            Self::Abort => f.write_str("without a close frame"),
        }
    }
}

/// Extra fields of the next frame of a channel. Setting a field again before it is sent replaces it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameFields {
    /// The fields that start a channel. An empty slice requests a frame without fields.
    pub init: Option<Box<[u8]>>,
    /// The field with the client's new groups token.
    pub groups_token: Option<DeferredField>,
}

/// A field or a message that is encoded when it is written, so that several changes before that cost one encoding.
#[derive(Clone)]
pub struct DeferredField(Arc<dyn Fn() -> Box<[u8]> + Send + Sync>);

impl DeferredField {
    /// A field that `encode` encodes. `encode` must not use the outbox, whose lock is held meanwhile.
    pub fn new(encode: impl Fn() -> Box<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(encode))
    }

    /// The bytes of the field.
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        (self.0)()
    }
}

/// A field of these bytes.
impl From<&'static [u8]> for DeferredField {
    fn from(bytes: &'static [u8]) -> Self {
        Self::new(|| bytes.into())
    }
}

impl fmt::Debug for DeferredField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeferredField")
    }
}

/// Fields are equal if they encode equally.
impl PartialEq for DeferredField {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Eq for DeferredField {}

impl FrameFields {
    pub(super) fn is_empty(&self) -> bool {
        self.init.is_none() && self.groups_token.is_none()
    }
}

/// Encodes entries as frames in the format of one dialect and transport.
pub trait Framer: Send + Sync {
    /// Appends `elements` to `out` as one or more frames, with the extra `fields`. `cursor` is the position of a client
    /// that has received this frame.
    fn frame(&self, fields: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, cursor: u64, out: &mut BytesMut);

    /// Appends a frame that is already encoded by the dialect, such as a keep-alive; only transport framing is added.
    fn write_raw(&self, frame: &[u8], out: &mut BytesMut);
}
