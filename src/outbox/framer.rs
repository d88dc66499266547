//! How what waits becomes what a transport writes.

use bytes::BytesMut;

/// How the stream of an outbox ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The WebSocket close code; other transports just end.
    pub code: u16,
}

/// What the next frame of a channel says besides its elements. Something that is set again before it was
/// said replaces what was set before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameFields {
    /// How a channel begins, or that a frame is due although there is nothing to say.
    pub opening: Option<Box<[u8]>>,
    /// What the client should know of itself.
    pub news: Option<Box<[u8]>>,
}

impl FrameFields {
    pub(super) fn is_empty(&self) -> bool {
        self.opening.is_none() && self.news.is_none()
    }
}

/// Turns items into what the transport writes: the dialect's and the transport's shape of a frame.
pub trait Framer: Send + Sync {
    /// Writes `elements` as one or more frames. `fields` is what is to be said besides; `cursor` is where a
    /// client continues that has seen this frame.
    fn frame(&self, fields: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, cursor: u64, out: &mut BytesMut);

    /// Writes something that is a frame as it is.
    fn whole(&self, frame: &[u8], out: &mut BytesMut);
}
