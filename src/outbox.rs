//! The bounded queue of messages between the senders and the transport of one connection.
//!
//! The outbox enforces the limits that keep a slow client from hurting others, holds the replay window for a client
//! that reconnects, and reports how far behind the client is. It is unrelated to the *transactional outbox* pattern.
//!
//! Every connection owns one outbox for its whole life. Transports are attached and replaced ([`Outbox::attach`]); each
//! attachment is a *channel*. Groups and hubs push from any thread. An [`OutboxReader`] drains all waiting entries into
//! one write. The connection receives [`OutboxEvents`].
//!
//! Pushing never waits. The module imports no transport and no dialect: a [`Framer`] encodes for them.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use crate::{
    ids::GroupKey,
    message::{Message, WireForm},
};

mod acknowledged;
mod entry;
mod events;
mod filter;
mod flush_batch;
mod framer;
mod limits;
mod queue;
mod reader;
mod shared;

use entry::QueueEntry;
pub use entry::SharedMessage;
pub(crate) use events::{OutboxEvent, OutboxEvents};
pub use filter::{ChannelFilter, Resume};
pub(crate) use flush_batch::FlushBatch;
pub use flush_batch::FlushScheduler;
pub use framer::{DeferredField, End, FrameFields, Framer};
pub(crate) use limits::Backlog;
pub use limits::{Limits, Overflow, Progress, Push, ReplayLimits};
use queue::Queue;
pub(crate) use reader::ChannelControl;
use reader::{ChannelWriter, PreviousChannel};
pub use reader::{OutboxReader, ReadStep, Sink, Unsent};
use shared::{Shared, push_and_wake, wake_transport};

/// See the module's documentation.
#[derive(Debug)]
pub struct Outbox {
    shared: Mutex<Shared>,
}

impl Outbox {
    /// Creates an empty outbox that encodes invocations in `form`.
    #[must_use]
    pub fn new(form: &'static WireForm, limits: Limits, window: ReplayLimits) -> Arc<Self> {
        Arc::new(Self { shared: Mutex::new(Shared::new(Queue::new(form, limits, window))) })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic under the lock loses at most one entry, so the queue is still usable.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message that other clients receive too.
    pub fn push(&self, message: &SharedMessage) -> Push {
        self.push_entry(QueueEntry::shared(message))
    }

    /// Queues a broadcast message and adds this outbox to `batch`, which flushes it when the batch is scheduled.
    pub fn push_batched(self: &Arc<Self>, message: &SharedMessage, batch: &mut FlushBatch) -> Push {
        let mut shared = self.lock();
        let push = shared.enqueue(QueueEntry::shared(message));
        if push == Push::Filtered {
            return push;
        }
        let owner = shared.after_push(push);
        if !std::mem::replace(&mut shared.is_batched, true) {
            batch.add(Arc::clone(self));
        }
        drop(shared);
        owner.into_iter().for_each(Waker::wake);
        push
    }

    /// Queues bytes for this client only. They are ordered among the messages and replayed like them.
    pub fn push_private(&self, bytes: impl Into<Box<[u8]>>) -> Push {
        self.push_entry(QueueEntry::private(bytes.into()))
    }

    /// Queues an encoded frame for the current channel only. It is dropped when that channel is replaced.
    pub fn push_raw_frame(&self, frame: impl Into<Box<[u8]>>) -> Push {
        self.push_entry(QueueEntry::raw_frame(frame.into()))
    }

    /// Records a message that excludes this client. The message takes a sequence number, so that the cursor advances as
    /// it does for the other recipients. Without a replay window there is no cursor, and this does nothing.
    pub fn skip(&self, message: &Message) -> Push {
        let shared = self.lock();
        match (shared.queue.keeps_history(), shared.queue.accepts(message)) {
            (false, _) => Push::Queued,
            (true, false) => Push::Filtered,
            (true, true) => push_and_wake(shared, QueueEntry::EMPTY),
        }
    }

    fn push_entry(&self, entry: QueueEntry) -> Push {
        push_and_wake(self.lock(), entry)
    }

    /// True if the client answers invocations that have an id.
    pub(crate) fn answers_invocations(&self) -> bool {
        self.lock().queue.form().answers
    }

    /// Changes the encoding of invocations, and the framing of the current channel. Nothing may be queued in the former
    /// encoding.
    pub(crate) fn set_encoding(&self, form: &'static WireForm, framer: Arc<dyn Framer>) {
        let mut shared = self.lock();
        shared.queue.set_form(form);
        shared.writer.framer = Some(framer);
    }

    /// Changes the extra fields of the next frame. A new channel starts with empty fields.
    pub fn update_frame_fields<T>(&self, change: impl FnOnce(&mut FrameFields) -> T) -> T {
        let mut shared = self.lock();
        let result = change(shared.queue.fields_mut());
        shared.wake_transport_if_output();
        result
    }

    /// True while the last groups token of [`Outbox::set_groups_token`] was not sent.
    #[must_use]
    pub fn has_unsent_groups_token(&self) -> bool {
        self.lock().queue.fields_mut().groups_token.is_some()
    }

    /// The sequence number of the next entry.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.lock().queue.tail()
    }

    /// Sends a groups token with the next frame; it replaces a token that was not sent yet. With a replay window the
    /// token takes a sequence number: a client whose cursor is past that number has received the token.
    pub fn set_groups_token(&self, token: Option<DeferredField>) {
        let mut shared = self.lock();
        if token.is_some() && shared.queue.keeps_history() {
            // The result is ignored: an empty entry has no bytes, and a full window drops its oldest entry.
            shared.queue.push(QueueEntry::EMPTY);
        }
        shared.queue.fields_mut().groups_token = token;
        shared.wake_transport_if_output();
    }

    /// Queues a message for this client that is encoded when it is written, or replaces the one that was not written yet.
    /// With `None`, that one is not written.
    pub fn set_deferred(&self, message: Option<DeferredField>) -> Push {
        let mut shared = self.lock();
        let push = shared.queue.set_deferred(message);
        let owner = shared.after_push(push);
        shared.wake_transport_if_output();
        drop(shared);
        owner.into_iter().for_each(Waker::wake);
        push
    }

    /// Ends the current channel at once, without sending the waiting entries. The outbox stays open and keeps them.
    pub fn close_channel(&self, end: End) {
        let mut shared = self.lock();
        shared.writer.close(end);
        wake_transport(shared);
    }

    /// Changes the filter of the current channel.
    pub fn update_filter(&self, change: impl FnOnce(&mut ChannelFilter)) {
        self.lock().queue.update_filter(change);
    }

    /// Attaches a transport as a new channel and ends the previous channel. Returns the reader of the new channel, and
    /// whether the client has missed entries that are no longer kept.
    pub fn attach(
        self: &Arc<Self>,
        resume: Resume,
        filter: ChannelFilter,
        framer: Arc<dyn Framer>,
    ) -> (OutboxReader, bool) {
        let mut shared = self.lock();
        let unsent = Unsent { cursor: shared.queue.cursor(), fields: shared.queue.fields_mut().clone() };
        let gap = shared.queue.attach(resume, filter);
        let channel = shared.writer.channel + 1;
        let older = std::mem::replace(&mut shared.writer, ChannelWriter::new(channel, Some(Arc::clone(&framer))));
        shared.previous = PreviousChannel::of(older.channel, unsent, older.partial_frame);
        shared.wake_capacity_waiters();
        drop(shared);
        older.transport.into_iter().for_each(Waker::wake);
        (OutboxReader { outbox: Arc::clone(self), channel, framer, ended: false }, gap)
    }

    /// Accepts no more entries, and ends the channel once all waiting entries are written.
    pub fn finish(&self, end: End) {
        let mut shared = self.lock();
        shared.queue.finish(end);
        shared.wake_capacity_waiters();
        shared.wake_transport_if_output();
    }

    /// Accepts no more entries, discards the waiting ones and ends the channel at once.
    pub fn discard_and_close(&self, end: End) {
        let mut shared = self.lock();
        shared.queue.discard_and_close(end);
        shared.wake_capacity_waiters();
        shared.wake_transport_if_output();
    }

    /// Waits until `bytes` more fit into half of the [`Limits`], the queue is empty, or the connection has ended.
    /// Senders that target only this client use this as backpressure, so that a large message neither makes the client
    /// too slow nor is lost between two polls.
    pub async fn wait_for_capacity(&self, bytes: usize) {
        poll_fn(|cx| {
            let mut shared = self.lock();
            if shared.queue.has_capacity_for(bytes) {
                return Poll::Ready(());
            }
            if !shared.capacity_waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
                shared.capacity_waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Notifies the owner that a group has crashed.
    pub fn report_group_lost(&self, group: Arc<GroupKey>, generation: u64) {
        self.emit(OutboxEvent::GroupLost { group, generation });
    }

    fn emit(&self, event: OutboxEvent) {
        let mut shared = self.lock();
        shared.events.push_back(event);
        if let Some(owner) = shared.owner.take() {
            owner.wake();
        }
    }

    /// The stream of events for the owner. Only one stream may be polled at a time.
    #[must_use]
    pub fn events(self: &Arc<Self>) -> OutboxEvents {
        OutboxEvents(Arc::clone(self))
    }

    /// True once a channel has reported to its transport that the connection has ended.
    #[must_use]
    pub fn is_end_delivered(&self) -> bool {
        self.lock().is_end_delivered
    }

    /// False once the connection has ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().queue.is_open()
    }

    /// The number of the current channel, or of the last one; the first channel is 1.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn channel(&self) -> u32 {
        self.lock().writer.channel
    }

    /// The cursor of a client that has received everything that was handed to its transport.
    #[cfg(test)]
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.lock().queue.cursor()
    }

    /// The progress of the current channel; `None` if nothing waits or no channel is attached.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        let shared = self.lock();
        let (is_waiting, writes) = (!shared.queue.is_idle() && shared.queue.is_attached(), shared.writer.writes);
        let (channel, taken) = (shared.writer.channel, shared.queue.backlog().taken);
        is_waiting.then_some(Progress { channel, taken, writes })
    }

    /// Statistics of the outbox, which show how far behind the client is.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.lock().queue.backlog()
    }
}

#[cfg(test)]
mod tests;
