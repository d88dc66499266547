//! The first words of either side.
//!
//! Wire: JSON text and a record separator, whatever is spoken afterwards.

use serde_json::{Value, value::RawValue};

use super::json::{NOT_AN_INT, SEPARATOR};
use crate::hub::HubError;

/// Wire: the newest version that a client may ask for. 2 adds stateful reconnection, which a server may
/// decline to use.
const NEWEST_VERSION: i32 = 2;

/// What the server says to a handshake that it accepts.
pub(crate) const ACCEPTED: &[u8] = b"{}\x1e";

/// Wire: what the client is told when it took too long, or said too much, before its handshake was whole.
pub(crate) const CANCELLED: &str = "Handshake was canceled.";

/// Why a handshake is refused.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// What it asks for is not offered; the text is for the client.
    NotOffered(String),
    /// It is not a handshake; why is for the log.
    Unreadable(HubError),
}

/// Reads a handshake, without its separator.
///
/// # Errors
/// What the client has to be told before its connection is closed.
pub(crate) fn check(record: &[u8]) -> Result<(), HandshakeError> {
    let (protocol, version) = read(record).map_err(HandshakeError::Unreadable)?;
    if !protocol.eq_ignore_ascii_case("json") {
        return Err(HandshakeError::NotOffered(format!("The protocol '{protocol}' is not supported.")));
    }
    if version > NEWEST_VERSION {
        let text = format!("The server does not support version {version} of the '{protocol}' protocol.");
        return Err(HandshakeError::NotOffered(text));
    }
    Ok(())
}

fn invalid(text: String) -> HubError {
    HubError::hidden("InvalidDataException", text)
}

fn read(record: &[u8]) -> Result<(String, i32), HubError> {
    let mut values = serde_json::Deserializer::from_slice(record).into_iter::<&RawValue>();
    // What follows the object is not looked at.
    let first = values.next().unwrap_or_else(|| serde_json::from_slice(b""));
    let first = first.map_err(|error| HubError::hidden("JsonReaderException", error.to_string()))?;
    let value: Value = serde_json::from_str(first.get())?;
    let Value::Object(members) = &value else {
        let token = token_of(&value);
        return Err(invalid(format!("Unexpected JSON Token Type '{token}'. Expected a JSON Object.")));
    };
    let raw = String::from_utf8_lossy(record);
    let missing = |name| invalid(format!("Missing required property '{name}'. Message content: {raw}"));
    let protocol = match members.get("protocol") {
        None => return Err(missing("protocol")),
        Some(Value::String(protocol)) => protocol.clone(),
        Some(_) => return Err(invalid("Expected 'protocol' to be of type String.".into())),
    };
    let version = match members.get("version") {
        None | Some(Value::Null) => return Err(missing("version")),
        Some(Value::Number(version)) => version.as_i64().and_then(|version| i32::try_from(version).ok()),
        Some(_) => return Err(invalid("Expected 'version' to be of type Number.".into())),
    };
    Ok((protocol, version.ok_or_else(|| HubError::hidden("FormatException", NOT_AN_INT))?))
}

fn token_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(true) => "True",
        Value::Bool(false) => "False",
        Value::Number(_) => "Number",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}

/// What the server says to a handshake that it refuses.
pub(crate) fn refused(text: &str) -> Box<[u8]> {
    let mut answer = serde_json::json!({ "error": text }).to_string().into_bytes();
    answer.push(SEPARATOR);
    answer.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(record: &str) -> Option<String> {
        check(record.as_bytes()).err().map(|refusal| match refusal {
            HandshakeError::NotOffered(text) => text,
            HandshakeError::Unreadable(error) => error.to_string(),
        })
    }

    #[test]
    fn every_spelling_that_the_original_accepts_is_accepted() {
        for record in [
            r#"{"protocol":"json","version":1}"#,
            r#"{"version":2,"protocol":"JSON"}"#,
            r#"{"protocol":"json","version":-1}"#,
            r#"{"protocol":"xml","protocol":"json","version":1,"more":[{}]}"#,
            r#"{"protocol":"json","version":1}{}"#,
            " {\n\"protocol\" : \"json\", \"version\" : 1 }\t",
            r#"{"protoc\u006fl":"json","version":1}"#,
        ] {
            assert_eq!(told(record), None, "{record}");
        }
    }

    #[test]
    fn every_refusal_has_the_text_of_the_original() {
        for (record, text) in [
            (r#"{"protocol":"xml","version":1}"#, "The protocol 'xml' is not supported."),
            (r#"{"protocol":"json ","version":1}"#, "The protocol 'json ' is not supported."),
            (r#"{"protocol":"xml","version":3}"#, "The protocol 'xml' is not supported."),
            (r#"{"protocol":"json","version":3}"#, "The server does not support version 3 of the 'json' protocol."),
            (r#"{"protocol":"json","version":"1"}"#, "InvalidDataException: Expected 'version' to be of type Number."),
            (
                r#"{"protocol":"json","version":null}"#,
                r#"InvalidDataException: Missing required property 'version'. Message content: {"protocol":"json","version":null}"#,
            ),
            (r#"{"protocol":null,"version":1}"#, "InvalidDataException: Expected 'protocol' to be of type String."),
            (
                r#"{"Protocol":"json","version":1}"#,
                r#"InvalidDataException: Missing required property 'protocol'. Message content: {"Protocol":"json","version":1}"#,
            ),
            ("[1]", "InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
            ("null", "InvalidDataException: Unexpected JSON Token Type 'Null'. Expected a JSON Object."),
            (
                r#"{"protocol":"json","version":1.0}"#,
                "FormatException: Either the JSON value is not in a supported format, or is out of bounds for an Int32.",
            ),
        ] {
            assert_eq!(told(record).as_deref(), Some(text), "{record}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_the_readers_word_on_it() {
        for record in ["", "hello", r#"{"protocol":"json""#, r#"{"protocol":"json","version":1,}"#, "\u{feff}{}"] {
            assert!(told(record).is_some_and(|text| text.starts_with("JsonReaderException: ")), "{record}");
        }
    }
}
