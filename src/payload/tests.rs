//! Encoded values byte for byte, and values that are passed on.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde_json::json;

use super::*;

fn pack(value: &(impl Serialize + ?Sized)) -> Payload {
    Payload::encode(Format::MessagePack, value).unwrap()
}

fn json(value: &(impl Serialize + ?Sized)) -> Payload {
    Payload::encode(Format::Json, value).unwrap()
}

fn packed(bytes: &[u8]) -> Payload {
    Payload::from_encoded(Format::MessagePack, Bytes::copy_from_slice(bytes))
}

fn text(payload: &Payload) -> &str {
    payload.as_json().unwrap()
}

#[derive(Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Point {
    side: Side,
    x: Option<i32>,
}

#[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
enum Side {
    Left,
}

#[test]
fn structs_are_maps_with_field_names() {
    let point = Point { side: Side::Left, x: None };
    assert_eq!(pack(&point).as_bytes(), b"\x82\xa4Side\xa4Left\xa1X\xc0");
    assert_eq!(text(&json(&point)), r#"{"Side":"Left","X":null}"#);
    let point: Point = packed(b"\x82\xa1X\x05\xa4Side\xa4Left").decode().unwrap();
    assert_eq!((point.side, point.x), (Side::Left, Some(5)));
}

#[test]
fn integers_have_their_shortest_form() {
    for (number, bytes) in [
        (0_i64, &b"\x00"[..]),
        (127, b"\x7f"),
        (128, b"\xcc\x80"),
        (256, b"\xcd\x01\x00"),
        (65_536, b"\xce\x00\x01\x00\x00"),
        (4_294_967_296, b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        (-1, b"\xff"),
        (-33, b"\xd0\xdf"),
        (-129, b"\xd1\xff\x7f"),
        (-32_769, b"\xd2\xff\xff\x7f\xff"),
        (-2_147_483_649, b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
    ] {
        assert_eq!(pack(&number).as_bytes(), bytes, "{number}");
        assert_eq!(packed(bytes).decode(), Ok(number));
    }
}

#[test]
fn message_pack_numbers_bind_within_their_range() {
    assert_eq!(packed(b"\xd3\x00\x00\x00\x00\x00\x00\x00\x05").decode(), Ok(5_i32), "an integer of any width");
    for wrong in [&b"\xce\x80\x00\x00\x00"[..], b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", b"\xa11", b"\xc0", b"\xc3"] {
        assert!(packed(wrong).decode::<i32>().is_err(), "{wrong:x?}");
    }
    assert_eq!(packed(b"\x03").decode(), Ok(3.0_f64));
    assert_eq!(packed(b"\xca\x3f\x00\x00\x00").decode(), Ok(0.5_f64));
    assert_eq!(pack(&0.5_f64).as_bytes(), b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00");
    assert!(packed(b"\x01").decode::<bool>().is_err());
}

#[test]
fn arguments_are_an_array_in_message_pack() {
    let encode = |bytes: Result<Vec<u8>, EncodeError>| bytes.unwrap();
    assert_eq!(encode(message_pack::encode_arguments(&("a", 1))), b"\x92\xa1a\x01");
    assert_eq!(encode(message_pack::encode_arguments(&())), b"\x90");
    assert_eq!(encode(message_pack::encode_arguments(&None::<u8>)), b"\x91\xc0");
    assert_eq!(encode(message_pack::encode_arguments(&7)), b"\x91\x07");
    assert_eq!(encode(message_pack::encode_arguments(&BTreeMap::from([("a", 1)]))), b"\x91\x81\xa1a\x01");
    assert_eq!(encode(message_pack::encode_arguments(&[0_u8; 16]))[..3], *b"\xdc\x00\x10");
}

#[test]
fn binary_is_base64_or_bin() {
    let bytes = Binary(vec![1, 2, 3]);
    assert_eq!(text(&json(&bytes)), r#""AQID""#);
    assert_eq!(pack(&bytes).as_bytes(), b"\xc4\x03\x01\x02\x03");
    assert_eq!(json("AQID").decode(), Ok(bytes.clone()));
    assert!(json("AQI").decode::<Binary>().is_err(), "Base64 without padding");
    for bin in [&b"\xc4\x03\x01\x02\x03"[..], b"\x93\x01\x02\x03", b"\xa3\x01\x02\x03"] {
        assert_eq!(packed(bin).decode(), Ok(bytes.clone()), "{bin:x?}");
    }
    assert_eq!(packed(b"\xc0").decode(), Ok(None::<Binary>));
    assert!(packed(b"\x05").decode::<Binary>().is_err());
}

#[test]
fn timestamp_is_iso_8601_or_extension() {
    for (iso, extension) in [
        ("2000-01-01T00:00:00Z", &b"\xd6\xff\x38\x6d\x43\x80"[..]),
        ("2000-01-01T00:00:00.1230208Z", b"\xd7\xff\x1d\x54\x98\x00\x38\x6d\x43\x80"),
        ("1936-11-21T19:50:08Z", b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xc1\xb8\xd9\xf0"),
    ] {
        let time: Timestamp = packed(extension).decode().unwrap();
        assert_eq!(text(&json(&time)), format!("\"{iso}\""));
        assert_eq!(pack(&json(iso).decode::<Timestamp>().unwrap()).as_bytes(), extension, "{iso}");
    }
    for not_a_time in [&b"\xa0"[..], b"\x00", b"\xc0", b"\xd6\x01\x38\x6d\x43\x80", b"\xd5\xff\x00\x00"] {
        assert!(packed(not_a_time).decode::<Timestamp>().is_err(), "{not_a_time:x?}");
    }
}

#[test]
fn json_time_keeps_its_zone_and_shortest_fraction() {
    for (read, written) in [
        ("2000-01-01", "2000-01-01T00:00:00"),
        ("2000-01-01T01:02:03.4500000", "2000-01-01T01:02:03.45"),
        ("2000-01-01T01:02:03.1234567Z", "2000-01-01T01:02:03.1234567Z"),
        ("2000-01-01T01:00:00+02:00", "1999-12-31T23:00:00Z"),
        // The limits of .NET's DateTime.
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"),
    ] {
        assert_eq!(text(&json(&json(read).decode::<Timestamp>().unwrap())), format!("\"{written}\""));
    }
    assert!(json("today").decode::<Timestamp>().is_err());
}

#[test]
fn timestamp_converts_to_system_time() {
    for time in [SystemTime::UNIX_EPOCH - Duration::new(5, 100), SystemTime::UNIX_EPOCH + Duration::new(7, 999_999_900)]
    {
        assert_eq!(SystemTime::from(Timestamp::from(time)), time);
    }
}

#[test]
fn passed_on_value_keeps_its_encoding() {
    for value in ["5", "\"x\"", "null", "[1,2]", r#"{"b":1.0,"a":"2"}"#] {
        let received: (Payload,) = Payload::from_encoded(Format::Json, format!("[{value}]").into()).decode().unwrap();
        assert_eq!(text(&json(&received)), format!("[{value}]"));
    }
    for value in [&b"\xca\x3f\x00\x00\x00"[..], b"\xc4\x01\x07", b"\xd6\xff\x38\x6d\x43\x80", b"\x81\x01\xc0"] {
        let received: (Payload,) = packed(&[b"\x91", value].concat()).decode().unwrap();
        assert_eq!(pack(&received).as_bytes()[1..], *value);
    }
}

#[test]
fn passed_on_value_is_converted_to_the_format_of_the_recipient() {
    let from_json: Payload = json(&json!({"a": [1, null]})).decode().unwrap();
    assert_eq!(pack(&from_json).as_bytes(), b"\x81\xa1a\x92\x01\xc0");
    let from_message_pack: Payload = packed(b"\x82\xa1a\xc4\x01\x07\x05\xd6\xff\x38\x6d\x43\x80").decode().unwrap();
    assert_eq!(text(&json(&from_message_pack)), r#"{"5":null,"a":"Bw=="}"#);
}

#[test]
fn lists_and_maps_as_keys_have_no_json() {
    // Maps that are keys of one another, 100 deep.
    let nested = [b"\x81".repeat(100), b"\xc0".repeat(101)].concat();
    for bytes in [&nested[..], b"\x81\x90\x01", b"\x91\x81\x81\x01\x02\x03"] {
        let value = packed(bytes);
        assert!(Payload::encode(Format::Json, &value).is_err(), "{bytes:x?}");
        assert_eq!(pack(&value).as_bytes(), bytes);
    }
    assert_eq!(text(&json(&packed(b"\x82\x01\x02\xc3\x90"))), r#"{"1":2,"true":[]}"#);
}

#[test]
fn message_pack_depth_is_limited() {
    let nested = |depth| packed(&[&vec![0x91; depth][..], b"\x01"].concat());
    assert!(nested(120).decode::<Payload>().is_ok());
    assert!(nested(130).decode::<Payload>().is_err());
    assert!(nested(30_000).decode::<Payload>().is_err());
}
