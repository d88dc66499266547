//! The effects that only this dialect has.

use tokio::sync::oneshot;

use super::{NORMAL_CLOSURE, Session, SessionEffects};
use crate::{
    aspnetcore::protocol::{HubProtocol, ServerMessage},
    connection::Effect,
    connections::ConnectionHandle,
};

/// An effect that only connections of ASP.NET Core SignalR clients have.
#[derive(Debug)]
pub(crate) enum OwnEffect {
    /// Queues bytes in order with the messages. The client does not count them.
    SendControl(Box<[u8]>),
    /// Replies whether a DELETE request ends the connection.
    ReplyToDelete(oneshot::Sender<bool>, bool),
    /// Keeps messages from now on until the client acknowledges them. Senders wait while more than this number of bytes is
    /// not acknowledged.
    KeepUntilAcknowledged(usize),
    /// Forgets the messages up to this number.
    Acknowledge(u64),
    /// The client has gone although the connection has not ended yet: its hub methods can observe it, and nothing waits
    /// for the client to read.
    MarkClientGone,
    /// Sends the number of the first message that is sent again, before that message.
    SendSequence(&'static dyn HubProtocol),
}

impl OwnEffect {
    pub(super) fn apply(self, connection: &ConnectionHandle) {
        let outbox = &connection.outbox;
        match self {
            Self::SendControl(bytes) => drop(outbox.push_control(bytes)),
            // The request may have been cancelled.
            Self::ReplyToDelete(reply, is_deleted) => drop(reply.send(is_deleted)),
            Self::KeepUntilAcknowledged(limit) => outbox.keep_until_acknowledged(limit),
            Self::Acknowledge(number) => outbox.acknowledge(number),
            Self::MarkClientGone => {
                connection.ended().cancel();
                // The end is never sent.
                outbox.discard_and_close(NORMAL_CLOSURE);
            }
            Self::SendSequence(protocol) => outbox.push_first(|number| {
                let sequence_id = i64::try_from(number).unwrap_or(i64::MAX);
                protocol.write(&ServerMessage::Sequence { sequence_id })
            }),
        }
    }
}

/// Queues bytes that the client does not count.
pub(super) fn control(bytes: impl Into<Box<[u8]>>) -> Effect<Session> {
    Effect::Own(OwnEffect::SendControl(bytes.into()))
}

/// Queues a message that the client does not count, if the protocol has it.
pub(super) fn control_unless_empty(message: Box<[u8]>) -> SessionEffects {
    if message.is_empty() { SessionEffects::none() } else { control(message).into() }
}

/// Queues a message, if the protocol has it.
pub(super) fn send_unless_empty(message: Box<[u8]>) -> SessionEffects {
    if message.is_empty() { SessionEffects::none() } else { Effect::Send(message).into() }
}
