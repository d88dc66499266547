//! JSON on a single line, without insignificant white space.
//!
//! Event streams and forever frames end a message at a line end. A raw value that a client has sent keeps the client's
//! white space until it is encoded here. U+0085, U+2028 and U+2029 are line ends for the line parsers of some clients
//! and are legal inside JSON strings. Wire: both reference servers escape them on every transport.

use std::io::{self, Write};

use memchr::memchr2_iter;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Encodes a value as JSON on a single line.
///
/// # Errors
/// The error of the value if it cannot be represented in JSON.
pub(crate) fn to_line(value: &(impl Serialize + ?Sized)) -> Result<String, serde_json::Error> {
    let mut line = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut line, SingleLine))?;
    Ok(String::from_utf8(line).expect("JSON text is valid UTF-8"))
}

/// Encodes a text as a JSON string on a single line.
pub(crate) fn quote(text: &str) -> String {
    to_line(text).expect("a string always serializes")
}

/// The nesting depth of a JSON text: 0 for a scalar.
pub(crate) fn json_depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Writes compact JSON. Raw values are the only part of a value that can contain white space.
struct SingleLine;

impl Formatter for SingleLine {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        write_without_line_ends(writer, fragment)
    }

    fn write_raw_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(start) = rest.find('"') {
            let (tokens, string) = rest.split_at(start);
            let (string, behind) = string.split_at(string_len(string));
            write_without_white_space(writer, tokens)?;
            write_without_line_ends(writer, string)?;
            rest = behind;
        }
        write_without_white_space(writer, rest)
    }
}

/// The length of the JSON string at the start of a text, quotes included.
fn string_len(text: &str) -> usize {
    let mut is_escaped = false;
    let closes = |byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    };
    text.bytes().skip(1).position(closes).map_or(text.len(), |at| at + 2)
}

fn write_without_white_space<W: ?Sized + Write>(writer: &mut W, tokens: &str) -> io::Result<()> {
    tokens.split([' ', '\t', '\n', '\r']).try_for_each(|part| writer.write_all(part.as_bytes()))
}

fn write_without_line_ends<W: ?Sized + Write>(writer: &mut W, text: &str) -> io::Result<()> {
    let (bytes, mut written) = (text.as_bytes(), 0);
    for at in memchr2_iter(0xc2, 0xe2, bytes) {
        let (length, escape) = match &bytes[at..] {
            [0xc2, 0x85, ..] => (2, br"\u0085"),
            [0xe2, 0x80, 0xa8, ..] => (3, br"\u2028"),
            [0xe2, 0x80, 0xa9, ..] => (3, br"\u2029"),
            _ => continue,
        };
        writer.write_all(&bytes[written..at])?;
        writer.write_all(escape)?;
        written = at + length;
    }
    writer.write_all(&bytes[written..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, value::RawValue};

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    #[test]
    fn raw_value_loses_its_white_space() {
        for (json, line) in [
            ("{\r\n\t\"a b\" :\n[ 1 , true ,null ]\n}", r#"{"a b":[1,true,null]}"#),
            (r#"["a \" b", "c\\" , "\\\" d"]"#, r#"["a \" b","c\\","\\\" d"]"#),
            (r#"[" "]"#, r#"[" "]"#),
            ("1.10", "1.10"),
        ] {
            assert_eq!(to_line(&(raw(json),)).unwrap(), format!("[{line}]"));
        }
    }

    #[test]
    fn line_ends_inside_strings_are_escaped() {
        let text = "a\u{85}b\u{2028}c\u{2029}\r\n\u{a0}é☃\u{2027}";
        let line = "\"a\\u0085b\\u2028c\\u2029\\r\\n\u{a0}é☃\u{2027}\"";
        assert_eq!(quote(text), line);
        assert_eq!(to_line(&raw("\"\u{85}\u{2028}\u{2029}\"")).unwrap(), r#""\u0085\u2028\u2029""#);
        assert_eq!(to_line(&Value::from_iter([(text, 1)])).unwrap(), format!("{{{line}:1}}"));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn raw_value_is_encoded_like_typed_value(value in values()) {
            let line = to_line(&value).unwrap();
            let line_ends = ['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}'];
            prop_assert!(!line.contains(line_ends));
            prop_assert_eq!(&to_line(&raw(&serde_json::to_string_pretty(&value).unwrap())).unwrap(), &line);
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }
    }
}
