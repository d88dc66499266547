//! A log of the lifecycle hooks that a hub ran.

use hubcast::{
    Hub,
    hub::{Connected, Disconnected, Reconnected},
};
use tokio::sync::mpsc;

use super::with_timeout;

/// The lifecycle events of the hub `chat` of one server, in order.
pub(crate) struct EventLog {
    events: mpsc::UnboundedReceiver<String>,
}

impl EventLog {
    /// Replaces the hooks of `hub` with hooks that record each event.
    pub(crate) fn attach(hub: Hub) -> (Self, Hub) {
        let (sender, events) = mpsc::unbounded_channel();
        // The test may have ended and dropped the receiver.
        let record = move |event: String| drop(sender.send(event));
        let (connected, reconnected, disconnected) = (record.clone(), record.clone(), record);
        let hub = hub
            .on_connected(move |_: Connected| {
                connected("connected".into());
                async { Ok(()) }
            })
            .on_reconnected(move |Reconnected { has_gap, .. }| {
                reconnected(if has_gap { "reconnected with a gap" } else { "reconnected" }.into());
                async { Ok(()) }
            })
            .on_disconnected(move |Disconnected { is_stop, .. }| {
                disconnected(if is_stop { "stopped" } else { "lost" }.into());
                async {}
            });
        (Self { events }, hub)
    }

    pub(crate) async fn next_event(&mut self) -> String {
        with_timeout(self.events.recv()).await.expect("the hub exists")
    }
}
