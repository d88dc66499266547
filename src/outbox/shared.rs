//! The state of an outbox, and what a change of it wakes: the owner, the transport, and senders that wait for capacity.

use std::{collections::VecDeque, fmt, sync::MutexGuard, task::Waker};

use super::{ChannelWriter, End, OutboxEvent, PreviousChannel, Push, entry::QueueEntry, queue::Queue};

/// Wire: 1008, policy violation (RFC 6455 section 7.4.1). A client that is disconnected for being too slow may still
/// read this close code.
const SLOW_CLIENT: u16 = 1008;

/// The state of an outbox, under its lock.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) writer: ChannelWriter,
    /// The unsent remainder of the channel that the current one has replaced.
    pub(super) previous: Option<Box<PreviousChannel>>,
    pub(super) owner: Option<Waker>,
    /// Bounded without a limit of its own: one loss for each joined group, two events for each channel, and one of each
    /// other kind.
    pub(super) events: VecDeque<OutboxEvent>,
    pub(super) reported_congestion: bool,
    pub(super) reported_overflow: bool,
    pub(super) is_end_delivered: bool,
    /// A [`super::FlushBatch`] contains this outbox and will flush it.
    pub(super) is_batched: bool,
    /// The callers of [`Outbox::wait_for_capacity`](super::Outbox::wait_for_capacity).
    pub(super) capacity_waiters: Vec<Waker>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue,
            writer: ChannelWriter::default(),
            previous: None,
            owner: None,
            events: VecDeque::new(),
            reported_congestion: false,
            reported_overflow: false,
            is_end_delivered: false,
            is_batched: false,
            capacity_waiters: Vec::new(),
        }
    }

    /// Queues an entry, unless it is a message that the hubs of the channel exclude, or that was sent before any client
    /// used the format of this one.
    pub(super) fn enqueue(&mut self, entry: QueueEntry) -> Push {
        if entry.message().is_some_and(|message| !self.queue.accepts(message)) {
            return Push::Filtered;
        }
        self.queue.push(entry)
    }

    /// Queues the event that follows from a push, if any. Returns the owner's waker if it must be woken.
    pub(super) fn after_push(&mut self, push: Push) -> Option<Waker> {
        let event = match push {
            Push::Overflowed if !self.reported_overflow => {
                self.reported_overflow = true;
                self.queue.discard_and_close(End::Close(SLOW_CLIENT));
                self.wake_capacity_waiters();
                OutboxEvent::Overflowed
            }
            Push::Queued if !self.reported_congestion && self.queue.is_congested() => {
                self.reported_congestion = true;
                OutboxEvent::Congested
            }
            Push::Queued | Push::Overflowed | Push::Closed | Push::Filtered => return None,
        };
        self.events.push_back(event);
        self.owner.take()
    }

    /// Wakes the callers of [`Outbox::wait_for_capacity`](super::Outbox::wait_for_capacity) if there is capacity.
    pub(super) fn wake_capacity_waiters(&mut self) {
        if !self.capacity_waiters.is_empty() && self.queue.has_capacity_for(0) {
            self.capacity_waiters.drain(..).for_each(Waker::wake);
        }
    }

    pub(super) fn wake_transport_if_output(&mut self) {
        if self.queue.has_output()
            && let Some(transport) = self.writer.transport.take()
        {
            transport.wake();
        }
    }
}

pub(super) fn push_and_wake(mut shared: MutexGuard<'_, Shared>, entry: QueueEntry) -> Push {
    let push = shared.enqueue(entry);
    if push == Push::Filtered {
        return push;
    }
    let owner = shared.after_push(push);
    wake_transport(shared);
    owner.into_iter().for_each(Waker::wake);
    push
}

/// Wakes the transport after releasing the lock, since the transport takes the lock first.
pub(super) fn wake_transport(mut shared: MutexGuard<'_, Shared>) {
    let transport = shared.writer.transport.take();
    drop(shared);
    transport.into_iter().for_each(Waker::wake);
}
