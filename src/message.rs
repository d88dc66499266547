//! Messages to clients: one invocation of a client method, encoded at most once per wire form.
//!
//! Every send creates one message, which all its recipients share. Hubs create messages, groups pass them on, outboxes
//! queue them, and dialects encode them. A message is freed when its last recipient has dropped it.
//!
//! The module does not depend on a dialect: a [`WireForm`] defines the encoding and the slot of the encoded bytes. The
//! arguments are encoded when a message is sent, once for each format that clients use.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    ids::{GroupKey, HubName},
    payload::{EncodeError, Format, message_pack, to_line},
};

/// The number of wire forms: ASP.NET Core JSON, MessagePack and plain bytes, classic JSON.
const WIRE_FORMS: usize = 4;

/// Arguments as JSON text.
pub type Json = Box<RawValue>;

/// The invocation of a client method.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The name of the sending hub, in its registered case.
    pub hub: HubName,
    /// The name of the client method, in the sender's case.
    pub target: Box<str>,
    /// The invocation id, if the client has to answer.
    pub(crate) id: Option<Box<str>>,
    /// The arguments as a JSON array on a single line.
    pub arguments: Json,
    /// The arguments as a MessagePack array, if a client uses MessagePack.
    pub(crate) packed_arguments: Option<Bytes>,
    /// The changed values of the caller's state (classic dialect). It is empty unless the invocation is sent to the
    /// caller.
    pub state: Map<String, Value>,
}

impl Invocation {
    /// Creates an invocation. A tuple, array or list gives one argument for each element, and `()` by value gives none.
    /// Any other value is a single argument, which is null for `None` and for numbers that JSON cannot represent. Raw
    /// values lose insignificant white space.
    ///
    /// # Errors
    /// [`EncodeError`] if the arguments cannot be encoded as JSON.
    pub fn new(hub: &HubName, target: &str, arguments: &impl Serialize) -> Result<Self, EncodeError> {
        let json = to_json_array(arguments).map_err(|error| EncodeError(error.to_string()))?;
        Ok(Self {
            hub: hub.clone(),
            target: target.into(),
            id: None,
            arguments: json,
            packed_arguments: None,
            state: Map::new(),
        })
    }

    /// Encodes the arguments as MessagePack, too. Without them, clients that use MessagePack miss the invocation.
    ///
    /// # Errors
    /// [`EncodeError`] if the arguments cannot be encoded as MessagePack.
    pub(crate) fn pack_arguments(&mut self, arguments: &impl Serialize) -> Result<(), EncodeError> {
        self.packed_arguments = Some(message_pack::encode_arguments(arguments)?.into());
        Ok(())
    }

    /// True if the arguments are encoded in the format.
    fn has_format(&self, format: Format) -> bool {
        match format {
            Format::Json => true,
            Format::MessagePack => self.packed_arguments.is_some(),
        }
    }
}

fn to_json_array<T: Serialize>(arguments: &T) -> Result<Json, serde_json::Error> {
    let text = to_line(arguments)?;
    // A serializer writes `()` and `None` alike, but only `()` has no size.
    let is_unit = size_of::<T>() == 0;
    RawValue::from_string(match text.as_bytes() {
        [b'[', ..] => text,
        b"null" if is_unit => "[]".into(),
        _ => format!("[{text}]"),
    })
}

/// An encoding of invocations. Each dialect defines its wire forms as constants.
#[derive(Debug)]
pub struct WireForm {
    /// The index of the encoded bytes in a message. It is unique to the form and below 4.
    pub slot: usize,
    /// The format of the arguments.
    pub format: Format,
    /// Clients answer invocations that have an id.
    pub answers: bool,
    /// Encodes an invocation, without framing that differs between recipients.
    pub encode: fn(&Invocation) -> Bytes,
}

/// The kind of target that a message was sent to. A channel filters messages by their source, including the messages
/// that are replayed to a client that has reconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The id of the connection.
    Connection,
    /// The user of the connection.
    User,
    /// All connections of the hub.
    Hub,
    /// A group that the connection is a member of.
    Group(Arc<GroupKey>),
}

/// An invocation on its way to its recipients. Clones share the invocation and its encoded bytes.
#[derive(Clone, Debug)]
pub struct Message {
    /// The target through which the message reaches its recipients.
    #[doc(hidden)]
    pub source: Source,
    content: Arc<Content>,
}

#[derive(Debug)]
struct Content {
    call: Invocation,
    forms: [OnceLock<Bytes>; WIRE_FORMS],
}

impl Message {
    /// Creates a message that is not encoded yet.
    #[must_use]
    #[doc(hidden)]
    pub fn new(call: Invocation, source: Source) -> Self {
        Self { source, content: Arc::new(Content { call, forms: Default::default() }) }
    }

    /// The same invocation with another source. Both messages share the encoded bytes.
    #[must_use]
    #[doc(hidden)]
    pub fn with_source(&self, source: Source) -> Self {
        Self { source, content: Arc::clone(&self.content) }
    }

    /// The invocation.
    #[must_use]
    pub fn call(&self) -> &Invocation {
        &self.content.call
    }

    /// True if the message can be encoded in the wire form.
    pub(crate) fn has_form(&self, form: &WireForm) -> bool {
        self.content.call.has_format(form.format)
    }

    /// The bytes in one wire form. The first caller encodes them.
    #[must_use]
    #[doc(hidden)]
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
        format: Format::Json,
        answers: false,
        encode: |call| {
            ENCODED.fetch_add(1, Ordering::Relaxed);
            Bytes::from(call.arguments.get().to_owned())
        },
    };

    fn arguments(value: &impl Serialize) -> String {
        Invocation::new(&"chat".into(), "m", value).unwrap().arguments.get().to_owned()
    }

    #[test]
    fn message_is_encoded_once_per_form() {
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
    fn absent_value_is_a_null_argument() {
        #[derive(Serialize)]
        struct Unit;
        assert_eq!(arguments(&None::<u8>), "[null]");
        assert_eq!(arguments(&f64::NAN), "[null]");
        assert_eq!(arguments(&serde_json::Value::Null), "[null]");
        assert_eq!(arguments(&(None::<u8>,)), "[null]");
        assert_eq!(arguments(&Unit), "[]");
    }

    #[test]
    fn arguments_that_cannot_be_json_are_rejected() {
        let keyed_by_list = std::collections::HashMap::from([(vec![1], 2)]);
        assert!(Invocation::new(&"chat".into(), "m", &(keyed_by_list,)).is_err());
    }
}
