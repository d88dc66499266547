//! A hub that writes down what it is told of its connections.

use hubcast::{
    Hub,
    hub::{Connected, Disconnected, Reconnected},
};
use tokio::sync::mpsc;

use super::within;

/// What the hub `chat` of one server was told, in order.
pub(crate) struct Diary {
    lines: mpsc::UnboundedReceiver<String>,
}

impl Diary {
    /// A diary, and `hub` with hooks that write into it.
    pub(crate) fn of(hub: Hub) -> (Self, Hub) {
        let (write, lines) = mpsc::unbounded_channel();
        // The test may be over.
        let note = move |line: String| drop(write.send(line));
        let (connected, reconnected, disconnected) = (note.clone(), note.clone(), note);
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
        (Self { lines }, hub)
    }

    pub(crate) async fn next(&mut self) -> String {
        within(self.lines.recv()).await.expect("the hub is there")
    }
}
