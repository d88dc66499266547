//! The pure half of an outbox: what waits, what is kept for a client that returns, and what happens at
//! the limits. It knows neither threads nor wakers nor time.
//!
//! ```text
//!   first                sent                        tail
//!     | kept for replay  | waits for the transport    |
//!     +------------------+----------------------------+
//! ```
//!
//! Every item has a sequence number, `first + index`; a client's cursor is the number of the next item it
//! has not seen. Without a window nothing is kept and `first == sent`. While a client is away, what is too much to wait
//! for it counts as sent, and is replayed if it returns in time.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{
    Backlog, ChannelFilter, End, FrameFields, Framer, Limits, Push, ReplayLimits, Resume,
    entry::{Payload, QueueEntry},
};
use crate::message::{Message, WireForm};

mod bounds;

use bounds::Replay;

/// A queue that grew beyond this gives its memory back once it is empty: a burst is not kept for ever.
const KEPT_CAPACITY: usize = 64;

/// Items that go out in one frame.
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
    items: VecDeque<QueueEntry>,
    first: u64,
    sent: u64,
    waiting_bytes: usize,
    kept_bytes: usize,
    peak_bytes: usize,
    taken: u64,
    dropped: u64,
    replay: Replay,
    fields: FrameFields,
    view: ChannelFilter,
    state: State,
    attached: bool,
}

impl Queue {
    pub(super) fn new(form: &'static WireForm, limits: Limits, window: ReplayLimits) -> Self {
        Self {
            form,
            limits,
            window,
            items: VecDeque::new(),
            first: 0,
            sent: 0,
            waiting_bytes: 0,
            kept_bytes: 0,
            peak_bytes: 0,
            taken: 0,
            dropped: 0,
            replay: Replay::default(),
            fields: FrameFields::default(),
            view: ChannelFilter::default(),
            state: State::Open,
            attached: false,
        }
    }

    /// True if the present channel, or else the last one, could hear a message.
    pub(super) fn listens_to(&self, message: &Message) -> bool {
        self.view.listens_to(message)
    }

    pub(super) fn push(&mut self, item: QueueEntry) -> Push {
        if self.state != State::Open {
            return Push::Closed;
        }
        self.waiting_bytes += item.len(self.form);
        self.clear_a_place();
        self.items.push_back(item);
        self.peak_bytes = self.peak_bytes.max(self.waiting_bytes);
        if self.attached || !self.keeps() { self.hold_to_limits() } else { self.hold_for_return() }
    }

    /// Once all places are taken, what comes takes that of the oldest which is kept: with each broadcast one place of every
    /// window is touched, and not two.
    fn clear_a_place(&mut self) {
        let (taken, places) = (self.items.len(), self.places());
        if taken >= places && self.offset() > self.window.items {
            self.forget_front();
        } else if taken == self.items.capacity() && (places / 2..places).contains(&taken) {
            self.items.reserve_exact(places - taken);
        }
    }

    /// How many items may be kept, so that as many as a broadcast or two brings can be forgotten before they come.
    fn places(&self) -> usize {
        self.window.items + self.window.items / 16
    }

    fn waiting(&self) -> usize {
        self.items.len() - self.offset()
    }

    fn offset(&self) -> usize {
        usize::try_from(self.sent - self.first).expect("what is kept is counted in memory")
    }

    pub(super) fn tail(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    fn front(&self) -> Option<&QueueEntry> {
        self.items.get(self.offset())
    }

    /// Moves the oldest waiting item to what is kept. False when nothing waits.
    fn pass_over_front(&mut self) -> bool {
        let Some(length) = self.front().map(|item| item.len(self.form)) else { return false };
        self.replay.pass(self.sent, length);
        self.waiting_bytes -= length;
        self.kept_bytes += length;
        self.sent += 1;
        true
    }

    /// Removes the oldest of what is kept.
    fn forget_front(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.kept_bytes -= item.len(self.form);
            self.first += 1;
        }
    }

    fn trim(&mut self) {
        if !self.keeps() {
            self.items.drain(..self.offset());
            (self.first, self.kept_bytes) = (self.sent, 0);
        }
        while self.first < self.sent && (self.offset() > self.places() || self.kept_bytes > self.window.bytes) {
            self.forget_front();
        }
        if self.items.is_empty() && self.items.capacity() > KEPT_CAPACITY {
            self.items = VecDeque::new();
        }
    }

    /// True when the transport has something to write, or has to end.
    pub(super) fn is_due(&self) -> bool {
        !self.fields.is_empty() || self.waiting() > 0 || self.state != State::Open
    }

    /// True when nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting() == 0
    }

    /// True when items are kept for a client that returns.
    pub(super) fn keeps(&self) -> bool {
        self.window.items > 0
    }

    /// Writes the next frames, about `budget` bytes of them, and answers whether there was anything.
    pub(super) fn take(&mut self, framer: &dyn Framer, budget: usize, out: &mut BytesMut) -> bool {
        match self.front().map(QueueEntry::piece) {
            Some(Some(Payload::Frame(frame))) => {
                framer.whole(frame, out);
                self.give_frame_away();
                true
            }
            None if self.fields.is_empty() => false,
            _ => {
                let run = self.run(budget);
                self.write_run(framer, run.count, out);
                self.give_away(run);
                true
            }
        }
    }

    /// What fits one frame of about `budget` bytes from the front: at least one item, if one waits.
    fn run(&self, budget: usize) -> Run {
        let mut run = Run::default();
        for item in self.items.range(self.offset()..) {
            if run.bytes >= budget || item.is_frame() {
                break;
            }
            run.count += 1;
            run.bytes += item.len(self.form);
        }
        run
    }

    fn write_run(&mut self, framer: &dyn Framer, count: usize, out: &mut BytesMut) {
        let fields = std::mem::take(&mut self.fields);
        let from = self.offset();
        let (view, form) = (&self.view, self.form);
        let mut elements = self.items.range(from..from + count).filter_map(|item| match item.piece()? {
            Payload::Shared(message) => view.shows(message).then(|| &message.encoded(form)[..]),
            Payload::Own(bytes) => Some(&bytes[..]),
            Payload::Frame(_) => None,
        });
        framer.frame(&fields, &mut elements, self.sent + count as u64, out);
    }

    /// A frame belongs to the channel it was made for and is not kept for another.
    fn give_frame_away(&mut self) {
        let at = self.offset();
        if let Some(item) = self.items.get_mut(at).filter(|item| item.is_frame()) {
            self.waiting_bytes -= item.len(self.form);
            *item = QueueEntry::NOTHING;
        }
        self.give_away(Run { count: 1, bytes: 0 });
    }

    fn give_away(&mut self, run: Run) {
        if self.replay.bytes > 0 {
            for _ in 0..run.count {
                self.pass_over_front();
            }
        } else {
            self.sent += run.count as u64;
            self.waiting_bytes -= run.bytes;
            self.kept_bytes += run.bytes;
        }
        self.taken += run.count as u64;
        self.trim();
    }

    /// Begins a channel. Answers whether its client has missed something that is no longer here.
    pub(super) fn attach(&mut self, resume: Resume, view: ChannelFilter) -> bool {
        self.attached = true;
        self.view = view;
        self.fields = FrameFields::default();
        let keeps = self.keeps();
        if keeps {
            // What waited for a channel that is replaced has been held to the limits alone, besides its replay.
            self.hold_for_return();
        }
        let wanted = match resume {
            Resume::Waiting => self.sent,
            Resume::From(cursor) => cursor,
            Resume::Tail => self.tail(),
        };
        self.sent = wanted.clamp(self.first, self.tail());
        self.forget_frames();
        self.recount();
        self.replay = if keeps { Replay { until: self.tail(), bytes: self.waiting_bytes } } else { Replay::default() };
        wanted != self.sent
    }

    fn forget_frames(&mut self) {
        for item in &mut self.items {
            if item.is_frame() {
                *item = QueueEntry::NOTHING;
            }
        }
    }

    fn recount(&mut self) {
        let at = self.offset();
        let sum = |items: &mut dyn Iterator<Item = &QueueEntry>| items.map(|item| item.len(self.form)).sum();
        let (kept, waiting) = (sum(&mut self.items.range(..at)), sum(&mut self.items.range(at..)));
        (self.kept_bytes, self.waiting_bytes) = (kept, waiting);
    }

    pub(super) fn detach(&mut self) {
        self.attached = false;
        if self.keeps() {
            self.hold_for_return();
        }
    }

    /// Nothing more is taken in; what waits is still delivered, then the stream ends.
    pub(super) fn finish(&mut self, end: End) {
        if self.state == State::Open {
            self.state = State::Finishing(end);
        }
    }

    /// Everything that waits is forgotten and the stream ends.
    pub(super) fn abandon(&mut self, end: End) {
        self.finish(end);
        (self.first, self.sent) = (self.tail(), self.tail());
        self.items = VecDeque::new();
        (self.waiting_bytes, self.kept_bytes, self.fields) = (0, 0, FrameFields::default());
        self.replay = Replay::default();
    }

    /// How the stream ends, once everything is written.
    pub(super) fn end(&self) -> Option<End> {
        match self.state {
            State::Finishing(end) if self.waiting() == 0 => Some(end),
            State::Open | State::Finishing(_) => None,
        }
    }

    /// True while there is a channel.
    pub(super) fn is_attached(&self) -> bool {
        self.attached
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn fields_mut(&mut self) -> &mut FrameFields {
        &mut self.fields
    }

    pub(super) fn view_mut(&mut self) -> &mut ChannelFilter {
        &mut self.view
    }

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
