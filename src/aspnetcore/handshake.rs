//! The handshake of the hub protocol.
//!
//! Wire: JSON text and a record separator, regardless of the protocol that follows.

use serde_json::{Value, value::RawValue};

use super::protocol::{
    self, HubProtocol, TransferFormat,
    json::{NOT_AN_INT, SEPARATOR},
};
use crate::hub::HubError;

/// The response to a valid handshake.
pub(crate) const ACCEPTED: &[u8] = b"{}\x1e";

/// Wire: the error text for a handshake that timed out or exceeded the message size.
pub(crate) const CANCELLED: &str = "Handshake was canceled.";

/// Why a handshake is rejected.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// It requests an unsupported protocol or version. The text is sent to the client.
    Unsupported(String),
    /// It is not a valid handshake.
    Malformed(HubError),
}

/// Checks a handshake request, which is passed without its separator. Returns the protocol and the version that it
/// requests.
///
/// # Errors
/// The reason to send to the client before its connection is closed.
pub(crate) fn validate(record: &[u8]) -> Result<(&'static dyn HubProtocol, i32), HandshakeError> {
    let (name, version) = parse(record).map_err(HandshakeError::Malformed)?;
    let unsupported = HandshakeError::Unsupported;
    let found = protocol::find(&name);
    let protocol = found.ok_or_else(|| unsupported(format!("The protocol '{name}' is not supported.")))?;
    if version > protocol.version() {
        let text = format!("The server does not support version {version} of the '{name}' protocol.");
        return Err(unsupported(text));
    }
    Ok((protocol, version))
}

/// The error of a protocol that the transport of the connection cannot carry.
pub(crate) fn wrong_transport(protocol: &dyn HubProtocol) -> HandshakeError {
    let format = match protocol.transfer_format() {
        TransferFormat::Text => "Text",
        TransferFormat::Binary => "Binary",
    };
    HandshakeError::Unsupported(format!(
        "Cannot use the '{}' protocol on the current transport. The transport does not support '{format}' transfer \
         format.",
        protocol.name()
    ))
}

fn invalid(text: String) -> HubError {
    HubError::hidden("InvalidDataException", text)
}

fn parse(record: &[u8]) -> Result<(String, i32), HubError> {
    let mut values = serde_json::Deserializer::from_slice(record).into_iter::<&RawValue>();
    // Wire: data after the first value is ignored.
    let first = values.next().unwrap_or_else(|| serde_json::from_slice(b""));
    let first = first.map_err(|error| HubError::hidden("JsonReaderException", error.to_string()))?;
    let value: Value = serde_json::from_str(first.get())?;
    let Value::Object(members) = &value else {
        let token = token_type(&value);
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

fn token_type(value: &Value) -> &'static str {
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

/// The response to a rejected handshake.
pub(crate) fn error_response(text: &str) -> Box<[u8]> {
    let mut response = serde_json::json!({ "error": text }).to_string().into_bytes();
    response.push(SEPARATOR);
    response.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(record: &str) -> Option<String> {
        validate(record.as_bytes()).err().map(|error| match error {
            HandshakeError::Unsupported(text) => text,
            HandshakeError::Malformed(error) => error.to_string(),
        })
    }

    #[test]
    fn valid_spellings_are_accepted() {
        for record in [
            r#"{"protocol":"json","version":1}"#,
            r#"{"version":2,"protocol":"JSON"}"#,
            r#"{"protocol":"json","version":-1}"#,
            r#"{"protocol":"MessagePack","version":1}"#,
            r#"{"protocol":"xml","protocol":"json","version":1,"more":[{}]}"#,
            r#"{"protocol":"json","version":1}{}"#,
            " {\n\"protocol\" : \"json\", \"version\" : 1 }\t",
            r#"{"protoc\u006fl":"json","version":1}"#,
        ] {
            assert_eq!(error_of(record), None, "{record}");
        }
    }

    #[test]
    fn errors_have_expected_texts() {
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
            assert_eq!(error_of(record).as_deref(), Some(text), "{record}");
        }
    }

    #[test]
    fn invalid_json_is_rejected_with_parser_error() {
        for record in ["", "hello", r#"{"protocol":"json""#, r#"{"protocol":"json","version":1,}"#, "\u{feff}{}"] {
            assert!(error_of(record).is_some_and(|text| text.starts_with("JsonReaderException: ")), "{record}");
        }
    }
}
