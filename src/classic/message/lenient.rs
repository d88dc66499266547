//! The JSON of hand-made clients. Wire: the parser of ASP.NET SignalR accepts more than the standard: single quotes,
//! names without quotes, comments, a comma at the end, repeated names, of which the last counts, and text after the
//! message. Clients that build messages by hand depend on it.

use std::borrow::Cow;

use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde::Deserialize;
use serde_json::Value;

/// Parses a message leniently; `None` if it is no object. Numbers are converted to 64 bits, and the members of objects
/// are sorted.
pub(super) fn parse(text: &str) -> Option<Value> {
    // Only this parser accepts text after the message.
    let first = Value::deserialize(&mut serde_json::Deserializer::from_str(text)).ok();
    // Wire: ASP.NET SignalR refuses a missing comma.
    let options = ParseOptions { allow_missing_commas: false, ..ParseOptions::default() };
    first.or_else(|| parse_to_serde_value(text, &options).ok()).filter(Value::is_object)
}

/// Wire: an escaped lone surrogate, which scripts produce when they cut a string, is replaced by U+FFFD.
pub(super) fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        let length = escape_len(escape);
        let (escape, behind) = escape.split_at(length);
        let is_lone_surrogate = matches!(utf16_unit(escape), Some(0xd800..0xe000)) && length == UNIT_ESCAPE_LEN;
        out.push_str(plain);
        out.push_str(if is_lone_surrogate { "\u{fffd}" } else { escape });
        rest = behind;
    }
    if out.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(out + rest) }
}

/// The length of an escaped UTF-16 code unit, such as `\uD83D`.
const UNIT_ESCAPE_LEN: usize = 6;

fn utf16_unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

/// The length of the escape at the start of a text. A surrogate pair counts as one escape.
fn escape_len(text: &str) -> usize {
    let is_low = |text: &str| matches!(utf16_unit(text), Some(0xdc00..0xe000));
    match utf16_unit(text) {
        Some(0xd800..0xdc00) if is_low(&text[UNIT_ESCAPE_LEN..]) => 2 * UNIT_ESCAPE_LEN,
        Some(_) => UNIT_ESCAPE_LEN,
        None => text.char_indices().nth(2).map_or(text.len(), |(at, _)| at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogate_becomes_replacement_character() {
        for (text, expected) in [
            (r#""\ud83d""#, "\"\u{fffd}\""),
            (r#""\uDC22x\ud83d\ud83d\udc22""#, "\"\u{fffd}x\u{fffd}\\ud83d\\udc22\""),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\u00e9\n\ud83d\n""#, "\"\\u00e9\\n\u{fffd}\\n\""),
            (r#""\ud8""#, r#""\ud8""#),
            ("\\", "\\"),
            ("\\é\\", "\\é\\"),
            ("plain", "plain"),
        ] {
            assert_eq!(replace_lone_surrogates(text), expected, "{text}");
        }
    }

    #[test]
    fn text_that_no_parser_accepts_is_refused() {
        let deep = "[".repeat(60_000);
        for text in
            ["", "not json", "7", "[]", "{", "{'a':1", "{'a' 1}", "{a:['b' 'c']}", &deep, &format!("{{a:{deep}")]
        {
            assert_eq!(parse(text), None, "{}", &text[..text.len().min(10)]);
        }
    }
}
