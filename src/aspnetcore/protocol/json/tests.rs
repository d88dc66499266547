//! Decoded messages, error texts for invalid messages, and encoded messages byte for byte.

use proptest::prelude::*;

use super::*;
use crate::aspnetcore::protocol::{self, describe::describe};

/// Describes a decoded message or its error.
fn decoded(record: &str) -> String {
    decoded_bytes(record.as_bytes())
}

fn decoded_bytes(record: &[u8]) -> String {
    describe(&JsonProtocol.parse(&Bytes::copy_from_slice(record)))
}

fn assert_decoded(table: &[(&str, &str)]) {
    for (record, expected) in table {
        assert_eq!(decoded(record), *expected, "{record}");
    }
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn all_message_types_are_decoded() {
    assert_decoded(&[
        (
            r#"{"type":1,"invocationId":"0","target":"Echo","arguments":["a",{"b":[1]},null]}"#,
            r#""0" "Echo"("a", {"b":[1]}, null)"#,
        ),
        (r#"{"type":1,"target":"Echo","arguments":[]}"#, r#"- "Echo"()"#),
        (r#"{"type":1,"invocationId":"","target":"Echo","arguments":[]}"#, r#"- "Echo"()"#),
        (r#"{"type":1,"target":"Echo","arguments":[],"streamIds":["1","2"]}"#, r#"- "Echo"() sends ["1", "2"]"#),
        (r#"{"type":1,"target":"Echo","arguments":[],"streamIds":[]}"#, r#"- "Echo"()"#),
        (r#"{"type":1,"headers":{"a":"b"},"target":"","arguments":[]}"#, r#"{"a": "b"} - ""()"#),
        (r#"{"type":4,"invocationId":"1","target":"Count","arguments":[3]}"#, r#""1" "Count"(3) wants a stream"#),
        (r#"{"type":6}"#, "ping"),
        (r#"{"type":7}"#, "close "),
        (r#"{"type":7,"error":"enough","allowReconnect":true}"#, "close enough"),
    ]);
}

#[test]
fn messages_for_streams_and_results_are_decoded() {
    assert_decoded(&[
        (r#"{"type":2,"invocationId":"9","item":null}"#, "item 9 null"),
        (r#"{"item":{"a":[1]},"invocationId":"9","type":2}"#, r#"item 9 {"a":[1]}"#),
        (r#"{"type":3,"invocationId":"9"}"#, "completion 9 Void"),
        (r#"{"type":3,"invocationId":"9","result":1}"#, "completion 9 1"),
        (r#"{"type":3,"invocationId":"9","error":"no"}"#, "completion 9 error no"),
        (r#"{"type":5,"invocationId":"9"}"#, "cancel 9"),
        (r#"{"type":8,"sequenceId":1}"#, "ack 1"),
        (r#"{"type":9,"sequenceId":-1}"#, "sequence -1"),
    ]);
}

#[test]
fn unknown_types_are_decoded_as_such() {
    assert_decoded(&[
        (r#"{"type":0}"#, "unknown"),
        (r#"{"type":-1}"#, "unknown"),
        (r#"{"type":99,"target":"x"}"#, "unknown"),
    ]);
}

#[test]
fn member_order_and_unknown_members_are_irrelevant() {
    assert_decoded(&[
        (r#"{"arguments":[1],"x":{"type":6},"target":"Echo","invocationId":"1","type":1}"#, r#""1" "Echo"(1)"#),
        (r#"{"type":6,"type":1,"target":"a","target":"b","arguments":[1],"arguments":[2]}"#, r#"- "b"(2)"#),
        (" {\r\n\t\"type\" : 1 , \"target\":\"a\",\"arguments\" : [ 1 , 2 ] } ", r#"- "a"(1, 2)"#),
        (r#"{"t\u0079pe":6}"#, "ping"),
        (r#"{"type":6} and what follows"#, "ping"),
        (r#"{"type":1,"target":"\u0041\n\ud83d\ude00","arguments":["\u0041"]}"#, "- \"A\\n😀\"(\"\\u0041\")"),
    ]);
}

#[test]
fn non_object_has_expected_error() {
    for broken in
        ["", " ", "hello", "{", r#"{"type":"#, r#"{"type":6,}"#, r#"{"type":6"#, "// {}", "[1", "\"", "nul", "-"]
    {
        assert_eq!(decoded(broken), "InvalidDataException: Error reading JSON.", "{broken}");
    }
    for (value, token) in [
        ("[1]", "Array"),
        ("\"text\"", "String"),
        ("null", "Null"),
        ("true", "True"),
        ("false", "False"),
        ("7", "Number"),
        (" -7", "Number"),
    ] {
        let expected = format!("InvalidDataException: Unexpected JSON Token Type '{token}'. Expected a JSON Object.");
        assert_eq!(decoded(value), expected, "{value}");
    }
}

#[test]
fn missing_member_is_named() {
    for (record, name) in [
        ("{}", "type"),
        (r#"{"Type":6}"#, "type"),
        (r#"{"type":1,"arguments":[]}"#, "target"),
        (r#"{"type":1,"target":"a"}"#, "arguments"),
        (r#"{"type":1}"#, "target"),
        (r#"{"type":2,"item":1}"#, "invocationId"),
        (r#"{"type":2,"invocationId":"1"}"#, "item"),
        (r#"{"type":3}"#, "invocationId"),
        (r#"{"type":3,"invocationId":""}"#, "invocationId"),
        (r#"{"type":4,"target":"a","arguments":[]}"#, "invocationId"),
        (r#"{"type":4,"invocationId":"","target":"a","arguments":[]}"#, "invocationId"),
        (r#"{"type":4,"invocationId":"1","arguments":[]}"#, "target"),
        (r#"{"type":4,"invocationId":"1","target":"a"}"#, "arguments"),
        (r#"{"type":5}"#, "invocationId"),
        (r#"{"type":5,"invocationId":""}"#, "invocationId"),
        (r#"{"type":8}"#, "sequenceId"),
        (r#"{"type":9}"#, "sequenceId"),
    ] {
        assert_eq!(decoded(record), format!("InvalidDataException: Missing required property '{name}'."), "{record}");
    }
}

#[test]
fn wrong_member_type_error_names_expected_type() {
    for (member, expected) in [
        (r#""type":"1""#, "'type' to be of type Number"),
        (r#""type":null"#, "'type' to be of type Number"),
        (r#""invocationId":1"#, "'invocationId' to be of type String"),
        (r#""invocationId":null"#, "'invocationId' to be of type String"),
        (r#""target":null"#, "'target' to be of type String"),
        (r#""target":["a"]"#, "'target' to be of type String"),
        (r#""arguments":null"#, "'arguments' to be of type Array"),
        (r#""arguments":{"0":1}"#, "'arguments' to be of type Array"),
        (r#""arguments":"[]""#, "'arguments' to be of type Array"),
        (r#""streamIds":null"#, "'streamIds' to be of type Array"),
        (r#""streamIds":"1""#, "'streamIds' to be of type Array"),
        (r#""headers":null"#, "'headers' to be of type StartObject"),
        (r#""headers":[]"#, "'headers' to be of type StartObject"),
        (r#""error":null"#, "'error' to be of type String"),
        (r#""error":5"#, "'error' to be of type String"),
        (r#""allowReconnect":"true""#, "'allowReconnect' to be true or false"),
        (r#""allowReconnect":null"#, "'allowReconnect' to be true or false"),
        (r#""sequenceId":"1""#, "'sequenceId' to be of type Number"),
    ] {
        let record = format!("{{\"type\":6,{member}}}");
        assert_eq!(decoded(&record), format!("InvalidDataException: Expected {expected}."), "{record}");
    }
}

#[test]
fn invalid_member_value_is_rejected() {
    let not_an_int =
        "FormatException: Either the JSON value is not in a supported format, or is out of bounds for an Int32.";
    assert_decoded(&[
        (r#"{"type":1.5}"#, not_an_int),
        (r#"{"type":6e0}"#, not_an_int),
        (r#"{"type":2147483648}"#, not_an_int),
        (r#"{"type":1,"headers":{"a":1}}"#, "InvalidDataException: Expected header 'a' to be of type String."),
        (r#"{"type":1,"streamIds":[null]}"#, "InvalidDataException: Null value for 'streamIds' is not valid."),
        (
            r#"{"type":3,"invocationId":"1","error":"e","result":1}"#,
            "InvalidDataException: The 'error' and 'result' properties are mutually exclusive.",
        ),
        (r#"{"type":2,"invocationId":"","item":1}"#, "KeyNotFoundException: No stream with id '' could be found."),
    ]);
}

#[test]
fn first_invalid_member_is_reported() {
    assert_decoded(&[
        (r#"{"target":5,"type":"1"}"#, "InvalidDataException: Expected 'target' to be of type String."),
        (r#"{"type":"1","target":5}"#, "InvalidDataException: Expected 'type' to be of type Number."),
    ]);
}

#[test]
fn nesting_depth_is_limited_to_64() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
        decoded(&format!("{{\"type\":1,\"target\":\"a\",\"arguments\":[{open}{close}]}}"))
    };
    assert!(nested(64).starts_with("- \"a\"("));
    assert_eq!(nested(65), "InvalidDataException: Error reading JSON.");
    assert_eq!(nested(100_000), "InvalidDataException: Error reading JSON.");
    let brackets_in_text = format!("{{\"type\":1,\"target\":\"{}\",\"arguments\":[]}}", "[".repeat(100));
    assert!(decoded(&brackets_in_text).starts_with("- \"[["));
}

#[test]
fn invalid_utf8_poisons_only_its_argument() {
    let in_argument = b"{\"type\":1,\"target\":\"a\",\"arguments\":[\"\xff\",1]}";
    assert_eq!(decoded_bytes(in_argument), r#"- "a"("\ud800", 1)"#);
    let in_item = b"{\"type\":2,\"invocationId\":\"1\",\"item\":\"\xff\"}";
    assert_eq!(decoded_bytes(in_item), r#"item 1 "\ud800""#);
    let in_target = b"{\"type\":1,\"target\":\"\xff\",\"arguments\":[]}";
    assert_eq!(decoded_bytes(in_target), "InvalidDataException: Error reading JSON.");
}

#[test]
fn messages_are_encoded_exactly() {
    let result = Payload::encode(Format::Json, &serde_json::json!({"a": [1, null]})).unwrap();
    let call = message::Invocation::new(&"chat".into(), "say \"x\"", &("a", 1)).unwrap();
    let write = |message| JsonProtocol.write(&message);
    let close = |error, allows_reconnect| write(ServerMessage::Close { error, allows_reconnect });
    let question = ServerMessage::Invocation { id: Some("s1"), target: "ask", arguments: br#"["?"]"# };
    for (written, expected) in [
        (
            write(ServerMessage::Result { id: "1", result: &result }),
            r#"{"type":3,"invocationId":"1","result":{"a":[1,null]}}"#,
        ),
        (
            write(ServerMessage::Error { id: "\"", error: "no\nway" }),
            r#"{"type":3,"invocationId":"\"","error":"no\nway"}"#,
        ),
        (
            write(ServerMessage::StreamItem { id: "1", item: &result }),
            r#"{"type":2,"invocationId":"1","item":{"a":[1,null]}}"#,
        ),
        (write(ServerMessage::StreamEnd { id: "1" }), r#"{"type":3,"invocationId":"1"}"#),
        (write(ServerMessage::Ping), r#"{"type":6}"#),
        (close(None, false), r#"{"type":7}"#),
        (close(None, true), r#"{"type":7,"allowReconnect":true}"#),
        (close(Some("enough"), false), r#"{"type":7,"error":"enough"}"#),
        (close(Some("enough"), true), r#"{"type":7,"error":"enough","allowReconnect":true}"#),
        (write(question), r#"{"type":1,"invocationId":"s1","target":"ask","arguments":["?"]}"#),
        (
            protocol::write_invocation(&JsonProtocol, "tell", &"you"),
            r#"{"type":1,"target":"tell","arguments":["you"]}"#,
        ),
        ((FORM.encode)(&call)[..].into(), r#"{"type":1,"target":"say \"x\"","arguments":["a",1]}"#),
    ] {
        assert_eq!(text(&written), format!("{expected}\u{1e}"));
    }
}

/// A valid message, which the properties below corrupt.
const VALID_MESSAGE: &str = r#"{"type":1,"invocationId":"12","headers":{"a":"b"},"target":"Echo \u00e9","arguments":["x",{"y":[1.5,null]}],"streamIds":["1"],"allowReconnect":true,"sequenceId":3}"#;

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Any result is fine: decoding must only not panic.
        let _ = decoded_bytes(&bytes);
    }

    #[test]
    fn corrupted_or_truncated_message_never_panics(
        cut in 0..=VALID_MESSAGE.len(),
        corruptions in prop::collection::vec((0..VALID_MESSAGE.len(), any::<u8>()), 0..4),
    ) {
        let mut bytes = VALID_MESSAGE.as_bytes().to_vec();
        for (at, byte) in corruptions.clone() {
            bytes[at] = byte;
        }
        let decoded = decoded_bytes(&bytes[..cut]);
        let is_only_truncated = cut < VALID_MESSAGE.len() && corruptions.is_empty();
        prop_assert!(!is_only_truncated || decoded.ends_with("Error reading JSON."), "{}", decoded);
    }

    #[test]
    fn arbitrary_text_round_trips(target in any::<String>(), argument in any::<String>()) {
        let record = protocol::write_invocation(&JsonProtocol, &target, &argument);
        let (end, message) = record.split_last().unwrap();
        prop_assert_eq!(*end, SEPARATOR);
        prop_assert!(!message.contains(&SEPARATOR), "a separator within a string is escaped");
        match JsonProtocol.parse(&Bytes::copy_from_slice(message)) {
            Ok(ClientMessage::Invocation(protocol::Invocation { target: read, arguments: Ok(arguments), .. })) => {
                prop_assert_eq!(read, target);
                prop_assert_eq!(arguments.len(), 1);
                prop_assert_eq!(arguments[0].decode::<String>().unwrap(), argument);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
