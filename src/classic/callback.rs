//! JSONP: a response becomes a script that calls a function of the page with the response as its argument.

use memchr::memchr3_iter;

use crate::payload;

/// The name of the function that gets the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Callback(Box<str>);

/// The name is not a valid callback. It is never echoed, because it would run as script in the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The callback is not a chain of JavaScript identifiers.")]
pub(super) struct InvalidCallback;

impl Callback {
    /// Parses a chain of identifiers, such as `jQuery.callbacks.cb1`.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidCallback> {
        if text.split('.').all(is_identifier) { Ok(Self(text.into())) } else { Err(InvalidCallback) }
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
    let is_start = |c: char| c.is_alphabetic() || c == '$' || c == '_';
    name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_numeric()) && !RESERVED_WORDS.contains(&name)
}

/// Wire: ECMA-262, the words that are not identifiers in at least one mode.
const RESERVED_WORDS: &[&str] = &[
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

/// Writes JSON with the escapes that a script needs: no tag and no line can start or end inside.
pub(super) fn escape_into(json: &[u8], write: &mut impl FnMut(&[u8])) {
    let mut rest = json;
    while let Some((at, length, escape)) = next_escape(rest) {
        write(&rest[..at]);
        write(escape);
        rest = &rest[at + length..];
    }
    write(rest);
}

/// Finds the next character to escape. Wire: `<`, `>`, and the two separators that end a line in a script but not in
/// JSON.
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

/// Encodes a text as a JSON string that is safe inside a script.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = Vec::new();
    escape_into(payload::quote(text).as_bytes(), &mut |bytes| quoted.extend_from_slice(bytes));
    String::from_utf8_lossy(&quoted).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callback_is_a_chain_of_identifiers() {
        for good in ["cb", "a.b.c", "$_1", "jQuery19_7", "über.x"] {
            assert_eq!(Callback::parse(good), Ok(Callback(good.into())));
        }
        for bad in ["", "a(b", "1a", "a..b", ".a", "a.", "x;alert(1)", "if", "a.if", "a b", "a[0]", "</script>"] {
            assert_eq!(Callback::parse(bad), Err(InvalidCallback), "{bad}");
        }
    }

    #[test]
    fn letters_that_start_like_an_escape_pass() {
        let json = format!("\"{}\"", "☃".repeat(100_000));
        let script = Callback::parse("cb").unwrap().wrap(json.as_bytes());
        assert_eq!(script.len(), json.len() + "cb();".len());
    }

    #[test]
    fn json_cannot_end_script_or_line() {
        let json = "{\"a\":\"</script>\u{2028}\u{2029}é☃\"}";
        let script = Callback::parse("cb").unwrap().wrap(json.as_bytes());
        assert_eq!(String::from_utf8(script).unwrap(), r#"cb({"a":"\u003c/script\u003e\u2028\u2029é☃"});"#);
    }
}
