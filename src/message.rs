//! What is sent to clients: one call of a client method, encoded at most once per wire form.
//!
//! Role: carries a call from whoever sends it to every outbox that it reaches.
//! Life: made by a send, shared by all its recipients, gone with the last of them.
//! Neighbours: hubs make messages, groups pass them on, outboxes keep them, dialects encode them.
//! Never: it does not know a dialect; a [`WireForm`] says where its bytes are kept and how they are made.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use crate::ids::{GroupKey, HubName};

/// How many wire forms there can be: ASP.NET Core JSON and MessagePack, classic JSON.
const FORMS: usize = 3;

/// Arguments, or a result, as the JSON that a client will read.
pub type Json = Box<RawValue>;

/// A call of a method on clients.
#[derive(Debug)]
pub struct Invocation {
    /// The hub that calls, in its registered case.
    pub hub: HubName,
    /// The client method, spelt as the sender spelt it.
    pub target: Box<str>,
    /// The arguments: a JSON array.
    pub arguments: Json,
    /// What has changed in the client's state. It is empty but for calls of the caller.
    pub state: Map<String, Value>,
}

impl Invocation {
    /// A call with `arguments`: a tuple, array or list gives one argument for each element, `()` by value gives
    /// none, and any other value is a single argument, which is null for `None` and for numbers that JSON has not.
    ///
    /// # Errors
    /// What the serializer says, if the arguments cannot be JSON.
    pub fn new(hub: &HubName, target: &str, arguments: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { hub: hub.clone(), target: target.into(), arguments: array_of(arguments)?, state: Map::new() })
    }
}

fn array_of<T: Serialize>(arguments: &T) -> Result<Json, serde_json::Error> {
    let text = serde_json::to_string(arguments)?;
    // To a serializer `()` and `None` look alike; but what has no size has nothing to say.
    let is_nothing = size_of::<T>() == 0;
    RawValue::from_string(match text.as_bytes() {
        [b'[', ..] => text,
        b"null" if is_nothing => "[]".into(),
        _ => format!("[{text}]"),
    })
}

/// How deep a piece of JSON nests; a plain value does not.
pub(crate) fn depth_of(json: &str) -> usize {
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

/// One way to put a call on the wire. Each is a constant of the dialect that speaks it.
#[derive(Debug)]
pub struct WireForm {
    /// Where a message keeps the bytes of this form; each form has its own place, below 3.
    pub slot: usize,
    /// Makes the bytes, without any framing that differs between recipients.
    pub encode: fn(&Invocation) -> Bytes,
}

/// Why a connection is sent a message. A connection that returns hears only what it may still hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was addressed by its id.
    Connection,
    /// It was addressed through its user.
    User,
    /// Everybody on the hub was addressed.
    Hub,
    /// It is a member of this group.
    Group(Arc<GroupKey>),
}

/// A call on its way to its recipients.
#[derive(Clone, Debug)]
pub struct Message {
    /// Why it is sent.
    pub source: Source,
    content: Arc<Content>,
}

#[derive(Debug)]
struct Content {
    call: Invocation,
    forms: [OnceLock<Bytes>; FORMS],
}

impl Message {
    /// A message that nobody has encoded yet.
    #[must_use]
    pub fn new(call: Invocation, source: Source) -> Self {
        Self { source, content: Arc::new(Content { call, forms: Default::default() }) }
    }

    /// The same call for another reason; both share what is encoded.
    #[must_use]
    pub fn with_source(&self, source: Source) -> Self {
        Self { source, content: Arc::clone(&self.content) }
    }

    /// The call itself.
    #[must_use]
    pub fn call(&self) -> &Invocation {
        &self.content.call
    }

    /// The bytes of one form, made by whoever asks first.
    #[must_use]
    pub fn encoded(&self, form: &WireForm) -> &Bytes {
        self.content.forms[form.slot].get_or_init(|| (form.encode)(&self.content.call))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static ENCODED: AtomicUsize = AtomicUsize::new(0);
    static COUNTING: WireForm = WireForm {
        slot: 2,
        encode: |call| {
            ENCODED.fetch_add(1, Ordering::Relaxed);
            Bytes::from(call.arguments.get().to_owned())
        },
    };

    fn arguments(value: &impl Serialize) -> String {
        Invocation::new(&"chat".into(), "m", value).unwrap().arguments.get().to_owned()
    }

    #[test]
    fn a_message_is_encoded_once_per_form_however_many_read_it() {
        let message = Message::new(Invocation::new(&"chat".into(), "m", &(1, 2)).unwrap(), Source::Hub);
        let copies: Vec<_> = (0..10).map(|_| message.with_source(Source::User)).collect();
        assert!(copies.iter().all(|m| m.encoded(&COUNTING) == "[1,2]"));
        assert_eq!(ENCODED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn arguments_are_always_an_array() {
        assert_eq!(arguments(&("a", 1, [true])), r#"["a",1,[true]]"#);
        assert_eq!(arguments(&vec!["a", "b"]), r#"["a","b"]"#);
        assert_eq!(arguments(&()), "[]");
        assert_eq!(arguments(&"alone"), r#"["alone"]"#);
        assert_eq!(arguments(&7), "[7]");
    }

    #[test]
    fn a_value_that_is_absent_is_an_argument_all_the_same() {
        #[derive(Serialize)]
        struct Nothing;
        assert_eq!(arguments(&None::<u8>), "[null]");
        assert_eq!(arguments(&f64::NAN), "[null]");
        assert_eq!(arguments(&serde_json::Value::Null), "[null]");
        assert_eq!(arguments(&(None::<u8>,)), "[null]");
        assert_eq!(arguments(&Nothing), "[]");
    }

    #[test]
    fn arguments_that_are_no_json_are_refused() {
        let keyed_by_list = std::collections::HashMap::from([(vec![1], 2)]);
        assert!(Invocation::new(&"chat".into(), "m", &(keyed_by_list,)).is_err());
    }
}
