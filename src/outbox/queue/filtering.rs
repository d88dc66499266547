//! The filter of the current channel, or of the last one.

use super::Queue;
use crate::{message::Message, outbox::ChannelFilter};

impl Queue {
    /// True if the hubs of the channel do not exclude the message, and it can be encoded for the client.
    pub(in crate::outbox) fn accepts(&self, message: &Message) -> bool {
        message.has_form(self.form) && self.filter.as_ref().is_none_or(|filter| filter.passes_hub_filter(message))
    }

    pub(super) fn set_filter(&mut self, filter: ChannelFilter) {
        self.filter = (!filter.passes_all()).then(|| Box::new(filter));
    }

    pub(in crate::outbox) fn update_filter(&mut self, change: impl FnOnce(&mut ChannelFilter)) {
        let mut filter = self.filter.take().map_or_else(ChannelFilter::default, |filter| *filter);
        change(&mut filter);
        self.set_filter(filter);
    }
}
