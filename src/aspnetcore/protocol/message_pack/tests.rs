//! Decoded messages, error texts for invalid messages, and encoded messages byte for byte.

use proptest::prelude::*;

use super::*;
use crate::{
    aspnetcore::protocol::{self, describe::describe},
    payload::Payload,
};

fn decoded(message: &[u8]) -> String {
    describe(&MessagePackProtocol.parse(&Bytes::copy_from_slice(message)))
}

fn assert_decoded(table: &[(&[u8], &str)]) {
    for (message, expected) in table {
        assert_eq!(decoded(message), *expected, "{message:x?}");
    }
}

#[test]
fn all_message_types_are_decoded() {
    assert_decoded(&[
        (b"\x96\x01\x80\xa11\xa4Echo\x92\xa1a\xc4\x01\x07\x90", r#""1" "Echo"(a161, c40107)"#),
        (b"\x96\x01\x81\xa1a\xa1b\xc0\xa4Echo\x90\x92\xa1x\xa1y", r#"{"a": "b"} - "Echo"() sends ["x", "y"]"#),
        (b"\x95\x01\x80\xa0\xa4Echo\x90", r#"- "Echo"()"#),
        (b"\x96\x04\x80\xa11\xa5Count\x91\x03\x90", r#""1" "Count"(03) wants a stream"#),
        (b"\x94\x02\x80\xa11\x0a", "item 1 0a"),
        (b"\x94\x03\x80\xa17\x02", "completion 7 Void"),
        (b"\x95\x03\x80\xa17\x03\xc0", "completion 7 c0"),
        (b"\x95\x03\x80\xa17\x01\xa2no", "completion 7 error no"),
        (b"\x93\x05\x80\xa11", "cancel 1"),
        (b"\x91\x06", "ping"),
        (b"\x92\x07\xc0", "close "),
        (b"\x93\x07\xa6enough\xc3", "close enough"),
        (b"\x92\x08\x05", "ack 5"),
        (b"\x92\x09\xff", "sequence -1"),
    ]);
}

#[test]
fn wider_forms_and_more_elements_are_accepted() {
    assert_decoded(&[
        (b"\xdd\x00\x00\x00\x06\x01\x80\xa11\xa4Echo\x91\xa1x\x90", r#""1" "Echo"(a178)"#),
        (b"\x96\xd3\x00\x00\x00\x00\x00\x00\x00\x01\x80\xa11\xa4Echo\x91\xa1x\x90", r#""1" "Echo"(a178)"#),
        (b"\x96\x01\x80\xdb\x00\x00\x00\x011\xda\x00\x04Echo\x91\xa1x\x90", r#""1" "Echo"(a178)"#),
        (b"\x98\x01\x80\xa11\xa4Echo\x91\xa1x\x90\x81\xa1a\x01\xc0", r#""1" "Echo"(a178)"#),
        (b"\x93\x06\x01\x80", "ping"),
        (b"\x94\x05\x80\xa11\x01", "cancel 1"),
        (b"\x94\x07\xc0\xc2\x01", "close "),
        (b"\x91\x06\x91\x06", "ping"),
    ]);
}

#[test]
fn values_of_every_type_are_cut_out() {
    for value in [
        &b"\xc0"[..],
        b"\xc3",
        b"\xe0",
        b"\xcd\x01\x02",
        b"\xd3\x01\x02\x03\x04\x05\x06\x07\x08",
        b"\xca\x3f\x00\x00\x00",
        b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00",
        b"\xd9\x01x",
        b"\xc5\x00\x01x",
        b"\xd4\x05x",
        b"\xd7\xff12345678",
        b"\xc7\x0c\xff123456789012",
        b"\xdc\x00\x02\x01\x91\x02",
        b"\xde\x00\x01\xa1a\x82\x01\x02\x03\x04",
    ] {
        let message = [b"\x94\x02\x80\xa11", value].concat();
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(decoded(&message), format!("item 1 {hex}"));
    }
}

#[test]
fn unknown_types_are_decoded_as_such() {
    assert_decoded(&[(b"\x91\x00", "unknown"), (b"\x93\x0a\x80\xa1x", "unknown"), (b"\x91\xff", "unknown")]);
}

#[test]
fn unreadable_arguments_fail_only_the_call() {
    let error = |text: &str| format!(r#""1" "Echo"({text})"#);
    let no_array = error("Reading array length for 'arguments' failed.");
    for message in [
        &b"\x94\x01\x80\xa11\xa4Echo"[..],
        b"\x96\x01\x80\xa11\xa4Echo\xc0\x90",
        b"\x96\x01\x80\xa11\xa4Echo\x80\x90",
        b"\x96\x01\x80\xa11\xa4Echo\xc0\xc0",
    ] {
        assert_eq!(decoded(message), no_array, "{message:x?}");
    }
}

#[test]
fn item_without_value_is_unreadable() {
    assert_decoded(&[
        (b"\x93\x02\x80\xa4nope", "unreadable item nope"),
        (b"\x94\x02\x80\xa4nope\xc1", "unreadable item nope"),
        (b"\x94\x02\x80\xa4nope\x92\x01", "unreadable item nope"),
    ]);
}

#[test]
fn faulty_elements_are_named() {
    for (message, error) in [
        (&b"\x90"[..], "Reading 'messageType' as Int32 failed."),
        (b"\x91\xa16", "Reading 'messageType' as Int32 failed."),
        (b"\x91\xc0", "Reading 'messageType' as Int32 failed."),
        (b"\x96\x01\x80\xa11\xc0\x90\x90", "Null or empty target for Invocation message."),
        (b"\x96\x01\x80\xa11\x05\x90\x90", "Reading 'target' as String failed."),
        (b"\x96\x01\x80\xa11\xc4\x04Echo\x90\x90", "Reading 'target' as String failed."),
        (b"\x96\x01\x80\x05\xa4Echo\x90\x90", "Reading 'invocationId' as String failed."),
        (b"\x96\x01\xc0\xa11\xa4Echo\x90\x90", "Reading map length for 'headers' failed."),
        (b"\x96\x01\x90\xa11\xa4Echo\x90\x90", "Reading map length for 'headers' failed."),
        (b"\x96\x01\x81\xa1a\x01\xa11\xa4Echo\x90\x90", "Reading 'headers[0].Value' as String failed."),
        (b"\x96\x01\x80\xa11\xa4Echo\x90\xc0", "Reading array length for 'streamIds' failed."),
        (b"\x96\x01\x80\xa11\xa4Echo\x90\xa1s", "Reading array length for 'streamIds' failed."),
        (b"\x96\x01\x80\xa11\xa3Sum\x90\x91\xc0", "Null or empty value in streamIds received."),
        (b"\x94\x02\x80\xc0\x01", "Null or empty invocation ID for StreamItem message."),
        (b"\x93\x03\x80\xa4nope", "Reading 'resultKind' as Int32 failed."),
        (b"\x94\x03\x80\xa4nope\x01", "Reading 'error' as String failed."),
        (b"\x94\x03\x80\xa4nope\x04", "Invalid invocation result kind."),
        (b"\x94\x03\x80\xa4nope\x00", "Invalid invocation result kind."),
        (b"\x94\x03\x80\xc0\x02", "Null or empty invocation ID for Completion message."),
        (b"\x96\x04\x80\xc0\xa5Count\x90\x90", "Null or empty invocation ID for StreamInvocation message."),
        (b"\x96\x04\x80\xa0\xa5Count\x90\x90", "Null or empty invocation ID for StreamInvocation message."),
        (b"\x92\x05\x80", "Reading 'invocationId' as String failed."),
        (b"\x93\x05\x80\xc0", "Null or empty invocation ID for CancelInvocation message."),
        (b"\x91\x07", "Reading 'error' as String failed."),
        (b"\x93\x07\x05\xc2", "Reading 'error' as String failed."),
        (b"\x93\x07\xc0\xa1x", "Reading 'allowReconnect' as Boolean failed."),
        (b"\x91\x08", "Reading 'sequenceId' as Int64 failed."),
        (b"\x92\x08\xa1x", "Reading 'sequenceId' as Int64 failed."),
        (b"\x91\x09", "Reading 'sequenceId' as Int64 failed."),
    ] {
        assert_eq!(decoded(message), format!("InvalidDataException: {error}"), "{message:x?}");
    }
}

#[test]
fn unexpected_bytes_have_reader_errors() {
    let code =
        |code, name| format!("MessagePackSerializationException: Unexpected msgpack code {code} ({name}) encountered.");
    let end = || "EndOfStreamException: Attempted to read past the end of the stream.".to_owned();
    for (message, error) in [
        (&b"\x05"[..], code(5, "positive fixint")),
        (b"\x81\xa4type\x06", code(129, "fixmap")),
        (b"\xc0", code(192, "nil")),
        (b"\xc1", code(193, "(never used)")),
        (b"\x96\x01\x80\xa11\xa3Sum\x90\x91\x01", code(1, "positive fixint")),
        (b"", end()),
        (b"\x96\x01\x80\xa11", end()),
        (b"\x94\x03\x80\xa4nope\x03", end()),
    ] {
        assert_eq!(decoded(message), error, "{message:x?}");
    }
}

#[test]
fn messages_are_encoded_exactly() {
    let pack = |value: Option<&str>| Payload::encode(Format::MessagePack, &value).unwrap();
    let mut call = message::Invocation::new(&"chat".into(), "move", &(1, 2)).unwrap();
    call.pack_arguments(&(1, 2)).unwrap();
    let write = |message| MessagePackProtocol.write(&message);
    let close = |error, allows_reconnect| write(ServerMessage::Close { error, allows_reconnect });
    let question = ServerMessage::Invocation { id: Some("s1"), target: "ask", arguments: b"\x91\xa1?" };
    for (written, expected) in [
        (write(ServerMessage::Result { id: "7", result: &pack(None) }), &b"\x07\x95\x03\x80\xa17\x03\xc0"[..]),
        (write(ServerMessage::Result { id: "1", result: &pack(Some("x")) }), b"\x08\x95\x03\x80\xa11\x03\xa1x"),
        (write(ServerMessage::Error { id: "7", error: "no" }), b"\x09\x95\x03\x80\xa17\x01\xa2no"),
        (write(ServerMessage::StreamItem { id: "1", item: &pack(Some("x")) }), b"\x07\x94\x02\x80\xa11\xa1x"),
        (write(ServerMessage::StreamEnd { id: "7" }), b"\x06\x94\x03\x80\xa17\x02"),
        (write(ServerMessage::Ping), b"\x02\x91\x06"),
        (close(None, false), b"\x04\x93\x07\xc0\xc2"),
        (close(Some("x"), true), b"\x05\x93\x07\xa1x\xc3"),
        (write(question), b"\x0e\x96\x01\x80\xa2s1\xa3ask\x91\xa1?\x90"),
        (protocol::write_invocation(&MessagePackProtocol, "t", &"x"), b"\x0a\x96\x01\x80\xc0\xa1t\x91\xa1x\x90"),
        ((FORM.encode)(&call)[..].into(), b"\x0d\x96\x01\x80\xc0\xa4move\x92\x01\x02\x90"),
    ] {
        assert_eq!(*written, *expected, "{written:x?}");
    }
}

#[test]
fn long_message_has_longer_prefix() {
    let text = "x".repeat(300);
    let result = Payload::encode(Format::MessagePack, &text).unwrap();
    let written = MessagePackProtocol.write(&ServerMessage::Result { id: "1", result: &result });
    assert_eq!(written[..2], [0xb5, 0x02]);
    assert_eq!(written.len(), 2 + 0x135);
}

/// A valid message, which the properties below corrupt.
const VALID_MESSAGE: &[u8] = b"\x96\x01\x81\xa1a\xa1b\xa11\xa4Echo\x93\xa1x\x81\xa1y\x92\x01\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00\xd6\xff1234\x91\xa1s";

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Any result is fine: decoding must only not panic.
        let _ = decoded(&bytes);
    }

    #[test]
    fn corrupted_or_truncated_message_never_panics(
        cut in 0..=VALID_MESSAGE.len(),
        corruptions in prop::collection::vec((0..VALID_MESSAGE.len(), any::<u8>()), 0..4),
    ) {
        let mut bytes = VALID_MESSAGE.to_vec();
        for (at, byte) in corruptions {
            bytes[at] = byte;
        }
        let _ = decoded(&bytes[..cut]);
    }
}
