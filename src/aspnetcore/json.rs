//! The JSON encoding of the ASP.NET Core SignalR hub protocol: each message is one JSON object and a record separator.
//!
//! Wire: `dotnet/aspnetcore` `src/SignalR/docs/specs/HubProtocol.md`. Where the server differs from the specification
//! or is more specific, the tests contain its observed behaviour.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    hub::HubError,
    message::{Invocation, Json, WireForm, json_depth, quote, to_line},
};

/// Wire: terminates every message.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// Wire: the maximum nesting depth of a message; the message itself counts as 1.
const MAX_DEPTH: usize = 64;

/// Encodes broadcasts in this protocol.
pub(crate) static FORM: WireForm = WireForm { slot: 0, encode: encode_invocation };

fn encode_invocation(call: &Invocation) -> Bytes {
    let target = quote(&call.target);
    format!(r#"{{"type":1,"target":{target},"arguments":{}}}{}"#, call.arguments, SEPARATOR as char).into()
}

/// A message from a client.
#[derive(Debug)]
pub(crate) enum ClientMessage {
    /// A call of a hub method.
    Invocation {
        /// The invocation id; `None` if the client expects no completion.
        id: Option<String>,
        target: String,
        arguments: Vec<Json>,
        /// The number of streams that the client wants to upload.
        stream_count: usize,
        /// The client expects a stream as the result.
        wants_stream: bool,
    },
    /// A keep-alive message.
    Ping,
    /// The client closes the connection, optionally with an error.
    Close { error: Option<String> },
    /// A completion, stream item or cancellation without a matching call, or an unknown message type. Wire: ASP.NET
    /// Core SignalR stalls on unknown types; they are skipped here.
    Ignored,
}

/// Decodes one message, which is passed without its separator.
///
/// # Errors
/// If the message is invalid. The connection must be closed with this error.
pub(crate) fn decode(record: &[u8]) -> Result<ClientMessage, HubError> {
    let text = String::from_utf8_lossy(record);
    let is_lossy = matches!(text, Cow::Owned(_));
    let members = Members::read(&text)?;
    members.into_message(is_lossy)
}

fn invalid_data(text: impl Into<String>) -> HubError {
    HubError::hidden("InvalidDataException", text)
}

fn json_error() -> HubError {
    invalid_data("Error reading JSON.")
}

fn missing_property(name: &str) -> HubError {
    invalid_data(format!("Missing required property '{name}'."))
}

fn wrong_type(name: &str, wanted: &str) -> HubError {
    invalid_data(format!("Expected '{name}' to be of type {wanted}."))
}

/// The known members of a message. The last of repeated members counts.
#[derive(Debug, Default)]
struct Members<'a> {
    message_type: Option<i32>,
    id: Option<String>,
    target: Option<String>,
    arguments: Option<&'a RawValue>,
    stream_count: usize,
    has_item: bool,
    has_result: bool,
    error: Option<String>,
    has_sequence: bool,
    /// The first invalid member, in the order of the text.
    fault: Option<HubError>,
}

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, HubError> {
        if json_depth(text) > MAX_DEPTH {
            return Err(json_error());
        }
        // Wire: data after the object is ignored.
        let read = Self::deserialize(&mut serde_json::Deserializer::from_str(text));
        let members = read.map_err(|_| not_an_object_error(text))?;
        match members.fault {
            Some(fault) => Err(fault),
            None => Ok(members),
        }
    }

    fn set(&mut self, name: &str, value: &'a RawValue) -> Result<(), HubError> {
        match name {
            "type" => self.message_type = Some(number(name, value)?),
            "invocationId" => self.id = Some(string(name, value)?),
            "target" => self.target = Some(string(name, value)?),
            "arguments" => self.arguments = Some(array(name, value)?),
            "streamIds" => self.stream_count = stream_ids(value)?,
            "headers" => check_headers(value)?,
            "item" => self.has_item = true,
            "result" => self.has_result = true,
            "error" => self.error = Some(string(name, value)?),
            "allowReconnect" if !matches!(value.get(), "true" | "false") => {
                return Err(invalid_data("Expected 'allowReconnect' to be true or false."));
            }
            "sequenceId" => {
                number_text(name, value)?;
                self.has_sequence = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn into_message(self, is_lossy: bool) -> Result<ClientMessage, HubError> {
        match self.message_type.ok_or_else(|| missing_property("type"))? {
            1 => self.into_invocation(false, is_lossy),
            2 => self.into_stream_item(),
            3 => self.into_completion(),
            4 => {
                self.check_id()?;
                self.into_invocation(true, is_lossy)
            }
            5 => self.check_id().map(|()| ClientMessage::Ignored),
            6 => Ok(ClientMessage::Ping),
            7 => Ok(ClientMessage::Close { error: self.error }),
            8 | 9 if !self.has_sequence => Err(missing_property("sequenceId")),
            _ => Ok(ClientMessage::Ignored),
        }
    }

    fn into_invocation(self, wants_stream: bool, is_lossy: bool) -> Result<ClientMessage, HubError> {
        let arguments = self.arguments.ok_or_else(|| missing_property("arguments"));
        let target = self.target.ok_or_else(|| missing_property("target"))?;
        let arguments = serde_json::from_str(arguments?.get()).map_err(|_| json_error())?;
        if is_lossy && target.contains(char::REPLACEMENT_CHARACTER) {
            return Err(json_error());
        }
        Ok(ClientMessage::Invocation {
            id: self.id.filter(|id| !id.is_empty()),
            target,
            arguments: if is_lossy { poison_lossy_arguments(arguments) } else { arguments },
            stream_count: self.stream_count,
            wants_stream,
        })
    }

    fn into_stream_item(self) -> Result<ClientMessage, HubError> {
        let id = self.id.ok_or_else(|| missing_property("invocationId"))?;
        if !self.has_item {
            return Err(missing_property("item"));
        }
        if id.is_empty() {
            return Err(HubError::hidden("KeyNotFoundException", "No stream with id '' could be found."));
        }
        Ok(ClientMessage::Ignored)
    }

    fn into_completion(self) -> Result<ClientMessage, HubError> {
        self.check_id()?;
        if self.error.is_some() && self.has_result {
            return Err(invalid_data("The 'error' and 'result' properties are mutually exclusive."));
        }
        Ok(ClientMessage::Ignored)
    }

    fn check_id(&self) -> Result<(), HubError> {
        self.id.as_ref().filter(|id| !id.is_empty()).map(drop).ok_or_else(|| missing_property("invocationId"))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    let value: &'de RawValue = map.next_value()?;
                    if value.get().is_empty() {
                        return Err(A::Error::custom("missing value"));
                    }
                    if members.fault.is_none() {
                        members.fault = members.set(&name, value).err();
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The error for text that is not a JSON object. Other JSON values and invalid JSON have different errors.
fn not_an_object_error(text: &str) -> HubError {
    let is_json = IgnoredAny::deserialize(&mut serde_json::Deserializer::from_str(text)).is_ok();
    let token = match text.trim_start().as_bytes().first() {
        Some(b'[') => "Array",
        Some(b'"') => "String",
        Some(b'n') => "Null",
        Some(b't') => "True",
        Some(b'f') => "False",
        Some(b'-' | b'0'..=b'9') => "Number",
        _ => return json_error(),
    };
    if is_json {
        invalid_data(format!("Unexpected JSON Token Type '{token}'. Expected a JSON Object."))
    } else {
        json_error()
    }
}

fn string(name: &str, value: &RawValue) -> Result<String, HubError> {
    if !value.get().starts_with('"') {
        return Err(wrong_type(name, "String"));
    }
    serde_json::from_str(value.get()).map_err(|_| json_error())
}

fn number_text<'a>(name: &str, value: &'a RawValue) -> Result<&'a str, HubError> {
    let text = value.get();
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    is_number.then_some(text).ok_or_else(|| wrong_type(name, "Number"))
}

/// Wire: the text of the number parser in .NET.
pub(super) const NOT_AN_INT: &str =
    "Either the JSON value is not in a supported format, or is out of bounds for an Int32.";

fn number(name: &str, value: &RawValue) -> Result<i32, HubError> {
    number_text(name, value)?.parse().map_err(|_| HubError::hidden("FormatException", NOT_AN_INT))
}

fn array<'a>(name: &str, value: &'a RawValue) -> Result<&'a RawValue, HubError> {
    if value.get().starts_with('[') { Ok(value) } else { Err(wrong_type(name, "Array")) }
}

fn stream_ids(value: &RawValue) -> Result<usize, HubError> {
    let ids: Vec<&RawValue> = serde_json::from_str(array("streamIds", value)?.get()).map_err(|_| json_error())?;
    for id in &ids {
        match id.get().as_bytes().first() {
            Some(b'"') => {}
            Some(b'n') => return Err(invalid_data("Null value for 'streamIds' is not valid.")),
            _ => {
                let text = "Cannot get the value of a token type 'Number' as a string.";
                return Err(HubError::hidden("InvalidOperationException", text));
            }
        }
    }
    Ok(ids.len())
}

fn check_headers(value: &RawValue) -> Result<(), HubError> {
    if !value.get().starts_with('{') {
        return Err(wrong_type("headers", "StartObject"));
    }
    let headers: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(value.get()).map_err(|_| json_error())?;
    match headers.iter().find(|(_, value)| !value.get().starts_with('"')) {
        Some((name, _)) => Err(invalid_data(format!("Expected header '{name}' to be of type String."))),
        None => Ok(()),
    }
}

/// Replaces arguments that contained invalid UTF-8 by a lone surrogate, which binds to no type. Wire: such an argument
/// fails to bind, but does not end the connection.
fn poison_lossy_arguments(arguments: Vec<Json>) -> Vec<Json> {
    let lone_surrogate = || RawValue::from_string(r#""\ud800""#.into()).expect("an escape is JSON");
    let poison = |argument: Json| {
        if argument.get().contains(char::REPLACEMENT_CHARACTER) { lone_surrogate() } else { argument }
    };
    arguments.into_iter().map(poison).collect()
}

fn record(text: String) -> Box<[u8]> {
    let mut bytes = text.into_bytes();
    bytes.push(SEPARATOR);
    bytes.into()
}

/// A completion with a result.
pub(crate) fn completion(id: &str, result: &RawValue) -> Box<[u8]> {
    let result = to_line(result).expect("a raw value always serializes");
    record(format!(r#"{{"type":3,"invocationId":{},"result":{result}}}"#, quote(id)))
}

/// A completion with an error.
pub(crate) fn error_completion(id: &str, error: &str) -> Box<[u8]> {
    record(format!(r#"{{"type":3,"invocationId":{},"error":{}}}"#, quote(id), quote(error)))
}

/// A ping.
pub(crate) fn ping() -> Box<[u8]> {
    record(r#"{"type":6}"#.into())
}

/// A Close message. `allows_reconnect` tells the client whether it may reconnect automatically.
pub(crate) fn close(error: Option<&str>, allows_reconnect: bool) -> Box<[u8]> {
    let error = error.map(|error| format!(r#","error":{}"#, quote(error))).unwrap_or_default();
    let reconnect = if allows_reconnect { r#","allowReconnect":true"# } else { "" };
    record(format!(r#"{{"type":7{error}{reconnect}}}"#))
}

/// An invocation of a client method with one argument. It expects no completion.
pub(crate) fn invocation(target: &str, argument: &(impl Serialize + ?Sized)) -> Box<[u8]> {
    let argument = to_line(argument).expect("strings and numbers always serialize");
    record(format!(r#"{{"type":1,"target":{},"arguments":[{argument}]}}"#, quote(target)))
}

#[cfg(test)]
mod tests;
