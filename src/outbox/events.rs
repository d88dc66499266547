//! Notifications from an outbox to its owner, the connection.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;

use super::Outbox;
use crate::ids::GroupKey;

/// Something that the owner of an outbox must react to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxEvent {
    /// The client has closed this channel: nothing more that is sent on it will be read.
    ChannelClosed(u32),
    /// The socket of the client is gone: nothing more that is sent on this channel will be read.
    ChannelLost(u32),
    /// The transport has dropped the reader of this channel.
    Detached(u32),
    /// The client is too slow: the outbox has discarded its entries and accepts no more.
    Overflowed,
    /// Many entries wait: the owner should check whether the transport makes progress.
    Congested,
    /// A group has crashed, and with it the memberships in it.
    GroupLost {
        /// The key of the group.
        group: Arc<GroupKey>,
        /// Distinguishes the groups that had this key; a later group has a greater number.
        generation: u64,
    },
}

/// The stream returned by [`Outbox::events`]. It never ends.
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
