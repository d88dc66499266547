//! Answers as scripts (JSONP): an answer becomes the argument of a function that the page has named.

use memchr::memchr3_iter;
use serde_json::Value;

/// The function that a page wants its answer to be passed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Callback(Box<str>);

/// What was named is no function. It is never echoed: whatever stands there would run in the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The callback is not a chain of JavaScript identifiers.")]
pub(super) struct BadCallback;

impl Callback {
    /// Takes a chain of identifiers, such as `jQuery.callbacks.cb1`.
    pub(super) fn parse(text: &str) -> Result<Self, BadCallback> {
        if text.split('.').all(is_identifier) { Ok(Self(text.into())) } else { Err(BadCallback) }
    }

    /// The script that passes `json` to the function.
    pub(super) fn wrap(&self, json: &[u8]) -> Vec<u8> {
        let mut script = format!("{}(", self.0).into_bytes();
        escape_into(json, &mut |bytes| script.extend_from_slice(bytes));
        script.extend_from_slice(b");");
        script
    }
}

fn is_identifier(name: &str) -> bool {
    let is_first = |c: char| c.is_alphabetic() || c == '$' || c == '_';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_numeric()) && !RESERVED.contains(&name)
}

/// Wire: ECMA-262, the words that are no identifiers, in any mode.
const RESERVED: &[&str] = &[
    "abstract",
    "arguments",
    "await",
    "boolean",
    "break",
    "byte",
    "case",
    "catch",
    "char",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "double",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "final",
    "finally",
    "float",
    "for",
    "function",
    "goto",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "int",
    "interface",
    "let",
    "long",
    "native",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "short",
    "static",
    "super",
    "switch",
    "synchronized",
    "this",
    "throw",
    "throws",
    "transient",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "volatile",
    "while",
    "with",
    "yield",
];

/// Passes JSON on, escaped for the inside of a script: no tag can begin or end in it, and no line.
pub(super) fn escape_into(json: &[u8], write: &mut impl FnMut(&[u8])) {
    let mut rest = json;
    while let Some((at, length, escape)) = next_escape(rest) {
        write(&rest[..at]);
        write(escape);
        rest = &rest[at + length..];
    }
    write(rest);
}

/// Wire: `<`, `>`, and the two separators that end a line in a script but not in JSON.
fn next_escape(json: &[u8]) -> Option<(usize, usize, &'static [u8])> {
    let escape_at = |at: usize| -> Option<(usize, usize, &'static [u8])> {
        match &json[at..] {
            [b'<', ..] => Some((at, 1, br"\u003c")),
            [b'>', ..] => Some((at, 1, br"\u003e")),
            [0xe2, 0x80, 0xa8, ..] => Some((at, 3, br"\u2028")),
            [0xe2, 0x80, 0xa9, ..] => Some((at, 3, br"\u2029")),
            _ => None,
        }
    };
    memchr3_iter(b'<', b'>', 0xe2, json).find_map(escape_at)
}

/// A text as a JSON string that may stand in a script.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = Vec::new();
    escape_into(Value::from(text).to_string().as_bytes(), &mut |bytes| quoted.extend_from_slice(bytes));
    String::from_utf8_lossy(&quoted).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_a_chain_of_identifiers() {
        for good in ["cb", "a.b.c", "$_1", "jQuery19_7", "über.x"] {
            assert_eq!(Callback::parse(good), Ok(Callback(good.into())));
        }
        for bad in ["", "a(b", "1a", "a..b", ".a", "a.", "x;alert(1)", "if", "a.if", "a b", "a[0]", "</script>"] {
            assert_eq!(Callback::parse(bad), Err(BadCallback), "{bad}");
        }
    }

    #[test]
    fn however_many_letters_begin_like_an_escape_they_pass() {
        let json = format!("\"{}\"", "☃".repeat(100_000));
        let script = Callback::parse("cb").unwrap().wrap(json.as_bytes());
        assert_eq!(script.len(), json.len() + "cb();".len());
    }

    #[test]
    fn what_is_wrapped_can_neither_end_the_script_nor_the_line() {
        let json = "{\"a\":\"</script>\u{2028}\u{2029}é☃\"}";
        let script = Callback::parse("cb").unwrap().wrap(json.as_bytes());
        assert_eq!(String::from_utf8(script).unwrap(), r#"cb({"a":"\u003c/script\u003e\u2028\u2029é☃"});"#);
    }
}
