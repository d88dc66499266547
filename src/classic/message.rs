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
    message::{Invocation, WireForm},
    payload::{Format, Payload, json_depth, quote, to_line},
    pipeline::{REJOINED_METHOD, RejoinReport},
};

mod lenient;

/// The encoding of invocations of client methods.
pub(super) static WIRE_FORM: WireForm =
    WireForm { slot: 2, format: Format::Json, answers: false, encode: encode_invocation };

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
    pub(super) arguments: Vec<Payload>,
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

impl InvocationId {
    pub(super) fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The id, unless the client gave none because it expects no response.
    pub(super) fn given(self) -> Option<Self> {
        Some(self).filter(|id| id.0.is_some())
    }
}

/// The reason why a message is not a valid call. Over a WebSocket the text is the response to the message, if its id can
/// be read. Over HTTP the request is rejected with this text.
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
    arguments: Option<Vec<Payload>>,
    #[serde(rename = "I", alias = "i", borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(rename = "S", alias = "s", borrow, default)]
    state: Option<&'a RawValue>,
}

/// Decodes a client's call. A text that is not strict JSON is read a second time, leniently.
pub(super) fn decode(text: &str) -> Result<Call, InvalidInvocation> {
    let text = &*lenient::replace_lone_surrogates(text);
    match decode_strict(text) {
        Err(error @ (InvalidInvocation::Malformed(_) | InvalidInvocation::NotAnObject)) => match lenient::parse(text) {
            Some(value) => decode_strict(&encode(&value)),
            None => Err(error),
        },
        decoded => decoded,
    }
}

fn decode_strict(text: &str) -> Result<Call, InvalidInvocation> {
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

/// The id of a message that is not a valid call; `None` if it has none or if it cannot be read.
pub(super) fn id_of_invalid(text: &str) -> Option<InvocationId> {
    let message = lenient::parse(&lenient::replace_lone_surrogates(text))?;
    match message.get("I").or_else(|| message.get("i"))? {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::String(id) => Some(InvocationId(Some(id.clone()))),
        plain => Some(InvocationId(Some(plain.to_string()))),
    }
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
    pub(super) result: Option<&'a Payload>,
    #[serde(rename = "I")]
    pub(super) id: InvocationId,
    #[serde(rename = "H", skip_serializing_if = "Option::is_none")]
    is_hub_exception: Option<bool>,
    #[serde(rename = "E", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(rename = "D", skip_serializing_if = "Option::is_none")]
    data: Option<&'a Payload>,
}

impl<'a> HubResponse<'a> {
    /// The result of a method. A null result is left out.
    pub(super) fn result(result: &'a Payload) -> Self {
        Self { result: Some(result).filter(|result| result.as_bytes() != b"null"), ..Self::default() }
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
            data: error.data(),
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
pub(super) fn encode_progress(id: &InvocationId, value: &Payload, state: Map<String, Value>) -> Box<[u8]> {
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
        value: &'a Payload,
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
    use super::*;

    fn payload(value: &impl Serialize) -> Payload {
        Payload::encode(Format::Json, value).unwrap()
    }

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
    fn lone_surrogate_in_call_is_replaced() {
        let call = decode(r#"{"H":"h","M":"m","A":["\ud83d"],"S":{"a":"\udc22"}}"#).unwrap();
        assert_eq!(call.arguments[0].as_json().unwrap(), "\"\u{fffd}\"");
        assert_eq!(call.state["a"], "\u{fffd}");
    }

    #[test]
    fn json_of_hand_made_clients_is_accepted() {
        for text in [
            "{'H':'chat','M':'Echo','A':['x'],'I':'1'}",
            r#"{H:"chat",M:"Echo",A:["x"],I:1}"#,
            r#"/* a */ {"H":"chat",/* b */"M":"Echo","A":["x"],"I":"1"} // c"#,
            r#"{"H":"chat","M":"Echo","A":["x",],"I":"1",}"#,
            r#"{"H":"?","H":"chat","M":"Echo","A":["x"],"I":"1"}"#,
            r#"{"H":"chat","M":"Echo","A":["x"],"I":"1"} and more"#,
        ] {
            let call = decode(text).expect(text);
            assert_eq!((&*call.hub, &*call.method, call.id.0.as_deref()), ("chat", "Echo", Some("1")), "{text}");
            assert_eq!(call.arguments.iter().filter_map(Payload::as_json).collect::<Vec<_>>(), ["\"x\""], "{text}");
        }
    }

    #[test]
    fn id_of_invalid_message_is_read() {
        let id = |text: &str| id_of_invalid(text).and_then(|id| id.0);
        assert_eq!(id(r#"{"H":"h","M":"m","A":{},"I":7}"#).as_deref(), Some("7"));
        assert_eq!(id("{'i':'\\ud83d'}").as_deref(), Some("\u{fffd}"));
        assert_eq!(id(r#"{"I":true}"#).as_deref(), Some("true"));
        for text in ["", "not json", "[7]", "{}", r#"{"I":null}"#, r#"{"I":{}}"#, r#"{"I":7"#] {
            assert_eq!(id(text), None, "{text}");
        }
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
        let (five, null) = (payload(&5), payload(&()));
        assert_eq!(text(HubResponse::result(&five)), r#"{"R":5,"I":"3"}"#);
        assert_eq!(text(HubResponse::result(&null)), r#"{"I":"3"}"#);
        assert_eq!(text(HubResponse::failure("no".into())), r#"{"I":"3","E":"no"}"#);
        let error = HubError::new("full").with_data(&serde_json::json!({"Max": 10}));
        assert_eq!(text(HubResponse::error(&error)), r#"{"I":"3","H":true,"E":"full","D":{"Max":10}}"#);
    }

    #[test]
    fn a_missing_invocation_id_is_written_as_null() {
        let five = payload(&5);
        assert_eq!(&*HubResponse::result(&five).encode(InvocationId(None), Map::new()), br#"{"R":5,"I":null}"#);
        assert_eq!(&*encode_progress(&InvocationId(None), &five, Map::new()), br#"{"I":"P|","P":{"I":null,"D":5}}"#);
    }
}
