//! Checks of the decoders that hold for any bytes of a client. Fuzz targets run them on generated input, and a test on
//! samples.

use bytes::Bytes;
use rmp::encode::write_array_len;
use serde_json::Value;

use super::{
    handshake::{self, HandshakeError},
    protocol::{
        ClientMessage, Headers, HubProtocol, Invocation, ServerMessage,
        describe::describe,
        json::{JsonProtocol, SEPARATOR},
        message_pack::MessagePackProtocol,
    },
    session::decoder_checks::only_message,
};
use crate::{
    hub::{Arguments, bind::Binding, decoder_checks::check_arguments},
    payload::{Format, Payload},
    router::ClientResult,
};

mod negotiate_query;

pub use super::session::decoder_checks::{raw_input, session_input, stateful_reconnect};
pub use negotiate_query::negotiate_query;

/// Decodes a JSON message, which is passed without its separator.
///
/// # Panics
/// If the message is another one after it was encoded and decoded again, or a value is not as described at
/// [`check_arguments`].
pub fn core_json(input: &[u8]) {
    check_message(&JsonProtocol, input);
}

/// Decodes a MessagePack message, which is passed without its length.
///
/// # Panics
/// As [`core_json`].
pub fn core_message_pack(input: &[u8]) {
    check_message(&MessagePackProtocol, input);
}

/// Decodes a handshake, which is passed without its separator.
///
/// # Panics
/// If bytes behind an accepted handshake matter, or the response to a rejected one is not one message.
pub fn handshake(input: &[u8]) {
    match handshake::validate(input) {
        Ok((protocol, version)) => {
            let longer = handshake::validate(&[input, b"}x"].concat());
            let (other, other_version) = longer.expect("bytes behind a handshake are ignored");
            assert_eq!((other.name(), other_version), (protocol.name(), version));
        }
        Err(HandshakeError::Unsupported(text)) => check_error_response(&text),
        Err(HandshakeError::Malformed(error)) => check_error_response(&error.to_string()),
    }
}

fn check_error_response(text: &str) {
    let response = handshake::error_response(text);
    let (separator, json) = response.split_last().expect("a response is not empty");
    assert!(*separator == SEPARATOR && !json.contains(&SEPARATOR), "one separator, at the end");
    let response: Value = serde_json::from_slice(json).expect("a response is JSON");
    assert_eq!(response["error"], text);
}

fn check_message(protocol: &dyn HubProtocol, input: &[u8]) {
    let Ok(message) = protocol.parse(&Bytes::copy_from_slice(input)) else { return };
    check_arguments(&Arguments::new(protocol.format(), values(&message), Binding::Strict));
    let Some(message) = server_part(message) else { return };
    let written = write(protocol, &message).expect("the server writes such messages");
    let read = protocol.parse(&only_message(protocol.framing(), &written));
    assert_eq!(describe(&read), describe(&Ok(message)));
}

/// The encoded values in a message.
fn values(message: &ClientMessage) -> Vec<Payload> {
    match message {
        ClientMessage::Invocation(Invocation { arguments: Ok(values), .. }) => values.clone(),
        ClientMessage::StreamItem { item: Some(value), .. }
        | ClientMessage::Completion { result: ClientResult::Result(value), .. } => vec![value.clone()],
        _ => Vec::new(),
    }
}

/// The message without the parts that only clients send; `None` if only clients send it.
fn server_part(message: ClientMessage) -> Option<ClientMessage> {
    match message {
        ClientMessage::Invocation(Invocation { id, target, arguments: Ok(values), .. }) => {
            let (headers, arguments) = (Headers::new(), Ok(values));
            let part = Invocation { headers, id, target, arguments, stream_ids: Vec::new(), wants_stream: false };
            Some(ClientMessage::Invocation(part))
        }
        ClientMessage::Completion { result: ClientResult::Result(_) | ClientResult::Error(_), .. }
        | ClientMessage::Ping
        | ClientMessage::Ack { .. }
        | ClientMessage::Sequence { .. }
        | ClientMessage::Close { .. } => Some(message),
        _ => None,
    }
}

fn write(protocol: &dyn HubProtocol, message: &ClientMessage) -> Option<Box<[u8]>> {
    let arguments;
    let message = match message {
        ClientMessage::Invocation(Invocation { id, target, arguments: Ok(values), .. }) => {
            arguments = join(protocol.format(), values);
            ServerMessage::Invocation { id: id.as_deref(), target, arguments: &arguments }
        }
        ClientMessage::Completion { id, result: ClientResult::Result(result) } => ServerMessage::Result { id, result },
        ClientMessage::Completion { id, result: ClientResult::Error(error) } => ServerMessage::Error { id, error },
        ClientMessage::Ping => ServerMessage::Ping,
        ClientMessage::Ack { sequence_id } => ServerMessage::Ack { sequence_id: *sequence_id },
        ClientMessage::Sequence { sequence_id } => ServerMessage::Sequence { sequence_id: *sequence_id },
        ClientMessage::Close { error } => ServerMessage::Close { error: error.as_deref(), allows_reconnect: false },
        _ => return None,
    };
    Some(protocol.write(&message))
}

/// The array of these values.
fn join(format: Format, values: &[Payload]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(Payload::as_bytes).collect();
    match format {
        Format::Json => [b"[", &*values.join(&b','), b"]"].concat(),
        Format::MessagePack => {
            let mut array = Vec::new();
            let length = u32::try_from(values.len()).expect("a message has less elements");
            write_array_len(&mut array, length).expect("a vector takes all bytes");
            [array, values.concat()].concat()
        }
    }
}
