//! Encoding of entries into the frames that a transport writes.

use bytes::BytesMut;

/// How a channel ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The WebSocket close code; other transports end without one.
    pub code: u16,
}

/// Extra fields of the next frame of a channel. Setting a field again before it is sent replaces it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameFields {
    /// The fields that start a channel. An empty slice requests a frame without fields.
    pub init: Option<Box<[u8]>>,
    /// The field with the client's new groups token.
    pub groups_token: Option<Box<[u8]>>,
}

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
