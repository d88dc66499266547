//! What the owner of an outbox hears of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;

use super::Outbox;
use crate::ids::GroupKey;

/// What the owner of an outbox has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxEvent {
    /// The client has hung up on this channel: nothing that is sent on it will be read.
    HungUp(u32),
    /// The transport of this channel has gone.
    Detached(u32),
    /// The client is too slow; the outbox takes nothing any more.
    Overflowed,
    /// Much waits; somebody should look whether it moves.
    Congested,
    /// A group has died with its members in it.
    Lost {
        /// Its name.
        group: Arc<GroupKey>,
        /// Which of those that had the name; a later one has a greater number.
        generation: u64,
    },
}

/// The stream of [`Outbox::events`]; it never ends.
#[derive(Debug)]
pub struct OutboxEvents(pub(super) Arc<Outbox>);

impl Stream for OutboxEvents {
    type Item = OutboxEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<OutboxEvent>> {
        let mut shared = self.0.lock();
        match shared.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None => {
                shared.owner = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
