//! The JSON encoding of the ASP.NET Core SignalR hub protocol: each message is one JSON object and a record separator.
//!
//! Wire: `dotnet/aspnetcore` `src/SignalR/docs/specs/HubProtocol.md`. Where the server differs from the specification
//! or is more specific, the tests contain its observed behaviour.

use bytes::Bytes;

use super::{ClientMessage, Framing, HubProtocol, ServerMessage, TransferFormat};
use crate::{
    hub::HubError,
    message::{self, WireForm},
    payload::{Format, Payload, quote},
};

mod members;

pub(in crate::aspnetcore) use members::NOT_AN_INT;

/// Wire: terminates every message.
pub(in crate::aspnetcore) const SEPARATOR: u8 = 0x1e;

/// Encodes broadcasts in this protocol.
static FORM: WireForm = WireForm { slot: 0, format: Format::Json, answers: true, encode: encode_invocation };

fn encode_invocation(call: &message::Invocation) -> Bytes {
    write_invocation(call.id.as_deref(), &call.target, call.arguments.get().as_bytes()).into()
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct JsonProtocol;

impl HubProtocol for JsonProtocol {
    fn name(&self) -> &'static str {
        "json"
    }

    fn version(&self) -> i32 {
        2
    }

    fn transfer_format(&self) -> TransferFormat {
        TransferFormat::Text
    }

    fn framing(&self) -> Framing {
        Framing::Separator
    }

    fn form(&self) -> &'static WireForm {
        &FORM
    }

    fn parse(&self, message: &Bytes) -> Result<ClientMessage, HubError> {
        members::parse(message)
    }

    fn write(&self, message: &ServerMessage<'_>) -> Box<[u8]> {
        match *message {
            ServerMessage::Invocation { id, target, arguments } => write_invocation(id, target, arguments),
            ServerMessage::Result { id, result } => write_result(id, result),
            ServerMessage::StreamItem { id, item } => write_item(id, item),
            ServerMessage::StreamEnd { id } => record(format!(r#"{{"type":3,"invocationId":{}}}"#, quote(id))),
            ServerMessage::Error { id, error } => {
                record(format!(r#"{{"type":3,"invocationId":{},"error":{}}}"#, quote(id), quote(error)))
            }
            ServerMessage::Ping => record(r#"{"type":6}"#.into()),
            ServerMessage::Ack { sequence_id } => record(format!(r#"{{"type":8,"sequenceId":{sequence_id}}}"#)),
            ServerMessage::Sequence { sequence_id } => record(format!(r#"{{"type":9,"sequenceId":{sequence_id}}}"#)),
            ServerMessage::Close { error, allows_reconnect } => write_close(error, allows_reconnect),
        }
    }
}

fn write_invocation(id: Option<&str>, target: &str, arguments: &[u8]) -> Box<[u8]> {
    let id = id.map(|id| format!(r#""invocationId":{},"#, quote(id))).unwrap_or_default();
    let head = format!(r#"{{"type":1,{id}"target":{},"arguments":"#, quote(target));
    [head.as_bytes(), arguments, b"}\x1e"].concat().into()
}

fn write_result(id: &str, result: &Payload) -> Box<[u8]> {
    let head = format!(r#"{{"type":3,"invocationId":{},"result":"#, quote(id));
    [head.as_bytes(), result.as_bytes(), b"}\x1e"].concat().into()
}

fn write_item(id: &str, item: &Payload) -> Box<[u8]> {
    let head = format!(r#"{{"type":2,"invocationId":{},"item":"#, quote(id));
    [head.as_bytes(), item.as_bytes(), b"}\x1e"].concat().into()
}

fn write_close(error: Option<&str>, allows_reconnect: bool) -> Box<[u8]> {
    let error = error.map(|error| format!(r#","error":{}"#, quote(error))).unwrap_or_default();
    let reconnect = if allows_reconnect { r#","allowReconnect":true"# } else { "" };
    record(format!(r#"{{"type":7{error}{reconnect}}}"#))
}

fn record(text: String) -> Box<[u8]> {
    let mut bytes = text.into_bytes();
    bytes.push(SEPARATOR);
    bytes.into()
}

#[cfg(test)]
mod tests;
