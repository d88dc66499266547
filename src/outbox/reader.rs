//! The reading end of an outbox, with which a transport drains it.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
};

use bytes::BytesMut;

use super::{End, FrameFields, Framer, Outbox, OutboxEvent, Shared, wake_transport};

/// Approximate maximum of bytes per write. It is large enough to make system calls cheap, and small enough that the
/// entries that a stalled client has not read are counted here and not hidden in the server's own buffers.
const WRITE_BUDGET: usize = 32 * 1024;

/// The maximum of control frames that wait to be written. A client that sends more pings without reading gets pongs for
/// the latest only (RFC 6455 section 5.5.3), and occupies at most 2 KiB. Conformance suites expect ten.
const MAX_CONTROL_FRAMES: usize = 16;

/// The end of a channel that a newer channel of the same connection has replaced.
const REPLACED: End = End::Close(1000);

/// The outbox's side of the current channel.
#[derive(Default)]
pub(super) struct ChannelWriter {
    /// The number of attached transports so far; only the newest is served.
    pub(super) channel: u32,
    /// Encodes the frames of the channel. There is none before the first channel.
    pub(super) framer: Option<Arc<dyn Framer>>,
    /// Woken when there is something to write.
    pub(super) transport: Option<Waker>,
    /// The rest of a frame that was written in part. It is written before everything else.
    pub(super) partial_frame: BytesMut,
    /// Control frames of the transport's protocol. They are written next.
    control: VecDeque<Box<[u8]>>,
    close: Option<End>,
    direct: Option<DirectWrite>,
    /// See [`Progress::writes`](super::Progress::writes).
    pub(super) writes: u64,
}

impl ChannelWriter {
    pub(super) fn new(channel: u32, framer: Option<Arc<dyn Framer>>) -> Self {
        Self { channel, framer, ..Self::default() }
    }

    /// Writes these bytes as a frame before the entries.
    pub(super) fn push_first(&mut self, bytes: &[u8]) {
        if let Some(framer) = &self.framer {
            let mut frame = BytesMut::new();
            framer.write_raw(bytes, &mut frame);
            self.control.push_back(frame[..].into());
        }
    }

    pub(super) fn close(&mut self, end: End) {
        self.close = self.close.or(Some(end));
    }
}

/// The unsent remainder of a channel that a newer channel has replaced.
pub(super) struct PreviousChannel {
    pub(super) channel: u32,
    pub(super) unsent: Unsent,
    /// The rest of a frame that was written in part; the end of the channel must not interrupt it.
    pub(super) partial_frame: BytesMut,
}

impl PreviousChannel {
    /// `None` for the number 0, which stands for the time before the first channel.
    pub(super) fn of(channel: u32, unsent: Unsent, partial_frame: BytesMut) -> Option<Box<Self>> {
        (channel > 0).then(|| Box::new(Self { channel, unsent, partial_frame }))
    }
}

/// A socket that its own thread may write to directly, without waking its transport.
struct DirectWrite {
    sink: Arc<dyn Sink>,
    thread: ThreadId,
    /// The socket is full, and its transport waits until it is writable.
    is_full: bool,
}

/// A destination for bytes that never blocks.
pub trait Sink: Send + Sync {
    /// Writes a prefix of `bytes` and returns its length.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing can be written now, and any other error of the destination.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// The reading end of one channel, held by its transport. Dropping it notifies the owner with
/// [`OutboxEvent::Detached`].
pub struct OutboxReader {
    pub(super) outbox: Arc<Outbox>,
    pub(super) channel: u32,
    /// Encodes the frame of [`OutboxReader::write_unsent`].
    pub(super) framer: Arc<dyn Framer>,
    pub(super) ended: bool,
}

/// The unsent remainder of a channel that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// The cursor of a client that has received everything that was handed to the channel's transport.
    pub cursor: u64,
    /// The extra fields that were not sent.
    pub fields: FrameFields,
}

/// The next action of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// Write the appended bytes.
    Write,
    /// End the channel; nothing follows.
    End(End),
}

impl OutboxReader {
    /// The number of this channel within the connection; the first is 1.
    #[must_use]
    pub fn channel(&self) -> u32 {
        self.channel
    }

    /// The unsent remainder of this channel, after it has ended.
    #[must_use]
    pub fn unsent(&self) -> Unsent {
        let mut shared = self.outbox.lock();
        match shared.previous.take() {
            Some(previous) if previous.channel == self.channel => previous.unsent,
            other => {
                shared.previous = other;
                Unsent { cursor: shared.queue.cursor(), fields: FrameFields::default() }
            }
        }
    }

    /// Appends a frame without messages, with the fields that this channel has not sent. It completes the response to a
    /// poll that has ended.
    pub fn write_unsent(&self, out: &mut BytesMut) {
        let Unsent { cursor, fields } = self.unsent();
        self.framer.frame(&fields, &mut std::iter::empty(), cursor, out);
    }

    /// A handle for the reading half of the transport, to control this writing half.
    #[must_use]
    pub fn control(&self) -> ChannelControl {
        ChannelControl { outbox: Arc::clone(&self.outbox), channel: self.channel }
    }

    /// Allows a [`FlushBatch`](super::FlushBatch) on the calling thread to write to `sink` directly, as long as `sink`
    /// is not full.
    pub fn enable_direct_write(&self, sink: Arc<dyn Sink>) {
        let direct = DirectWrite { sink, thread: thread::current().id(), is_full: false };
        self.with_writer(|writer| writer.direct = Some(direct));
    }

    /// Records whether the socket has taken bytes since the last record, which is progress, and whether it is full.
    /// While it is full, nothing is written to it directly.
    pub fn record_write(&self, has_taken: bool, is_full: bool) {
        self.with_writer(|writer| {
            writer.writes += u64::from(has_taken);
            if let Some(direct) = &mut writer.direct {
                direct.is_full = is_full;
            }
        });
    }

    fn with_writer(&self, change: impl FnOnce(&mut ChannelWriter)) {
        let mut shared = self.outbox.lock();
        if shared.writer.channel == self.channel {
            change(&mut shared.writer);
        }
    }

    /// Appends waiting frames to `out`, about 32 KiB at a time, or returns [`ReadStep::End`]. After the end the reader
    /// stays pending.
    pub fn poll(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Poll<ReadStep> {
        if self.ended {
            return Poll::Pending;
        }
        let mut shared = self.outbox.lock();
        if let Some(end) = shared.channel_end(self.channel) {
            let partial_frame = shared.take_partial_frame(self.channel);
            if !partial_frame.is_empty() {
                out.unsplit(partial_frame);
                return Poll::Ready(ReadStep::Write);
            }
            self.ended = true;
            return Poll::Ready(ReadStep::End(end));
        }
        if shared.write_next(out) {
            return Poll::Ready(ReadStep::Write);
        }
        if let Some(end) = shared.queue.end() {
            // A poll that already carries entries leaves the end to the next one.
            (self.ended, shared.is_end_delivered) = (true, out.is_empty());
            return Poll::Ready(ReadStep::End(end));
        }
        match &mut shared.writer.transport {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Shared {
    /// The end of a channel that was closed or replaced while entries may still wait.
    fn channel_end(&self, channel: u32) -> Option<End> {
        if self.writer.channel == channel { self.writer.close } else { Some(REPLACED) }
    }

    /// Takes the rest of the frame that the channel has written in part.
    fn take_partial_frame(&mut self, channel: u32) -> BytesMut {
        match &mut self.previous {
            _ if self.writer.channel == channel => std::mem::take(&mut self.writer.partial_frame),
            Some(previous) if previous.channel == channel => std::mem::take(&mut previous.partial_frame),
            _ => BytesMut::new(),
        }
    }

    fn write_next(&mut self, out: &mut BytesMut) -> bool {
        let before = out.len();
        if !self.writer.partial_frame.is_empty() {
            out.unsplit(std::mem::take(&mut self.writer.partial_frame));
        }
        // Taking the queue frees its memory.
        for control in std::mem::take(&mut self.writer.control) {
            out.extend_from_slice(&control);
        }
        if let Some(framer) = &self.writer.framer {
            self.queue.take(&**framer, WRITE_BUDGET, out);
        }
        self.reported_congestion &= !self.queue.is_idle();
        self.wake_capacity_waiters();
        out.len() > before
    }

    /// Appends the next bytes to `out` if this is the socket's thread and the socket is not full. Returns the socket,
    /// and whether more entries wait.
    fn write_directly(&mut self, out: &mut BytesMut) -> Option<(Arc<dyn Sink>, bool)> {
        let direct = self.writer.direct.as_ref().filter(|direct| !direct.is_full)?;
        if direct.thread != thread::current().id() || self.writer.close.is_some() {
            return None;
        }
        let sink = Arc::clone(&direct.sink);
        let has_any = self.write_next(out);
        has_any.then(|| (sink, !self.queue.is_idle()))
    }
}

impl Outbox {
    /// Writes the waiting entries directly if this thread may do so, and otherwise wakes the transport.
    pub(super) fn flush(&self, out: &mut BytesMut) {
        let mut shared = self.lock();
        shared.is_batched = false;
        let Some((sink, has_more)) = shared.write_directly(out) else {
            return wake_transport(shared);
        };
        let channel = shared.writer.channel;
        // Order: only the transport's own thread gets here, so nothing else writes to the socket meanwhile.
        drop(shared);
        let written = sink.try_write(out).unwrap_or(0);
        if has_more || written < out.len() {
            self.leave_to_transport(channel, &out[written..]);
        }
        out.clear();
    }

    /// Removes the outbox from its batch without writing, and wakes its transport.
    pub(super) fn leave_batch(&self) {
        let mut shared = self.lock();
        shared.is_batched = false;
        wake_transport(shared);
    }

    /// Leaves the rest of a partly written frame to the transport, which finds out whether the socket is full or
    /// broken. Another thread may have replaced the channel meanwhile.
    fn leave_to_transport(&self, channel: u32, rest: &[u8]) {
        let mut shared = self.lock();
        if let Some(previous) = shared.previous.as_mut().filter(|previous| previous.channel == channel) {
            return previous.partial_frame.extend_from_slice(rest);
        }
        let writer = &mut shared.writer;
        if writer.channel != channel {
            return;
        }
        writer.partial_frame.extend_from_slice(rest);
        if let Some(direct) = &mut writer.direct {
            direct.is_full = !rest.is_empty();
        }
        wake_transport(shared);
    }
}

impl Drop for OutboxReader {
    fn drop(&mut self) {
        let mut shared = self.outbox.lock();
        if shared.writer.channel == self.channel {
            shared.writer = ChannelWriter::new(self.channel, None);
            shared.reported_congestion = false;
            shared.queue.detach();
            shared.wake_capacity_waiters();
        }
        drop(shared);
        self.outbox.emit(OutboxEvent::Detached(self.channel));
    }
}

impl std::fmt::Debug for OutboxReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxReader")
            .field("channel", &self.channel)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// A handle with which the reading half of a transport controls the writing half.
#[derive(Clone, Debug)]
pub struct ChannelControl {
    outbox: Arc<Outbox>,
    channel: u32,
}

impl ChannelControl {
    /// Queues a control frame of the transport's protocol, such as a pong, in front of all entries. The queue holds 16
    /// frames that were not written yet. A further frame replaces the oldest.
    pub fn queue_control_frame(&self, frame: Box<[u8]>) {
        self.change(|writer| {
            if writer.control.len() >= MAX_CONTROL_FRAMES {
                writer.control.pop_front();
            }
            writer.control.push_back(frame);
        });
    }

    /// Ends the channel with `end`, without sending the waiting entries, because the client has closed it. The owner is
    /// notified with [`OutboxEvent::ChannelClosed`].
    pub fn close(&self, end: End) {
        self.change(|writer| writer.close(end));
        self.outbox.emit(OutboxEvent::ChannelClosed(self.channel));
    }

    /// As [`ChannelControl::close`], because the socket of the client is gone. The client may return. The owner is notified
    /// with [`OutboxEvent::ChannelLost`].
    pub fn lose(&self, end: End) {
        self.change(|writer| writer.close(end));
        self.outbox.emit(OutboxEvent::ChannelLost(self.channel));
    }

    fn change(&self, change: impl FnOnce(&mut ChannelWriter)) {
        let mut shared = self.outbox.lock();
        if shared.writer.channel != self.channel {
            return;
        }
        change(&mut shared.writer);
        wake_transport(shared);
    }
}
