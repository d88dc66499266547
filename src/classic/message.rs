//! What clients say and are told: calls, results, progress.
//!
//! Wire: members of an object are named by single letters; what is null is left out, but for the id of a
//! result. Clients' members are found in either case.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::callback::quote;
use crate::{
    hub::HubError,
    message::{Invocation, Json, WireForm, depth_of},
};

/// Broadcasts in this form.
pub(super) static FORM: WireForm = WireForm { slot: 2, encode: invocation };

fn invocation(call: &Invocation) -> Bytes {
    let (hub, target) = (plain(&call.hub), plain(&call.target));
    let state =
        if call.state.is_empty() { String::new() } else { format!(r#","S":{}"#, serde_json::json!(call.state)) };
    format!(r#"{{"H":{hub},"M":{target},"A":{}{state}}}"#, call.arguments).into()
}

/// A text as a JSON string.
fn plain(text: &str) -> String {
    Value::from(text).to_string()
}

/// Wire: the most that a client's state may hold, in characters of JSON, and how deep it and arguments nest.
const LONGEST_STATE: usize = 4096;
pub(super) const DEEPEST: usize = 20;

/// A client's call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) hub: String,
    pub(super) method: String,
    pub(super) arguments: Vec<Json>,
    pub(super) id: Id,
    pub(super) state: Map<String, Value>,
}

/// What names a call for its client. Wire: whatever it was, it comes back as a text; absent, as null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Id(Option<String>);

/// Why something is no call. Wire: over a WebSocket nothing is said of it, since there is nothing that a
/// client would understand; over HTTP the request is refused with this text.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidInvocation {
    #[error("The message is no invocation: {0}.")]
    Unreadable(#[from] serde_json::Error),
    #[error("The message is no JSON object.")]
    NoObject,
    #[error("The message names no {0}.")]
    Missing(&'static str),
    #[error("The id of an invocation is a plain value.")]
    BadId,
    #[error("State has exceeded the maximum length of 4096 bytes.")]
    LongState,
    #[error("State may nest 20 deep.")]
    DeepState,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(rename = "H", alias = "h", borrow, default)]
    hub: Option<Cow<'a, str>>,
    #[serde(rename = "M", alias = "m", borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(rename = "A", alias = "a", default)]
    arguments: Option<Vec<Json>>,
    #[serde(rename = "I", alias = "i", borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(rename = "S", alias = "s", borrow, default)]
    state: Option<&'a RawValue>,
}

/// Wire: half of a character, as scripts make of a text that they cut, counts as U+FFFD.
fn mended(text: &str) -> Cow<'_, str> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        let length = escape_length(escape);
        let (escape, behind) = escape.split_at(length);
        let is_half = matches!(unit(escape), Some(0xd800..0xe000)) && length == UNIT;
        out.push_str(plain);
        out.push_str(if is_half { "\u{fffd}" } else { escape });
        rest = behind;
    }
    if out.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(out + rest) }
}

/// How long an escaped UTF-16 unit is: `\uD83D`.
const UNIT: usize = 6;

fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

/// The length of the escape that a text begins with: a whole character, or a half that has no other.
fn escape_length(text: &str) -> usize {
    let is_low = |text: &str| matches!(unit(text), Some(0xdc00..0xe000));
    match unit(text) {
        Some(0xd800..0xdc00) if is_low(&text[UNIT..]) => 2 * UNIT,
        Some(_) => UNIT,
        None => text.char_indices().nth(2).map_or(text.len(), |(at, _)| at),
    }
}

/// Reads what a client has sent.
pub(super) fn decode(text: &str) -> Result<Call, InvalidInvocation> {
    let text = &*mended(text);
    if !text.trim_start().starts_with('{') {
        return Err(InvalidInvocation::NoObject);
    }
    let members: Members<'_> = serde_json::from_str(text)?;
    let named = |name: Option<Cow<'_, str>>, what| {
        name.filter(|name| !name.is_empty()).map(Cow::into_owned).ok_or(InvalidInvocation::Missing(what))
    };
    Ok(Call {
        hub: named(members.hub, "hub")?,
        method: named(members.method, "method")?,
        arguments: members.arguments.unwrap_or_default(),
        id: id_of(members.id)?,
        state: members.state.map_or(Ok(Map::new()), state_of)?,
    })
}

fn id_of(id: Option<&RawValue>) -> Result<Id, InvalidInvocation> {
    let Some(json) = id.map(RawValue::get) else { return Ok(Id(None)) };
    match json.as_bytes() {
        [b'{' | b'[', ..] => Err(InvalidInvocation::BadId),
        [b'"', ..] => Ok(Id(Some(serde_json::from_str(json)?))),
        b"null" => Ok(Id(None)),
        _ => Ok(Id(Some(json.to_owned()))),
    }
}

fn state_of(json: &RawValue) -> Result<Map<String, Value>, InvalidInvocation> {
    let text = json.get();
    if text.chars().count() > LONGEST_STATE {
        return Err(InvalidInvocation::LongState);
    }
    if depth_of(text) > DEEPEST {
        return Err(InvalidInvocation::DeepState);
    }
    Ok(serde_json::from_str::<Option<_>>(text)?.unwrap_or_default())
}

/// The answer to a call. Wire: in this order.
#[derive(Debug, Default, Serialize)]
pub(super) struct Completion<'a> {
    #[serde(rename = "S", skip_serializing_if = "Map::is_empty")]
    pub(super) state: Map<String, Value>,
    #[serde(rename = "R", skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'a RawValue>,
    #[serde(rename = "I")]
    pub(super) id: Id,
    #[serde(rename = "H", skip_serializing_if = "Option::is_none")]
    is_for_clients: Option<bool>,
    #[serde(rename = "E", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(rename = "D", skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> Completion<'a> {
    /// A method's result; null is none.
    pub(super) fn result(result: &'a RawValue) -> Self {
        Self { result: Some(result).filter(|result| result.get() != "null"), ..Self::default() }
    }

    /// A failure that is the server's own affair.
    pub(super) fn failure(text: String) -> Self {
        Self { error: Some(text), ..Self::default() }
    }

    /// A failure that is meant for the client.
    pub(super) fn error(error: &'a HubError) -> Self {
        Self {
            is_for_clients: Some(true),
            error: Some(error.message().to_owned()),
            data: error.data().map(|data| &**data),
            ..Self::default()
        }
    }

    /// The answer on the wire.
    pub(super) fn encode(self, id: Id, state: Map<String, Value>) -> Box<[u8]> {
        let answer = Self { id, state, ..self };
        serde_json::to_vec(&answer).expect("texts and JSON are always JSON").into()
    }
}

/// A report of progress, as an element of a frame. Wire: the outer id is odd on purpose; clients that do not
/// know progress ignore it.
pub(super) fn progress(id: &Id, value: &RawValue, state: Map<String, Value>) -> Box<[u8]> {
    #[derive(Serialize)]
    struct Report<'a> {
        #[serde(rename = "S", skip_serializing_if = "Map::is_empty")]
        state: Map<String, Value>,
        #[serde(rename = "I")]
        id: String,
        #[serde(rename = "P")]
        progress: Progress<'a>,
    }
    #[derive(Serialize)]
    struct Progress<'a> {
        #[serde(rename = "I")]
        id: &'a Id,
        #[serde(rename = "D")]
        value: &'a RawValue,
    }
    let outer = format!("P|{}", id.0.as_deref().unwrap_or_default());
    let report = Report { state, id: outer, progress: Progress { id, value } };
    serde_json::to_vec(&report).expect("texts and JSON are always JSON").into()
}

/// What a frame says of a client's groups, and of the end of its connection.
pub(super) fn groups(token: &str) -> Box<[u8]> {
    format!(r#""G":{}"#, quote(token)).into_bytes().into()
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

    fn id(json: &str) -> Option<String> {
        decode(&format!(r#"{{"H":"h","M":"m","I":{json}}}"#)).unwrap().id.0
    }

    #[test]
    fn ids_come_back_as_texts() {
        assert_eq!(id("0").as_deref(), Some("0"));
        assert_eq!(id("-1.5").as_deref(), Some("-1.5"));
        assert_eq!(id("true").as_deref(), Some("true"));
        assert_eq!(id(r#""x y""#).as_deref(), Some("x y"));
        assert_eq!(id("null"), None);
        assert_eq!(decode(r#"{"h":"h","m":"m"}"#).unwrap().id, Id(None));
    }

    #[test]
    fn a_call_of_a_client_carries_its_state_if_that_has_changed() {
        let mut call = Invocation::new(&"Chat".into(), "receive", &["hi"]).unwrap();
        assert_eq!(invocation(&call), r#"{"H":"Chat","M":"receive","A":["hi"]}"#);
        call.state.insert("color".into(), "blue".into());
        assert_eq!(invocation(&call), r#"{"H":"Chat","M":"receive","A":["hi"],"S":{"color":"blue"}}"#);
    }

    #[test]
    fn what_is_no_call_is_refused_with_a_reason() {
        let wrong = [
            "",
            "not json",
            "[]",
            "null",
            "\"x\"",
            "{",
            "{}",
            r#"{"H":"h"}"#,
            r#"{"M":"m"}"#,
            r#"{"H":"","M":"m"}"#,
            r#"["h","m"]"#,
            r#"{"H":"h","M":"m","A":{}}"#,
            r#"{"H":"h","M":"m","I":{}}"#,
            r#"{"H":"h","M":"m","S":[]}"#,
            r#"{"H":1,"M":"m"}"#,
        ];
        for text in wrong {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn half_a_character_is_taken_for_the_sign_of_one_that_is_missing() {
        for (text, mended_text) in [
            (r#""\ud83d""#, "\"\u{fffd}\""),
            (r#""\uDC22x\ud83d\ud83d\udc22""#, "\"\u{fffd}x\u{fffd}\\ud83d\\udc22\""),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\u00e9\n\ud83d\n""#, "\"\\u00e9\\n\u{fffd}\\n\""),
            (r#""\ud8""#, r#""\ud8""#),
            ("\\", "\\"),
            ("\\é\\", "\\é\\"),
            ("plain", "plain"),
        ] {
            assert_eq!(mended(text), mended_text, "{text}");
        }
        let call = decode(r#"{"H":"h","M":"m","A":["\ud83d"],"S":{"a":"\udc22"}}"#).unwrap();
        assert_eq!(call.arguments[0].get(), "\"\u{fffd}\"");
        assert_eq!(call.state["a"], "\u{fffd}");
    }

    #[test]
    fn state_has_its_limits() {
        let with = |state: &str| decode(&format!(r#"{{"H":"h","M":"m","S":{state}}}"#));
        let long = |length: usize| format!(r#"{{"a":"{}"}}"#, "é".repeat(length - 8));
        assert!(with(&long(4096)).is_ok());
        assert!(matches!(with(&long(4097)), Err(InvalidInvocation::LongState)));
        let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(with(&deep(20)).is_ok());
        assert!(matches!(with(&deep(21)), Err(InvalidInvocation::DeepState)));
        assert!(with("null").unwrap().state.is_empty());
    }

    #[test]
    fn answers_omit_absent_members() {
        let text =
            |answer: Completion<'_>| String::from_utf8(answer.encode(Id(Some("3".into())), Map::new()).into()).unwrap();
        let (five, null) = (to_raw_value(&5).unwrap(), to_raw_value(&()).unwrap());
        assert_eq!(text(Completion::result(&five)), r#"{"R":5,"I":"3"}"#);
        assert_eq!(text(Completion::result(&null)), r#"{"I":"3"}"#);
        assert_eq!(text(Completion::failure("no".into())), r#"{"I":"3","E":"no"}"#);
        let error = HubError::new("full").with_data(&serde_json::json!({"Max": 10}));
        assert_eq!(text(Completion::error(&error)), r#"{"I":"3","H":true,"E":"full","D":{"Max":10}}"#);
    }

    #[test]
    fn a_missing_invocation_id_is_written_as_null() {
        let five = to_raw_value(&5).unwrap();
        assert_eq!(&*Completion::result(&five).encode(Id(None), Map::new()), br#"{"R":5,"I":null}"#);
        assert_eq!(&*progress(&Id(None), &five, Map::new()), br#"{"I":"P|","P":{"I":null,"D":5}}"#);
    }
}
