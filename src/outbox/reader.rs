//! The reading end of an outbox: how one transport drains it.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
};

use bytes::BytesMut;

use super::{End, FrameFields, Framer, Outbox, OutboxEvent, Shared, wake_transport};

/// About what one write takes out at most: enough to make system calls cheap, and little enough that
/// what a stalled client has not read is still counted here rather than in the server's own buffers.
const WRITE_BUDGET: usize = 32 * 1024;

/// How a transport ends that a newer one of the same connection has replaced.
const REPLACED: End = End { code: 1000 };

/// The outbox's end of the channel that is served now.
#[derive(Default)]
pub(super) struct ChannelWriter {
    /// Counts the transports that were attached; only the newest is served.
    pub(super) channel: u32,
    /// Whom to wake when there is something to write.
    pub(super) transport: Option<Waker>,
    /// What goes before everything else, byte for byte: what is left of a frame that was begun, then an
    /// answer of the transport's own protocol.
    pub(super) begun: BytesMut,
    control: Option<Box<[u8]>>,
    hung_up: Option<End>,
    direct: Option<Direct>,
    /// How often a full socket has taken a part of what was written.
    pub(super) writes: u64,
}

impl ChannelWriter {
    pub(super) fn new(channel: u32) -> Self {
        Self { channel, ..Self::default() }
    }

    pub(super) fn hang_up(&mut self, end: End) {
        self.hung_up = self.hung_up.or(Some(end));
    }
}

/// What is left of a channel when a newer one replaces it.
pub(super) struct PreviousChannel {
    pub(super) channel: u32,
    pub(super) rest: Unsent,
    /// The rest of a frame that was begun; the channel's end must not come in the middle of it.
    pub(super) begun: BytesMut,
}

/// A socket that may be written to without its transport being woken, on the thread that it lives on.
struct Direct {
    sink: Arc<dyn Sink>,
    framer: Arc<dyn Framer>,
    home: ThreadId,
    /// The socket is full; its transport waits until it is not.
    is_blocked: bool,
}

/// Where bytes can be written without waiting.
pub trait Sink: Send + Sync {
    /// Writes some of `bytes` and answers how many.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`], if none can be written now.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// The reading end of an outbox, held by one transport. Dropping it tells the owner that the transport
/// has gone.
pub struct OutboxReader {
    pub(super) outbox: Arc<Outbox>,
    pub(super) channel: u32,
    pub(super) framer: Arc<dyn Framer>,
    pub(super) ended: bool,
}

/// What is left of a channel that ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Where a client continues that has seen everything handed to the channel's transport.
    pub cursor: u64,
    /// What was to be said besides, and was not.
    pub fields: FrameFields,
}

/// What a transport has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// Write what was appended.
    Write,
    /// End the stream; there is nothing more.
    End(End),
}

impl OutboxReader {
    /// Which of the connection's channels this is, counted from 1.
    #[must_use]
    pub fn channel(&self) -> u32 {
        self.channel
    }

    /// What is left of a channel that has ended.
    #[must_use]
    pub fn rest(&self) -> Unsent {
        let mut shared = self.outbox.lock();
        match shared.replaced.take() {
            Some(replaced) if replaced.channel == self.channel => replaced.rest,
            other => {
                shared.replaced = other;
                Unsent { cursor: shared.queue.cursor(), fields: FrameFields::default() }
            }
        }
    }

    /// What the transport's other half can do to this one.
    #[must_use]
    pub fn control(&self) -> ChannelControl {
        ChannelControl { outbox: Arc::clone(&self.outbox), channel: self.channel }
    }

    /// Lets whoever pushes on the calling thread write to `sink` at once, as long as it takes everything.
    pub fn lend(&self, sink: Arc<dyn Sink>) {
        let direct = Direct { sink, framer: Arc::clone(&self.framer), home: thread::current().id(), is_blocked: false };
        self.with_line(|line| line.direct = Some(direct));
    }

    /// Tells that the socket is full, or no longer.
    pub fn set_blocked(&self, is_blocked: bool) {
        self.with_line(|line| {
            line.writes += 1;
            if let Some(direct) = &mut line.direct {
                direct.is_blocked = is_blocked;
            }
        });
    }

    fn with_line(&self, change: impl FnOnce(&mut ChannelWriter)) {
        let mut shared = self.outbox.lock();
        if shared.line.channel == self.channel {
            change(&mut shared.line);
        }
    }

    /// Appends what waits to `out`, about 32 KiB at a time, or says that the stream ends. [`ReadStep::End`] is
    /// said once; afterwards the feed stays silent.
    pub fn poll(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Poll<ReadStep> {
        if self.ended {
            return Poll::Pending;
        }
        let mut shared = self.outbox.lock();
        if let Some(end) = shared.end_of(self.channel) {
            let begun = shared.begun_of(self.channel);
            if !begun.is_empty() {
                out.unsplit(begun);
                return Poll::Ready(ReadStep::Write);
            }
            self.ended = true;
            return Poll::Ready(ReadStep::End(end));
        }
        if shared.write_next(&*self.framer, out) {
            return Poll::Ready(ReadStep::Write);
        }
        if let Some(end) = shared.queue.end() {
            self.ended = true;
            return Poll::Ready(ReadStep::End(end));
        }
        match &mut shared.line.transport {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Shared {
    /// How a channel ends with things left unsaid.
    fn end_of(&self, channel: u32) -> Option<End> {
        if self.line.channel == channel { self.line.hung_up } else { Some(REPLACED) }
    }

    /// Takes the rest of the frame that a channel has begun.
    fn begun_of(&mut self, channel: u32) -> BytesMut {
        match &mut self.replaced {
            _ if self.line.channel == channel => std::mem::take(&mut self.line.begun),
            Some(replaced) if replaced.channel == channel => std::mem::take(&mut replaced.begun),
            _ => BytesMut::new(),
        }
    }

    fn write_next(&mut self, framer: &dyn Framer, out: &mut BytesMut) -> bool {
        let before = out.len();
        if !self.line.begun.is_empty() {
            out.unsplit(std::mem::take(&mut self.line.begun));
        }
        if let Some(control) = self.line.control.take() {
            out.extend_from_slice(&control);
        }
        self.queue.take(framer, WRITE_BUDGET, out);
        self.told_congested &= !self.queue.is_idle();
        self.tell_of_room();
        out.len() > before
    }

    /// What can be written at once, if this is the thread and the socket is not full; where to, and whether
    /// more waits behind it.
    fn write_directly(&mut self, out: &mut BytesMut) -> Option<(Arc<dyn Sink>, bool)> {
        let direct = self.line.direct.as_ref().filter(|direct| !direct.is_blocked)?;
        if direct.home != thread::current().id() || self.line.hung_up.is_some() {
            return None;
        }
        let (sink, framer) = (Arc::clone(&direct.sink), Arc::clone(&direct.framer));
        let has_any = self.write_next(&*framer, out);
        has_any.then(|| (sink, !self.queue.is_idle()))
    }
}

impl Outbox {
    /// Has what waits written: at once if this thread may, and else by the transport.
    pub(super) fn flush(&self, out: &mut BytesMut) {
        let mut shared = self.lock();
        shared.is_in_wave = false;
        let Some((sink, has_more)) = shared.write_directly(out) else {
            return wake_transport(shared);
        };
        let channel = shared.line.channel;
        // Order: only the transport's own thread comes here, so that nobody else writes meanwhile.
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
        shared.is_in_wave = false;
        wake_transport(shared);
    }

    /// Leaves the rest of what was begun to the transport, which finds out whether the socket is full or
    /// broken. Another thread may have replaced the channel meanwhile.
    fn leave_to_transport(&self, channel: u32, rest: &[u8]) {
        let mut shared = self.lock();
        if let Some(replaced) = shared.replaced.as_mut().filter(|replaced| replaced.channel == channel) {
            return replaced.begun.extend_from_slice(rest);
        }
        let line = &mut shared.line;
        if line.channel != channel {
            return;
        }
        line.begun.extend_from_slice(rest);
        if let Some(direct) = &mut line.direct {
            direct.is_blocked = !rest.is_empty();
        }
        wake_transport(shared);
    }
}

impl Drop for OutboxReader {
    fn drop(&mut self) {
        let mut shared = self.outbox.lock();
        if shared.line.channel == self.channel {
            shared.line = ChannelWriter::new(self.channel);
            shared.told_congested = false;
            shared.queue.detach();
            shared.tell_of_room();
        }
        drop(shared);
        self.outbox.tell(OutboxEvent::Detached(self.channel));
    }
}

impl std::fmt::Debug for OutboxReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("channel", &self.channel).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What the half of a transport that reads can do to the half that writes.
#[derive(Clone, Debug)]
pub struct ChannelControl {
    outbox: Arc<Outbox>,
    channel: u32,
}

impl ChannelControl {
    /// Has something of the transport's own protocol written before everything else; it replaces what has
    /// not been written yet, so that a client gets at most one answer for each time that it reads.
    pub fn say(&self, frame: Box<[u8]>) {
        self.change(|line| line.control = Some(frame));
    }

    /// The client has gone, or is about to: the stream ends with `end`, whatever waits.
    pub fn hang_up(&self, end: End) {
        self.change(|line| line.hang_up(end));
        self.outbox.tell(OutboxEvent::HungUp(self.channel));
    }

    fn change(&self, change: impl FnOnce(&mut ChannelWriter)) {
        let mut shared = self.outbox.lock();
        if shared.line.channel != self.channel {
            return;
        }
        change(&mut shared.line);
        wake_transport(shared);
    }
}
