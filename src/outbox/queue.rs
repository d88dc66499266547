//! The data structure of an outbox: waiting entries, sent entries kept for replay, and the limits of both. It uses
//! neither threads nor wakers nor time.
//!
//! ```text
//!   first                sent                        tail
//!     | kept for replay  | waits for the transport    |
//!     +------------------+----------------------------+
//! ```
//!
//! Every entry has a sequence number, `first + index`. A client's cursor is the sequence number of the first entry that
//! it has not received. The kept entries are the replay *window*; without a window `first == sent`. While a client is
//! disconnected, waiting entries beyond the limits count as sent; they are replayed if the client reconnects before the
//! window drops them.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{
    Backlog, ChannelFilter, End, FrameFields, Framer, Limits, Push, ReplayLimits, Resume,
    entry::{Payload, QueueEntry},
};
use crate::message::WireForm;

mod acks;
mod bounds;
mod deferred;
mod filtering;

use acks::Acks;
use bounds::Replay;
use deferred::DeferredMessage;

/// An empty queue with a larger capacity frees its memory, so that a burst does not occupy it forever.
const MAX_IDLE_CAPACITY: usize = 64;

/// The entries of one frame.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    count: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Finishing(End),
}

#[derive(Debug)]
pub(super) struct Queue {
    form: &'static WireForm,
    limits: Limits,
    window: ReplayLimits,
    entries: VecDeque<QueueEntry>,
    first: u64,
    sent: u64,
    waiting_bytes: usize,
    kept_bytes: usize,
    peak_bytes: usize,
    taken: u64,
    dropped: u64,
    replay: Replay,
    /// Set if the client acknowledges messages. Boxed, because few clients do.
    acks: Option<Box<Acks>>,
    fields: FrameFields,
    deferred: DeferredMessage,
    /// Absent if the channel receives all messages, as most channels do.
    filter: Option<Box<ChannelFilter>>,
    state: State,
    attached: bool,
}

impl Queue {
    pub(super) fn new(form: &'static WireForm, limits: Limits, window: ReplayLimits) -> Self {
        Self {
            form,
            limits,
            window,
            entries: VecDeque::new(),
            first: 0,
            sent: 0,
            waiting_bytes: 0,
            kept_bytes: 0,
            peak_bytes: 0,
            taken: 0,
            dropped: 0,
            replay: Replay::default(),
            acks: None,
            fields: FrameFields::default(),
            deferred: DeferredMessage::default(),
            filter: None,
            state: State::Open,
            attached: false,
        }
    }

    pub(super) fn push(&mut self, entry: QueueEntry) -> Push {
        if self.state != State::Open {
            return Push::Closed;
        }
        self.waiting_bytes += entry.len(self.form);
        self.make_slot();
        self.entries.push_back(entry);
        self.peak_bytes = self.peak_bytes.max(self.waiting_bytes);
        if self.attached || !self.keeps_history() { self.enforce_limits() } else { self.enforce_disconnected_limits() }
    }

    /// Drops the oldest kept entry when the window is full, so that the new entry takes its memory slot. A broadcast
    /// then touches one slot of every window instead of two.
    fn make_slot(&mut self) {
        let (length, capacity) = (self.entries.len(), self.window_capacity());
        if self.keeps_until_acknowledged() {
            return;
        }
        if length >= capacity && self.offset() > self.window.items {
            self.drop_oldest_kept();
        } else if length == self.entries.capacity() && (capacity / 2..capacity).contains(&length) {
            self.entries.reserve_exact(capacity - length);
        }
    }

    /// The maximum number of kept entries. The slack over the limit allows [`Queue::make_slot`] to drop old entries
    /// before the new ones of the next broadcasts are pushed.
    fn window_capacity(&self) -> usize {
        self.window.items + self.window.items / 16
    }

    fn waiting(&self) -> usize {
        self.entries.len() - self.offset()
    }

    fn offset(&self) -> usize {
        usize::try_from(self.sent - self.first).expect("the number of entries in memory fits usize")
    }

    pub(super) fn tail(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn front(&self) -> Option<&QueueEntry> {
        self.entries.get(self.offset())
    }

    /// Marks the oldest waiting entry as sent, which keeps it for replay. False when nothing waits.
    fn mark_front_sent(&mut self) -> bool {
        let Some(length) = self.front().map(|entry| entry.len(self.form)) else { return false };
        self.replay.record_sent(self.sent, length);
        self.waiting_bytes -= length;
        self.kept_bytes += length;
        self.sent += 1;
        true
    }

    /// Removes the oldest kept entry.
    fn drop_oldest_kept(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.kept_bytes -= entry.len(self.form);
            self.first += 1;
        }
    }

    fn trim_kept(&mut self) {
        if self.keeps_until_acknowledged() {
            return self.trim_uncounted();
        }
        if !self.keeps_history() {
            self.entries.drain(..self.offset());
            (self.first, self.kept_bytes) = (self.sent, 0);
        }
        while self.first < self.sent && (self.offset() > self.window_capacity() || self.kept_bytes > self.window.bytes)
        {
            self.drop_oldest_kept();
        }
        if self.entries.is_empty() && self.entries.capacity() > MAX_IDLE_CAPACITY {
            self.entries = VecDeque::new();
        }
    }

    /// True when the transport must write something or end.
    pub(super) fn has_output(&self) -> bool {
        !self.fields.is_empty() || self.waiting() > 0 || self.state != State::Open
    }

    /// True when nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting() == 0
    }

    /// True when sent entries are kept for replay.
    pub(super) fn keeps_history(&self) -> bool {
        self.window.items > 0
    }

    /// Appends the next frame, of about `budget` bytes, to `out`. False when there is nothing to write.
    pub(super) fn take(&mut self, framer: &dyn Framer, budget: usize, out: &mut BytesMut) -> bool {
        match self.front().map(QueueEntry::payload) {
            Some(Some(Payload::RawFrame(frame))) => {
                framer.write_raw(frame, out);
                self.consume_raw_frame();
                true
            }
            None if self.fields.is_empty() => false,
            _ => {
                let run = self.next_run(budget);
                let deferred = self.write_run(framer, run.count, out);
                match self.keeps_until_acknowledged() {
                    true => {
                        let kept_bytes = self.keep_written(self.offset(), run.count, deferred);
                        self.mark_sent(run, kept_bytes);
                    }
                    false => self.mark_sent(run, run.bytes),
                }
                true
            }
        }
    }

    /// The waiting entries that fit into one frame of about `budget` bytes: at least one entry, if any waits.
    fn next_run(&self, budget: usize) -> Run {
        let mut run = Run::default();
        for entry in self.entries.range(self.offset()..) {
            if run.bytes >= budget || entry.is_raw_frame() {
                break;
            }
            run.count += 1;
            run.bytes += entry.len(self.form);
        }
        run
    }

    /// Returns the deferred message, if it was written.
    fn write_run(&mut self, framer: &dyn Framer, count: usize, out: &mut BytesMut) -> Option<Box<[u8]>> {
        let fields = std::mem::take(&mut self.fields);
        let from = self.offset();
        let (filter, form) = (self.filter.as_deref(), self.form);
        let entries = self.entries.range(from..from + count);
        let deferred = self.deferred.encode(entries.clone());
        let mut elements = entries.filter_map(|entry| match entry.payload()? {
            Payload::Shared(message) => {
                filter.is_none_or(|filter| filter.passes(message)).then(|| &message.encoded(form)[..])
            }
            Payload::Private(bytes) | Payload::Control(bytes) => Some(&bytes[..]),
            Payload::Deferred => deferred.as_deref(),
            Payload::RawFrame(_) => None,
        });
        framer.frame(&fields, &mut elements, self.sent + count as u64, out);
        deferred
    }

    /// Marks a raw frame as sent and drops its content, because a raw frame is never replayed to another channel.
    fn consume_raw_frame(&mut self) {
        let at = self.offset();
        if let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.is_raw_frame()) {
            self.waiting_bytes -= entry.len(self.form);
            *entry = QueueEntry::EMPTY;
        }
        self.mark_sent(Run { count: 1, bytes: 0 }, 0);
    }

    /// `kept_bytes` are the bytes of these entries that are kept.
    fn mark_sent(&mut self, run: Run, kept_bytes: usize) {
        if self.replay.bytes > 0 {
            for _ in 0..run.count {
                self.mark_front_sent();
            }
        } else {
            self.sent += run.count as u64;
            self.waiting_bytes -= run.bytes;
            self.kept_bytes += kept_bytes;
        }
        self.taken += run.count as u64;
        self.trim_kept();
    }

    /// Starts a channel. Returns whether its client has missed entries that are no longer kept.
    pub(super) fn attach(&mut self, resume: Resume, filter: ChannelFilter) -> bool {
        self.attached = true;
        self.set_filter(filter);
        self.fields = FrameFields::default();
        let keeps_history = self.keeps_history();
        if keeps_history {
            // Entries that waited for a replaced channel were checked only against the limits, which exclude its
            // replay.
            self.enforce_disconnected_limits();
        }
        let wanted = match resume {
            Resume::Waiting => self.sent,
            Resume::From(cursor) => cursor,
            Resume::Unacknowledged => self.rewind_to_unacknowledged(),
            Resume::Tail => self.tail(),
        };
        self.sent = wanted.clamp(self.first, self.tail());
        self.clear_raw_frames();
        self.recount();
        self.replay =
            if keeps_history { Replay { until: self.tail(), bytes: self.waiting_bytes } } else { Replay::default() };
        wanted != self.sent
    }

    fn clear_raw_frames(&mut self) {
        for entry in &mut self.entries {
            if entry.is_raw_frame() {
                *entry = QueueEntry::EMPTY;
            }
        }
    }

    fn recount(&mut self) {
        let at = self.offset();
        let sum = |items: &mut dyn Iterator<Item = &QueueEntry>| items.map(|entry| entry.len(self.form)).sum();
        let (kept, waiting) = (sum(&mut self.entries.range(..at)), sum(&mut self.entries.range(at..)));
        (self.kept_bytes, self.waiting_bytes) = (kept, waiting);
    }

    pub(super) fn detach(&mut self) {
        self.attached = false;
        if self.keeps_history() {
            self.enforce_disconnected_limits();
        }
    }

    /// Accepts no more entries; the channel ends after the waiting entries.
    pub(super) fn finish(&mut self, end: End) {
        if self.state == State::Open {
            self.state = State::Finishing(end);
        }
    }

    /// Accepts no more entries, discards all entries and ends the channel.
    pub(super) fn discard_and_close(&mut self, end: End) {
        self.finish(end);
        (self.first, self.sent) = (self.tail(), self.tail());
        self.entries = VecDeque::new();
        (self.waiting_bytes, self.kept_bytes, self.fields) = (0, 0, FrameFields::default());
        (self.replay, self.deferred, self.acks) = (Replay::default(), DeferredMessage::default(), None);
    }

    /// The end of the channel, once every waiting entry is written.
    pub(super) fn end(&self) -> Option<End> {
        match self.state {
            State::Finishing(end) if self.waiting() == 0 => Some(end),
            State::Open | State::Finishing(_) => None,
        }
    }

    /// True while a channel is attached.
    pub(super) fn is_attached(&self) -> bool {
        self.attached
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn fields_mut(&mut self) -> &mut FrameFields {
        &mut self.fields
    }

    pub(super) fn form(&self) -> &'static WireForm {
        self.form
    }

    /// Changes the encoding of messages. Replayed entries count as new ones from here on.
    pub(super) fn set_form(&mut self, form: &'static WireForm) {
        self.form = form;
        self.recount();
        self.replay = Replay::default();
    }

    pub(super) fn cursor(&self) -> u64 {
        self.sent
    }

    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            items: self.waiting(),
            bytes: self.waiting_bytes,
            peak_bytes: self.peak_bytes,
            taken: self.taken,
            dropped: self.dropped,
            kept: self.offset(),
        }
    }
}

#[cfg(test)]
mod tests;
