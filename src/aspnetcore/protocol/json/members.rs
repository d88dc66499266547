//! Decodes a message from JSON.

use std::{borrow::Cow, collections::BTreeMap, str::FromStr};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    aspnetcore::protocol::{ClientMessage, Headers, Invocation, invalid_data},
    hub::HubError,
    payload::{Format, Payload, json_depth},
    router::ClientResult,
};

/// Wire: the maximum nesting depth of a message; the message itself counts as 1.
const MAX_DEPTH: usize = 64;

/// Decodes one message.
pub(super) fn parse(message: &Bytes) -> Result<ClientMessage, HubError> {
    let text = String::from_utf8_lossy(message);
    let (source, is_lossy) = match &text {
        Cow::Borrowed(_) => (message.clone(), false),
        Cow::Owned(text) => (Bytes::copy_from_slice(text.as_bytes()), true),
    };
    Members::read(&text)?.into_message(&Values { text: &text, source, is_lossy })
}

/// The text of a message, as the source of the values in it.
struct Values<'a> {
    text: &'a str,
    source: Bytes,
    /// The message contained invalid UTF-8, which is replaced in the text.
    is_lossy: bool,
}

impl Values<'_> {
    /// A value of the message. The bytes are shared with it.
    fn payload(&self, value: &RawValue) -> Payload {
        let json = value.get();
        if self.is_lossy && json.contains(char::REPLACEMENT_CHARACTER) {
            return Payload::from_encoded(Format::Json, Bytes::from_static(UNBINDABLE));
        }
        let start = json.as_ptr().addr() - self.text.as_ptr().addr();
        Payload::from_encoded(Format::Json, self.source.slice(start..start + json.len()))
    }
}

/// A lone surrogate, which binds to no type. Wire: a value with invalid UTF-8 fails to bind, but does not end the
/// connection.
const UNBINDABLE: &[u8] = br#""\ud800""#;

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
    stream_ids: Vec<String>,
    headers: Headers,
    item: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<String>,
    sequence_id: Option<i64>,
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
            "type" => self.message_type = Some(number(name, value, NOT_AN_INT)?),
            "invocationId" => self.id = Some(string(name, value)?),
            "target" => self.target = Some(string(name, value)?),
            "arguments" => self.arguments = Some(array(name, value)?),
            "streamIds" => self.stream_ids = stream_ids(value)?,
            "headers" => self.headers = headers(value)?,
            "item" => self.item = Some(value),
            "result" => self.result = Some(value),
            "error" => self.error = Some(string(name, value)?),
            "allowReconnect" if !matches!(value.get(), "true" | "false") => {
                return Err(invalid_data("Expected 'allowReconnect' to be true or false."));
            }
            "sequenceId" => self.sequence_id = Some(number(name, value, NOT_A_LONG)?),
            _ => {}
        }
        Ok(())
    }

    fn into_message(self, values: &Values<'_>) -> Result<ClientMessage, HubError> {
        match self.message_type.ok_or_else(|| missing_property("type"))? {
            1 => self.into_invocation(values),
            2 => self.into_stream_item(values),
            3 => self.into_completion(values),
            4 => self.into_stream_invocation(values),
            5 => Ok(ClientMessage::CancelInvocation { id: self.into_id()? }),
            6 => Ok(ClientMessage::Ping),
            7 => Ok(ClientMessage::Close { error: self.error }),
            8 => Ok(ClientMessage::Ack { sequence_id: self.sequence_id()? }),
            9 => Ok(ClientMessage::Sequence { sequence_id: self.sequence_id()? }),
            _ => Ok(ClientMessage::Unknown),
        }
    }

    fn into_stream_invocation(self, values: &Values<'_>) -> Result<ClientMessage, HubError> {
        if self.id.as_ref().is_none_or(String::is_empty) {
            return Err(missing_property("invocationId"));
        }
        match self.into_invocation(values)? {
            ClientMessage::Invocation(invocation) => {
                Ok(ClientMessage::Invocation(Invocation { wants_stream: true, ..invocation }))
            }
            other => Ok(other),
        }
    }

    fn into_invocation(self, values: &Values<'_>) -> Result<ClientMessage, HubError> {
        let arguments = self.arguments.ok_or_else(|| missing_property("arguments"));
        let target = self.target.ok_or_else(|| missing_property("target"))?;
        let arguments: Vec<&RawValue> = serde_json::from_str(arguments?.get()).map_err(|_| json_error())?;
        if values.is_lossy && target.contains(char::REPLACEMENT_CHARACTER) {
            return Err(json_error());
        }
        Ok(ClientMessage::Invocation(Invocation {
            headers: self.headers,
            id: self.id.filter(|id| !id.is_empty()),
            target,
            arguments: Ok(arguments.into_iter().map(|argument| values.payload(argument)).collect()),
            stream_ids: self.stream_ids,
            wants_stream: false,
        }))
    }

    fn into_stream_item(self, values: &Values<'_>) -> Result<ClientMessage, HubError> {
        let id = self.id.ok_or_else(|| missing_property("invocationId"))?;
        let item = self.item.ok_or_else(|| missing_property("item"))?;
        if id.is_empty() {
            return Err(HubError::hidden("KeyNotFoundException", "No stream with id '' could be found."));
        }
        Ok(ClientMessage::StreamItem { id, item: Some(values.payload(item)) })
    }

    fn into_completion(mut self, values: &Values<'_>) -> Result<ClientMessage, HubError> {
        let outcome = match (self.error.take(), self.result) {
            (None, None) => Ok(ClientResult::Void),
            (None, Some(result)) => Ok(ClientResult::Result(values.payload(result))),
            (Some(error), None) => Ok(ClientResult::Error(error)),
            (Some(_), Some(_)) => Err(invalid_data("The 'error' and 'result' properties are mutually exclusive.")),
        };
        Ok(ClientMessage::Completion { id: self.into_id()?, result: outcome? })
    }

    fn into_id(self) -> Result<String, HubError> {
        self.id.filter(|id| !id.is_empty()).ok_or_else(|| missing_property("invocationId"))
    }

    fn sequence_id(&self) -> Result<i64, HubError> {
        self.sequence_id.ok_or_else(|| missing_property("sequenceId"))
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

/// Wire: the texts of the number parsers in .NET.
pub(in crate::aspnetcore) const NOT_AN_INT: &str =
    "Either the JSON value is not in a supported format, or is out of bounds for an Int32.";
const NOT_A_LONG: &str = "Either the JSON value is not in a supported format, or is out of bounds for an Int64.";

fn number<T: FromStr>(name: &str, value: &RawValue, format_error: &'static str) -> Result<T, HubError> {
    let text = value.get();
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(wrong_type(name, "Number"));
    }
    text.parse().map_err(|_| HubError::hidden("FormatException", format_error))
}

fn array<'a>(name: &str, value: &'a RawValue) -> Result<&'a RawValue, HubError> {
    if value.get().starts_with('[') { Ok(value) } else { Err(wrong_type(name, "Array")) }
}

fn stream_ids(value: &RawValue) -> Result<Vec<String>, HubError> {
    let ids: Vec<&RawValue> = serde_json::from_str(array("streamIds", value)?.get()).map_err(|_| json_error())?;
    ids.into_iter().map(stream_id).collect()
}

fn stream_id(id: &RawValue) -> Result<String, HubError> {
    match id.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(id.get()).map_err(|_| json_error()),
        Some(b'n') => Err(invalid_data("Null value for 'streamIds' is not valid.")),
        _ => {
            let text = "Cannot get the value of a token type 'Number' as a string.";
            Err(HubError::hidden("InvalidOperationException", text))
        }
    }
}

fn headers(value: &RawValue) -> Result<Headers, HubError> {
    if !value.get().starts_with('{') {
        return Err(wrong_type("headers", "StartObject"));
    }
    let headers: BTreeMap<String, &RawValue> = serde_json::from_str(value.get()).map_err(|_| json_error())?;
    headers.into_iter().map(header).collect()
}

fn header((name, value): (String, &RawValue)) -> Result<(String, String), HubError> {
    if !value.get().starts_with('"') {
        return Err(invalid_data(format!("Expected header '{name}' to be of type String.")));
    }
    Ok((name, serde_json::from_str(value.get()).map_err(|_| json_error())?))
}
