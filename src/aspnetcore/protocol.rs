//! The hub protocols of ASP.NET Core SignalR: messages as values, and their encodings.
//!
//! The handshake chooses one [`HubProtocol`] for a connection. The session reads [`ClientMessage`]s and writes
//! [`ServerMessage`]s, and does not depend on the encoding. Arguments, results and items stay encoded.
//!
//! Wire: `dotnet/aspnetcore` `src/SignalR/docs/specs/HubProtocol.md`.

use std::{collections::BTreeMap, fmt::Debug};

use bytes::Bytes;
use serde::Serialize;

use crate::{
    hub::HubError,
    message::WireForm,
    payload::{Format, Payload},
    router::ClientResult,
};

pub(super) mod json;
pub(super) mod message_pack;
pub(super) mod raw;

/// The protocols, in the order in which they are looked up.
static PROTOCOLS: [&dyn HubProtocol; 2] = [&json::JsonProtocol, &message_pack::MessagePackProtocol];

/// The protocol with that name. Wire: names are compared case-insensitively.
pub(super) fn find(name: &str) -> Option<&'static dyn HubProtocol> {
    PROTOCOLS.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
}

/// An encoding of hub messages.
pub(crate) trait HubProtocol: Debug + Send + Sync {
    /// The name in the handshake.
    fn name(&self) -> &'static str;

    /// The newest version. Older versions are subsets of it.
    fn version(&self) -> i32;

    /// The kind of data that a transport has to carry.
    fn transfer_format(&self) -> TransferFormat;

    /// How messages are delimited in the received bytes.
    fn framing(&self) -> Framing;

    /// The encoding of messages to several clients.
    fn form(&self) -> &'static WireForm;

    /// The format of arguments, results and stream items.
    fn format(&self) -> Format {
        self.form().format
    }

    /// Decodes one message, which is passed without its framing.
    ///
    /// # Errors
    /// If the message is invalid. The connection must be closed with this error.
    fn parse(&self, message: &Bytes) -> Result<ClientMessage, HubError>;

    /// Encodes a message with its framing. Empty if the protocol has no such message.
    fn write(&self, message: &ServerMessage<'_>) -> Box<[u8]>;
}

/// The kind of data that a transport carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferFormat {
    Text,
    Binary,
}

/// How messages are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each message is followed by the byte 0x1E.
    Separator,
    /// Each message follows its length, a variable-length integer.
    LengthPrefix,
    /// A message is what has been received since the last one.
    Chunks,
}

/// The headers of a message. They have no meaning in the protocol; clients use them for trace contexts.
pub(crate) type Headers = BTreeMap<String, String>;

/// A message from a client.
#[derive(Debug)]
pub(crate) enum ClientMessage {
    /// A call of a hub method.
    Invocation(Invocation),
    /// An item of a stream that the client sends.
    StreamItem {
        /// The stream id.
        id: String,
        /// `None` if the item cannot be read. It ends the stream.
        item: Option<Payload>,
    },
    /// The end of a stream that the client sends, or the result of a client method that the server invoked.
    Completion { id: String, result: ClientResult },
    /// The client wants no more items of a stream that the server sends.
    CancelInvocation { id: String },
    /// A keep-alive message.
    Ping,
    /// The client closes the connection, optionally with an error.
    Close { error: Option<String> },
    /// The client has received all messages up to this number.
    Ack { sequence_id: i64 },
    /// The number of the next message, after a reconnect.
    Sequence { sequence_id: i64 },
    /// A message of an unknown type. Wire: ASP.NET Core SignalR stalls on it; it is skipped here.
    Unknown,
}

/// A call of a hub method.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) headers: Headers,
    /// The invocation id; `None` if the client expects no completion.
    pub(crate) id: Option<String>,
    pub(crate) target: String,
    /// The arguments, or why they cannot be read. Wire: the call fails then, and the connection stays.
    pub(crate) arguments: Result<Vec<Payload>, String>,
    /// The ids of the streams that the client sends along.
    pub(crate) stream_ids: Vec<String>,
    /// The client expects a stream as the result.
    pub(crate) wants_stream: bool,
}

/// A message to a client. Values are in the format of its protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServerMessage<'a> {
    /// The invocation of a client method. The arguments are an encoded array.
    Invocation { id: Option<&'a str>, target: &'a str, arguments: &'a [u8] },
    /// The result of a hub method.
    Result { id: &'a str, result: &'a Payload },
    /// An item of a stream that a hub method has returned.
    StreamItem { id: &'a str, item: &'a Payload },
    /// The end of such a stream.
    StreamEnd { id: &'a str },
    /// The error of a hub method or a stream.
    Error { id: &'a str, error: &'a str },
    /// A keep-alive message.
    Ping,
    /// The server has received all messages up to this number.
    Ack { sequence_id: i64 },
    /// The number of the next message, after a reconnect.
    Sequence { sequence_id: i64 },
    /// The connection ends. `allows_reconnect` tells the client whether it may reconnect automatically.
    Close { error: Option<&'a str>, allows_reconnect: bool },
}

/// Encodes the invocation of a client method with one argument. It expects no completion.
pub(super) fn write_invocation(protocol: &dyn HubProtocol, target: &str, argument: &impl Serialize) -> Box<[u8]> {
    let arguments = Payload::encode(protocol.format(), &(argument,)).expect("strings and numbers always serialize");
    protocol.write(&ServerMessage::Invocation { id: None, target, arguments: arguments.as_bytes() })
}

fn invalid_data(text: impl Into<String>) -> HubError {
    HubError::hidden("InvalidDataException", text)
}

#[cfg(any(test, feature = "testkit"))]
pub(super) mod describe;
