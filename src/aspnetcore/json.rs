//! The JSON form of the ASP.NET Core hub protocol: one object, one record separator.
//!
//! Wire: `dotnet/aspnetcore` `src/SignalR/docs/specs/HubProtocol.md`; where the original server differs from
//! it, or says more, it was asked, and the tests below hold what it answered.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    hub::HubError,
    message::{Invocation, Json, WireForm, depth_of},
};

/// Wire: ends every message.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// Wire: how deep a message may nest, itself included.
const DEPTH: usize = 64;

/// Broadcasts in this form.
pub(crate) static FORM: WireForm = WireForm { slot: 0, encode: invocation };

fn invocation(call: &Invocation) -> Bytes {
    let target = quote(&call.target);
    format!(r#"{{"type":1,"target":{target},"arguments":{}}}{}"#, call.arguments, SEPARATOR as char).into()
}

/// What a client can say.
#[derive(Debug)]
pub(crate) enum ClientMessage {
    /// Call a hub method.
    Invocation {
        /// Where the answer belongs; absent if none is wanted.
        id: Option<String>,
        target: String,
        arguments: Vec<Json>,
        /// How many streams the client wants to send along.
        streams: usize,
        /// The client wants a stream back.
        wants_stream: bool,
    },
    /// It is alive.
    Ping,
    /// It is leaving, and may say why.
    Close { error: Option<String> },
    /// What nobody waits for: an answer, an item or a cancellation for nothing, or a kind of message that
    /// is not known. Wire: the original stalls over the latter; they are skipped here.
    Ignored,
}

/// Reads one message, without its separator.
///
/// # Errors
/// What is wrong with it; the connection must be closed for it.
pub(crate) fn decode(record: &[u8]) -> Result<ClientMessage, HubError> {
    let text = String::from_utf8_lossy(record);
    let is_lossy = matches!(text, Cow::Owned(_));
    let members = Members::read(&text)?;
    members.into_message(is_lossy)
}

fn invalid(text: impl Into<String>) -> HubError {
    HubError::hidden("InvalidDataException", text)
}

fn unreadable() -> HubError {
    invalid("Error reading JSON.")
}

fn missing(name: &str) -> HubError {
    invalid(format!("Missing required property '{name}'."))
}

fn mistyped(name: &str, wanted: &str) -> HubError {
    invalid(format!("Expected '{name}' to be of type {wanted}."))
}

/// The members of a message that mean something, as they stand. Of a repeated one the last counts.
#[derive(Debug, Default)]
struct Members<'a> {
    kind: Option<i32>,
    id: Option<String>,
    target: Option<String>,
    arguments: Option<&'a RawValue>,
    streams: usize,
    has_item: bool,
    has_result: bool,
    error: Option<String>,
    has_sequence: bool,
    /// The first fault, in the order of the text.
    fault: Option<HubError>,
}

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, HubError> {
        if depth_of(text) > DEPTH {
            return Err(unreadable());
        }
        // What follows the object is not looked at.
        let read = Self::deserialize(&mut serde_json::Deserializer::from_str(text));
        let members = read.map_err(|_| not_an_object(text))?;
        match members.fault {
            Some(fault) => Err(fault),
            None => Ok(members),
        }
    }

    fn set(&mut self, name: &str, value: &'a RawValue) -> Result<(), HubError> {
        match name {
            "type" => self.kind = Some(number(name, value)?),
            "invocationId" => self.id = Some(string(name, value)?),
            "target" => self.target = Some(string(name, value)?),
            "arguments" => self.arguments = Some(array(name, value)?),
            "streamIds" => self.streams = stream_ids(value)?,
            "headers" => check_headers(value)?,
            "item" => self.has_item = true,
            "result" => self.has_result = true,
            "error" => self.error = Some(string(name, value)?),
            "allowReconnect" if !matches!(value.get(), "true" | "false") => {
                return Err(invalid("Expected 'allowReconnect' to be true or false."));
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
        match self.kind.ok_or_else(|| missing("type"))? {
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
            8 | 9 if !self.has_sequence => Err(missing("sequenceId")),
            _ => Ok(ClientMessage::Ignored),
        }
    }

    fn into_invocation(self, wants_stream: bool, is_lossy: bool) -> Result<ClientMessage, HubError> {
        let arguments = self.arguments.ok_or_else(|| missing("arguments"));
        let target = self.target.ok_or_else(|| missing("target"))?;
        let arguments = serde_json::from_str(arguments?.get()).map_err(|_| unreadable())?;
        if is_lossy && target.contains(char::REPLACEMENT_CHARACTER) {
            return Err(unreadable());
        }
        Ok(ClientMessage::Invocation {
            id: self.id.filter(|id| !id.is_empty()),
            target,
            arguments: if is_lossy { spoil(arguments) } else { arguments },
            streams: self.streams,
            wants_stream,
        })
    }

    fn into_stream_item(self) -> Result<ClientMessage, HubError> {
        let id = self.id.ok_or_else(|| missing("invocationId"))?;
        if !self.has_item {
            return Err(missing("item"));
        }
        if id.is_empty() {
            return Err(HubError::hidden("KeyNotFoundException", "No stream with id '' could be found."));
        }
        Ok(ClientMessage::Ignored)
    }

    fn into_completion(self) -> Result<ClientMessage, HubError> {
        self.check_id()?;
        if self.error.is_some() && self.has_result {
            return Err(invalid("The 'error' and 'result' properties are mutually exclusive."));
        }
        Ok(ClientMessage::Ignored)
    }

    fn check_id(&self) -> Result<(), HubError> {
        self.id.as_ref().filter(|id| !id.is_empty()).map(drop).ok_or_else(|| missing("invocationId"))
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
                        return Err(A::Error::custom("no value"));
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

/// Tells a value that is no object from what is no JSON.
fn not_an_object(text: &str) -> HubError {
    let is_json = IgnoredAny::deserialize(&mut serde_json::Deserializer::from_str(text)).is_ok();
    let token = match text.trim_start().as_bytes().first() {
        Some(b'[') => "Array",
        Some(b'"') => "String",
        Some(b'n') => "Null",
        Some(b't') => "True",
        Some(b'f') => "False",
        Some(b'-' | b'0'..=b'9') => "Number",
        _ => return unreadable(),
    };
    if is_json {
        invalid(format!("Unexpected JSON Token Type '{token}'. Expected a JSON Object."))
    } else {
        unreadable()
    }
}

fn string(name: &str, value: &RawValue) -> Result<String, HubError> {
    if !value.get().starts_with('"') {
        return Err(mistyped(name, "String"));
    }
    serde_json::from_str(value.get()).map_err(|_| unreadable())
}

fn number_text<'a>(name: &str, value: &'a RawValue) -> Result<&'a str, HubError> {
    let text = value.get();
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    is_number.then_some(text).ok_or_else(|| mistyped(name, "Number"))
}

/// Wire: the text of the original's number reader.
pub(super) const NOT_AN_INT: &str =
    "Either the JSON value is not in a supported format, or is out of bounds for an Int32.";

fn number(name: &str, value: &RawValue) -> Result<i32, HubError> {
    number_text(name, value)?.parse().map_err(|_| HubError::hidden("FormatException", NOT_AN_INT))
}

fn array<'a>(name: &str, value: &'a RawValue) -> Result<&'a RawValue, HubError> {
    if value.get().starts_with('[') { Ok(value) } else { Err(mistyped(name, "Array")) }
}

fn stream_ids(value: &RawValue) -> Result<usize, HubError> {
    let ids: Vec<&RawValue> = serde_json::from_str(array("streamIds", value)?.get()).map_err(|_| unreadable())?;
    for id in &ids {
        match id.get().as_bytes().first() {
            Some(b'"') => {}
            Some(b'n') => return Err(invalid("Null value for 'streamIds' is not valid.")),
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
        return Err(mistyped("headers", "StartObject"));
    }
    let headers: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(value.get()).map_err(|_| unreadable())?;
    match headers.iter().find(|(_, value)| !value.get().starts_with('"')) {
        Some((name, _)) => Err(invalid(format!("Expected header '{name}' to be of type String."))),
        None => Ok(()),
    }
}

/// Wire: an argument with bytes that are no UTF-8 cannot be bound, but does not end the connection. A lone
/// surrogate is the JSON that nothing binds to.
fn spoil(arguments: Vec<Json>) -> Vec<Json> {
    let lone_surrogate = || RawValue::from_string(r#""\ud800""#.into()).expect("an escape is JSON");
    let spoil = |argument: Json| {
        if argument.get().contains(char::REPLACEMENT_CHARACTER) { lone_surrogate() } else { argument }
    };
    arguments.into_iter().map(spoil).collect()
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn record(text: String) -> Box<[u8]> {
    let mut bytes = text.into_bytes();
    bytes.push(SEPARATOR);
    bytes.into()
}

/// The result of a call.
pub(crate) fn completion(id: &str, result: &RawValue) -> Box<[u8]> {
    record(format!(r#"{{"type":3,"invocationId":{},"result":{result}}}"#, quote(id)))
}

/// The failure of a call.
pub(crate) fn failure(id: &str, error: &str) -> Box<[u8]> {
    record(format!(r#"{{"type":3,"invocationId":{},"error":{}}}"#, quote(id), quote(error)))
}

/// A sign of life.
pub(crate) fn ping() -> Box<[u8]> {
    record(r#"{"type":6}"#.into())
}

/// The end, and whether the client may come back by itself.
pub(crate) fn close(error: Option<&str>, allows_reconnect: bool) -> Box<[u8]> {
    let error = error.map(|error| format!(r#","error":{}"#, quote(error))).unwrap_or_default();
    let reconnect = if allows_reconnect { r#","allowReconnect":true"# } else { "" };
    record(format!(r#"{{"type":7{error}{reconnect}}}"#))
}

/// A call of a client method for this client alone.
pub(crate) fn call(target: &str, argument: &str) -> Box<[u8]> {
    record(format!(r#"{{"type":1,"target":{},"arguments":[{}]}}"#, quote(target), quote(argument)))
}

#[cfg(test)]
mod tests;
