//! The MessagePack encoding of the ASP.NET Core SignalR hub protocol: each message is the length of an array and the
//! array.
//!
//! Wire: `dotnet/aspnetcore` `src/SignalR/docs/specs/HubProtocol.md`. Where the server differs from the specification
//! or is more specific, the tests contain its observed behaviour. Clients read the elements by position and some do not
//! accept others: an invocation has six, a Close message three.

use bytes::Bytes;
use rmp::encode;

use super::{ClientMessage, Framing, HubProtocol, ServerMessage, TransferFormat};
use crate::{
    hub::HubError,
    message::{self, WireForm},
    payload::Format,
};

mod messages;
mod reader;

/// Encodes broadcasts in this protocol.
static FORM: WireForm = WireForm { slot: 1, format: Format::MessagePack, answers: true, encode: encode_invocation };

/// A message without arguments in this format is never encoded: it is not queued for the client.
fn encode_invocation(call: &message::Invocation) -> Bytes {
    let arguments = call.packed_arguments.as_deref().unwrap_or(EMPTY_ARRAY);
    Writer::default().invocation(call.id.as_deref(), &call.target, arguments).with_length().into()
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct MessagePackProtocol;

impl HubProtocol for MessagePackProtocol {
    fn name(&self) -> &'static str {
        "messagepack"
    }

    fn version(&self) -> i32 {
        2
    }

    fn transfer_format(&self) -> TransferFormat {
        TransferFormat::Binary
    }

    fn framing(&self) -> Framing {
        Framing::LengthPrefix
    }

    fn form(&self) -> &'static WireForm {
        &FORM
    }

    fn parse(&self, message: &Bytes) -> Result<ClientMessage, HubError> {
        messages::parse(message)
    }

    fn write(&self, message: &ServerMessage<'_>) -> Box<[u8]> {
        let writer = Writer::default();
        let writer = match *message {
            ServerMessage::Invocation { id, target, arguments } => writer.invocation(id, target, arguments),
            ServerMessage::Result { id, result } => writer.completion(id, RESULT).raw(result.as_bytes()),
            ServerMessage::StreamItem { id, item } => {
                writer.raw(&[array(4), 2, EMPTY_MAP]).text(id).raw(item.as_bytes())
            }
            ServerMessage::StreamEnd { id } => writer.completion(id, VOID),
            ServerMessage::Error { id, error } => writer.completion(id, ERROR).text(error),
            ServerMessage::Ping => writer.raw(&[array(1), 6]),
            ServerMessage::Ack { sequence_id } => writer.raw(&[array(2), 8]).integer(sequence_id),
            ServerMessage::Sequence { sequence_id } => writer.raw(&[array(2), 9]).integer(sequence_id),
            ServerMessage::Close { error, allows_reconnect } => {
                writer.raw(&[array(3), 7]).optional_text(error).raw(&[if allows_reconnect { TRUE } else { FALSE }])
            }
        };
        writer.with_length().into()
    }
}

/// Wire: the kinds of completions.
const ERROR: u8 = 1;
const VOID: u8 = 2;
const RESULT: u8 = 3;

/// Wire: encoded values.
const NIL: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;
const EMPTY_MAP: u8 = 0x80;
const EMPTY_ARRAY: &[u8] = &[0x90];

/// The header of an array of less than 16 elements.
const fn array(length: u8) -> u8 {
    0x90 | length
}

/// Appends the elements of a message.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(mut self, text: &str) -> Self {
        encode::write_str(&mut self.0, text).expect("a vector takes all bytes");
        self
    }

    fn integer(mut self, number: i64) -> Self {
        encode::write_sint(&mut self.0, number).expect("a vector takes all bytes");
        self
    }

    fn optional_text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(text),
            None => self.raw(&[NIL]),
        }
    }

    fn invocation(self, id: Option<&str>, target: &str, arguments: &[u8]) -> Self {
        self.raw(&[array(6), 1, EMPTY_MAP]).optional_text(id).text(target).raw(arguments).raw(EMPTY_ARRAY)
    }

    /// A completion, up to its value.
    fn completion(self, id: &str, kind: u8) -> Self {
        let length = if kind == VOID { 4 } else { 5 };
        self.raw(&[array(length), 3, EMPTY_MAP]).text(id).raw(&[kind])
    }

    /// The message with its length in front. Wire: 7 bits in each byte, the lowest first; the highest bit marks that
    /// more follow.
    fn with_length(self) -> Vec<u8> {
        let (mut length, mut message) = (self.0.len(), Vec::with_capacity(self.0.len() + 5));
        while length >= 0x80 {
            message.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        message.push(length.to_le_bytes()[0]);
        message.extend_from_slice(&self.0);
        message
    }
}

#[cfg(test)]
mod tests;
