//! The bounded queue between whoever has something to say to a client and the transport that says it.
//!
//! Role: at once the bound that keeps a slow client from hurting others, the window from which a client
//! that returns is replayed, and the place where «how far behind is it» is read.
//! Life: one per connection, as long as the connection; transports come and go ([`Outbox::attach`]).
//! Neighbours: groups and hubs push, from any thread; a [`OutboxReader`] drains all that waits into one write; the
//! owner hears of what concerns it through [`OutboxEvents`].
//! Never: it knows no transport and no dialect (a [`Framer`] does), and pushing never waits.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use crate::{
    ids::GroupKey,
    message::{Message, WireForm},
};

mod entry;
mod events;
mod filter;
mod flush_batch;
mod framer;
mod limits;
mod queue;
mod reader;

use entry::QueueEntry;
pub use entry::SharedMessage;
pub use events::{OutboxEvent, OutboxEvents};
pub use filter::{ChannelFilter, Resume};
pub use flush_batch::{FlushBatch, FlushScheduler};
pub use framer::{End, FrameFields, Framer};
pub use limits::{Backlog, Limits, Overflow, Progress, Push, ReplayLimits};
use queue::Queue;
pub use reader::{ChannelControl, OutboxReader, ReadStep, Sink, Unsent};
use reader::{ChannelWriter, PreviousChannel};

/// See the module's documentation.
#[derive(Debug)]
pub struct Outbox {
    shared: Mutex<Shared>,
}

struct Shared {
    queue: Queue,
    line: ChannelWriter,
    /// What is left of the channel that the present one has replaced.
    replaced: Option<PreviousChannel>,
    owner: Option<Waker>,
    /// Bounded by what happens: a loss for each group that was joined, two notices for each channel, and one each of
    /// the rest.
    events: VecDeque<OutboxEvent>,
    told_congested: bool,
    told_overflowed: bool,
    /// A [`FlushBatch`] will see to what waits.
    is_in_wave: bool,
    /// Whoever waits for [`Outbox::room_for`] something.
    waiting: Vec<Waker>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Outbox {
    /// An empty outbox whose calls are encoded in `form`.
    #[must_use]
    pub fn new(form: &'static WireForm, limits: Limits, window: ReplayLimits) -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::new(Shared {
                queue: Queue::new(form, limits, window),
                line: ChannelWriter::default(),
                replaced: None,
                owner: None,
                events: VecDeque::new(),
                told_congested: false,
                told_overflowed: false,
                is_in_wave: false,
                waiting: Vec::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic under the lock leaves a queue that is at worst short of an item.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a call that others receive too.
    pub fn push(&self, message: &SharedMessage) -> Push {
        self.put(QueueEntry::shared(message))
    }

    /// Queues a call that many others receive, and adds this outbox to `batch`, which flushes it when it is scheduled.
    pub fn push_in(self: &Arc<Self>, message: &SharedMessage, batch: &mut FlushBatch) -> Push {
        let mut shared = self.lock();
        let push = shared.take_in(QueueEntry::shared(message));
        if push == Push::Unheard {
            return push;
        }
        let owner = shared.after_push(push);
        if !std::mem::replace(&mut shared.is_in_wave, true) {
            batch.add(Arc::clone(self));
        }
        drop(shared);
        owner.into_iter().for_each(Waker::wake);
        push
    }

    /// Queues bytes for this client alone; they keep their place among the calls and are replayed like them.
    pub fn push_own(&self, bytes: impl Into<Box<[u8]>>) -> Push {
        self.put(QueueEntry::own(bytes.into()))
    }

    /// Queues a whole frame for the transport attached now; it dies with that transport.
    pub fn push_frame(&self, frame: impl Into<Box<[u8]>>) -> Push {
        self.put(QueueEntry::frame(frame.into()))
    }

    /// Takes note that a call was not for this client, so that its cursor moves all the same. Without a
    /// window there is no cursor, and this does nothing.
    pub fn pass_over(&self, message: &Message) -> Push {
        let shared = self.lock();
        match (shared.queue.keeps(), shared.queue.listens_to(message)) {
            (false, _) => Push::Queued,
            (true, false) => Push::Unheard,
            (true, true) => put(shared, QueueEntry::NOTHING),
        }
    }

    fn put(&self, item: QueueEntry) -> Push {
        put(self.lock(), item)
    }

    /// Changes what the next frame says besides its elements. A channel begins without any.
    pub fn change_asides<T>(&self, change: impl FnOnce(&mut FrameFields) -> T) -> T {
        let mut shared = self.lock();
        let result = change(shared.queue.fields_mut());
        shared.wake_transport_if_due();
        result
    }

    /// True while the client has not been told what [`Outbox::tell_client`] was given last.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.lock().queue.fields_mut().news.is_some()
    }

    /// The place of what is pushed next in the sequence.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.lock().queue.tail()
    }

    /// Tells the client something of itself with the next frame, in place of what it was not told yet. With a
    /// window it takes a place in the sequence: whose cursor is beyond that place was told.
    pub fn tell_client(&self, news: Option<Box<[u8]>>) {
        let mut shared = self.lock();
        if news.is_some() && shared.queue.keeps() {
            // A full window forgets its oldest; a place takes no room.
            shared.queue.push(QueueEntry::NOTHING);
        }
        shared.queue.fields_mut().news = news;
        shared.wake_transport_if_due();
    }

    /// Ends the present channel at once, whatever waits; the outbox goes on.
    pub fn hang_up(&self, end: End) {
        let mut shared = self.lock();
        shared.line.hang_up(end);
        wake_transport(shared);
    }

    /// Changes what the channel may hear.
    pub fn change_view(&self, change: impl FnOnce(&mut ChannelFilter)) {
        change(self.lock().queue.view_mut());
    }

    /// Encodes what comes, and what waits, in another form.
    pub fn set_form(&self, form: &'static WireForm) {
        self.lock().queue.set_form(form);
    }

    /// Connects a transport; the one before it ends. Answers its feed, and whether its client has missed
    /// something that is no longer here.
    pub fn attach(
        self: &Arc<Self>,
        resume: Resume,
        view: ChannelFilter,
        framer: Arc<dyn Framer>,
    ) -> (OutboxReader, bool) {
        let mut shared = self.lock();
        let rest = Unsent { cursor: shared.queue.cursor(), fields: shared.queue.fields_mut().clone() };
        let gap = shared.queue.attach(resume, view);
        let channel = shared.line.channel + 1;
        let older = std::mem::replace(&mut shared.line, ChannelWriter::new(channel));
        shared.replaced = Some(PreviousChannel { channel: older.channel, rest, begun: older.begun });
        shared.tell_of_room();
        drop(shared);
        older.transport.into_iter().for_each(Waker::wake);
        (OutboxReader { outbox: Arc::clone(self), channel, framer, ended: false }, gap)
    }

    /// Ends the stream once everything that waits is written.
    pub fn finish(&self, end: End) {
        let mut shared = self.lock();
        shared.queue.finish(end);
        shared.tell_of_room();
        shared.wake_transport_if_due();
    }

    /// Ends the stream at once; what waits is lost.
    pub fn abandon(&self, end: End) {
        let mut shared = self.lock();
        shared.queue.abandon(end);
        shared.tell_of_room();
        shared.wake_transport_if_due();
    }

    /// Waits until so many bytes more make no more than half of what may wait, or nothing waits, or the connection has
    /// ended: for whoever sends much to this client alone, and wants it neither to be too slow for that nor to miss it
    /// between two polls.
    pub async fn room_for(&self, bytes: usize) {
        poll_fn(|cx| {
            let mut shared = self.lock();
            if shared.queue.has_room_for(bytes) {
                return Poll::Ready(());
            }
            if !shared.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
                shared.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Tells the owner that a group has died.
    pub fn tell_lost(&self, group: Arc<GroupKey>, generation: u64) {
        self.tell(OutboxEvent::Lost { group, generation });
    }

    fn tell(&self, event: OutboxEvent) {
        let mut shared = self.lock();
        shared.events.push_back(event);
        if let Some(owner) = shared.owner.take() {
            owner.wake();
        }
    }

    /// What the owner has to know, as it happens. One reader at a time.
    #[must_use]
    pub fn events(self: &Arc<Self>) -> OutboxEvents {
        OutboxEvents(Arc::clone(self))
    }

    /// False once the connection has ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().queue.is_open()
    }

    /// The channel that is served, or was last, counted from 1.
    #[must_use]
    pub fn channel(&self) -> u32 {
        self.lock().line.channel
    }

    /// Where a client continues that has seen everything handed to its transport.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.lock().queue.cursor()
    }

    /// How far the present channel has come with what waits for it; `None` if nothing waits, or there is no channel.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        let shared = self.lock();
        let (is_waiting, writes) = (!shared.queue.is_idle() && shared.queue.is_attached(), shared.line.writes);
        let (channel, taken) = (shared.line.channel, shared.queue.backlog().taken);
        is_waiting.then_some(Progress { channel, taken, writes })
    }

    /// How far behind the client is.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.lock().queue.backlog()
    }
}

impl Shared {
    /// Queues an item, unless it is a message that the client does not listen to.
    fn take_in(&mut self, item: QueueEntry) -> Push {
        if item.message().is_some_and(|message| !self.queue.listens_to(message)) {
            return Push::Unheard;
        }
        self.queue.push(item)
    }

    /// Queues what the owner must hear of a push, and answers whom to wake for it.
    fn after_push(&mut self, push: Push) -> Option<Waker> {
        let event = match push {
            Push::Overflowed if !self.told_overflowed => {
                self.told_overflowed = true;
                self.queue.abandon(End { code: SLOW_CLIENT });
                self.tell_of_room();
                OutboxEvent::Overflowed
            }
            Push::Queued if !self.told_congested && self.queue.is_congested() => {
                self.told_congested = true;
                OutboxEvent::Congested
            }
            Push::Queued | Push::Overflowed | Push::Closed | Push::Unheard => return None,
        };
        self.events.push_back(event);
        self.owner.take()
    }

    /// Wakes whoever waits for room, if there is some.
    fn tell_of_room(&mut self) {
        if !self.waiting.is_empty() && self.queue.has_room_for(0) {
            self.waiting.drain(..).for_each(Waker::wake);
        }
    }

    fn wake_transport_if_due(&mut self) {
        if self.queue.is_due()
            && let Some(transport) = self.line.transport.take()
        {
            transport.wake();
        }
    }
}

fn put(mut shared: MutexGuard<'_, Shared>, item: QueueEntry) -> Push {
    let push = shared.take_in(item);
    if push == Push::Unheard {
        return push;
    }
    let owner = shared.after_push(push);
    wake_transport(shared);
    owner.into_iter().for_each(Waker::wake);
    push
}

/// Has the transport look what there is to do, once the lock is free: it is what it will take first.
fn wake_transport(mut shared: MutexGuard<'_, Shared>) {
    let transport = shared.line.transport.take();
    drop(shared);
    transport.into_iter().for_each(Waker::wake);
}

/// Wire: 1008, policy violation (RFC 6455 section 7.4.1), is what a client evicted for its slowness may
/// still get to read.
const SLOW_CLIENT: u16 = 1008;

#[cfg(test)]
mod tests;
