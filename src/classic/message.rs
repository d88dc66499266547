//! Messages of clients and to clients: calls, responses, progress, and invocations of client methods.
//!
//! Wire: members of an object have names of one letter. Null members are left out, except the id of a response.
//! Member names of clients are accepted in upper and lower case.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    client_log::Cause,
    connection::ClientFault,
    hub::HubError,
    ids::HubName,
    message::{Invocation, Json, WireForm, json_depth, quote, to_line},
    pipeline::{REJOINED_METHOD, RejoinReport},
};

/// The encoding of invocations of client methods.
pub(super) static WIRE_FORM: WireForm = WireForm { slot: 2, encode: encode_invocation };

fn encode_invocation(call: &Invocation) -> Bytes {
    let (hub, target) = (quote(&call.hub), quote(&call.target));
    let state = if call.state.is_empty() { String::new() } else { format!(r#","S":{}"#, encode(&call.state)) };
    format!(r#"{{"H":{hub},"M":{target},"A":{}{state}}}"#, call.arguments).into()
}

/// An invocation of the client method that receives the report on a groups token.
pub(super) fn rejoined(hub: &HubName, report: &RejoinReport) -> Box<[u8]> {
    let (hub, target) = (quote(hub), quote(REJOINED_METHOD));
    format!(r#"{{"H":{hub},"M":{target},"A":[{}]}}"#, encode(report)).into_bytes().into()
}

/// Encodes a value that contains nothing but strings, numbers and JSON values.
fn encode(value: &impl Serialize) -> String {
    to_line(value).expect("strings and JSON values always serialize")
}

/// Wire: the limits of a client's state: its length in characters of JSON, and the nesting depth, which also limits
/// arguments.
const MAX_STATE_CHARS: usize = 4096;
pub(super) const MAX_NESTING: usize = 20;

/// A call of a hub method by a client.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) hub: String,
    pub(super) method: String,
    pub(super) arguments: Vec<Json>,
    pub(super) id: InvocationId,
    pub(super) state: Map<String, Value>,
}

impl Call {
    /// A fault of the client in this call, for the log.
    pub(super) fn fault(&self, cause: Cause, reason: &str) -> ClientFault {
        let (hub, method) = (Some(self.hub.clone()), Some(self.method.clone()));
        ClientFault { hub, method, ..ClientFault::new(cause, reason) }
    }
}

/// The id that a client gave its call. Wire: an id of any type is returned as a string, a missing one as null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct InvocationId(Option<String>);

/// The reason why a message is not a valid call. Wire: over a WebSocket such a message is ignored, since the protocol
/// has no error message for it. Over HTTP the request is rejected with this text.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidInvocation {
    #[error("The message is no invocation: {0}.")]
    Malformed(#[from] serde_json::Error),
    #[error("The message is no JSON object.")]
    NotAnObject,
    #[error("The message names no {0}.")]
    MissingMember(&'static str),
    #[error("The id of an invocation is a plain value.")]
    InvalidId,
    #[error("State has exceeded the maximum length of 4096 bytes.")]
    StateTooLong,
    #[error("State may nest 20 deep.")]
    StateTooDeep,
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

/// Wire: an escaped lone surrogate, which scripts produce when they cut a string, is replaced by U+FFFD.
fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
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

/// Decodes a client's call.
pub(super) fn decode(text: &str) -> Result<Call, InvalidInvocation> {
    let text = &*replace_lone_surrogates(text);
    if !text.trim_start().starts_with('{') {
        return Err(InvalidInvocation::NotAnObject);
    }
    let members: Members<'_> = serde_json::from_str(text)?;
    let required = |name: Option<Cow<'_, str>>, what| {
        name.filter(|name| !name.is_empty()).map(Cow::into_owned).ok_or(InvalidInvocation::MissingMember(what))
    };
    Ok(Call {
        hub: required(members.hub, "hub")?,
        method: required(members.method, "method")?,
        arguments: members.arguments.unwrap_or_default(),
        id: parse_id(members.id)?,
        state: members.state.map_or(Ok(Map::new()), parse_state)?,
    })
}

fn parse_id(id: Option<&RawValue>) -> Result<InvocationId, InvalidInvocation> {
    let Some(json) = id.map(RawValue::get) else { return Ok(InvocationId(None)) };
    match json.as_bytes() {
        [b'{' | b'[', ..] => Err(InvalidInvocation::InvalidId),
        [b'"', ..] => Ok(InvocationId(Some(serde_json::from_str(json)?))),
        b"null" => Ok(InvocationId(None)),
        _ => Ok(InvocationId(Some(json.to_owned()))),
    }
}

fn parse_state(json: &RawValue) -> Result<Map<String, Value>, InvalidInvocation> {
    let text = json.get();
    if text.chars().count() > MAX_STATE_CHARS {
        return Err(InvalidInvocation::StateTooLong);
    }
    if json_depth(text) > MAX_NESTING {
        return Err(InvalidInvocation::StateTooDeep);
    }
    Ok(serde_json::from_str::<Option<_>>(text)?.unwrap_or_default())
}

/// The response to a call. Wire: the members are in this order.
#[derive(Debug, Default, Serialize)]
pub(super) struct HubResponse<'a> {
    #[serde(rename = "S", skip_serializing_if = "Map::is_empty")]
    pub(super) state: Map<String, Value>,
    #[serde(rename = "R", skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'a RawValue>,
    #[serde(rename = "I")]
    pub(super) id: InvocationId,
    #[serde(rename = "H", skip_serializing_if = "Option::is_none")]
    is_hub_exception: Option<bool>,
    #[serde(rename = "E", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(rename = "D", skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> HubResponse<'a> {
    /// The result of a method. A null result is left out.
    pub(super) fn result(result: &'a RawValue) -> Self {
        Self { result: Some(result).filter(|result| result.get() != "null"), ..Self::default() }
    }

    /// A failure that is not a hub exception: clients get the text only.
    pub(super) fn failure(text: String) -> Self {
        Self { error: Some(text), ..Self::default() }
    }

    /// A hub exception: an error with text and data that the hub meant for the client.
    pub(super) fn error(error: &'a HubError) -> Self {
        Self {
            is_hub_exception: Some(true),
            error: Some(error.message().to_owned()),
            data: error.data().map(|data| &**data),
            ..Self::default()
        }
    }

    /// Encodes the response for a call with this id. `state` holds the changed members of the client's state.
    pub(super) fn encode(self, id: InvocationId, state: Map<String, Value>) -> Box<[u8]> {
        let response = Self { id, state, ..self };
        encode(&response).into_bytes().into()
    }
}

/// Encodes a progress report as an element of a frame. Wire: the outer id matches no call on purpose, so that clients
/// without support for progress ignore the report.
pub(super) fn encode_progress(id: &InvocationId, value: &RawValue, state: Map<String, Value>) -> Box<[u8]> {
    #[derive(Serialize)]
    struct ProgressResponse<'a> {
        #[serde(rename = "S", skip_serializing_if = "Map::is_empty")]
        state: Map<String, Value>,
        #[serde(rename = "I")]
        id: String,
        #[serde(rename = "P")]
        progress: ProgressData<'a>,
    }
    #[derive(Serialize)]
    struct ProgressData<'a> {
        #[serde(rename = "I")]
        id: &'a InvocationId,
        #[serde(rename = "D")]
        value: &'a RawValue,
    }
    let outer = format!("P|{}", id.0.as_deref().unwrap_or_default());
    let response = ProgressResponse { state, id: outer, progress: ProgressData { id, value } };
    encode(&response).into_bytes().into()
}

/// Encodes the groups token as a member of a frame.
pub(super) fn groups_token_member(token: &str) -> Box<[u8]> {
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
    fn ids_are_returned_as_strings() {
        assert_eq!(id("0").as_deref(), Some("0"));
        assert_eq!(id("-1.5").as_deref(), Some("-1.5"));
        assert_eq!(id("true").as_deref(), Some("true"));
        assert_eq!(id(r#""x y""#).as_deref(), Some("x y"));
        assert_eq!(id("null"), None);
        assert_eq!(decode(r#"{"h":"h","m":"m"}"#).unwrap().id, InvocationId(None));
    }

    #[test]
    fn changed_state_is_sent_with_an_invocation() {
        let mut call = Invocation::new(&"Chat".into(), "receive", &["hi"]).unwrap();
        assert_eq!(encode_invocation(&call), r#"{"H":"Chat","M":"receive","A":["hi"]}"#);
        call.state.insert("color".into(), "blue".into());
        assert_eq!(encode_invocation(&call), r#"{"H":"Chat","M":"receive","A":["hi"],"S":{"color":"blue"}}"#);
    }

    #[test]
    fn malformed_invocation_is_rejected() {
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
        let call = decode(r#"{"H":"h","M":"m","A":["\ud83d"],"S":{"a":"\udc22"}}"#).unwrap();
        assert_eq!(call.arguments[0].get(), "\"\u{fffd}\"");
        assert_eq!(call.state["a"], "\u{fffd}");
    }

    #[test]
    fn state_is_limited_in_length_and_depth() {
        let with = |state: &str| decode(&format!(r#"{{"H":"h","M":"m","S":{state}}}"#));
        let long = |length: usize| format!(r#"{{"a":"{}"}}"#, "é".repeat(length - 8));
        assert!(with(&long(4096)).is_ok());
        assert!(matches!(with(&long(4097)), Err(InvalidInvocation::StateTooLong)));
        let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(with(&deep(20)).is_ok());
        assert!(matches!(with(&deep(21)), Err(InvalidInvocation::StateTooDeep)));
        assert!(with("null").unwrap().state.is_empty());
    }

    #[test]
    fn responses_omit_absent_members() {
        let text = |response: HubResponse<'_>| {
            String::from_utf8(response.encode(InvocationId(Some("3".into())), Map::new()).into()).unwrap()
        };
        let (five, null) = (to_raw_value(&5).unwrap(), to_raw_value(&()).unwrap());
        assert_eq!(text(HubResponse::result(&five)), r#"{"R":5,"I":"3"}"#);
        assert_eq!(text(HubResponse::result(&null)), r#"{"I":"3"}"#);
        assert_eq!(text(HubResponse::failure("no".into())), r#"{"I":"3","E":"no"}"#);
        let error = HubError::new("full").with_data(&serde_json::json!({"Max": 10}));
        assert_eq!(text(HubResponse::error(&error)), r#"{"I":"3","H":true,"E":"full","D":{"Max":10}}"#);
    }

    #[test]
    fn a_missing_invocation_id_is_written_as_null() {
        let five = to_raw_value(&5).unwrap();
        assert_eq!(&*HubResponse::result(&five).encode(InvocationId(None), Map::new()), br#"{"R":5,"I":null}"#);
        assert_eq!(&*encode_progress(&InvocationId(None), &five, Map::new()), br#"{"I":"P|","P":{"I":null,"D":5}}"#);
    }
}
