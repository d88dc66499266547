//! A received value as an argument or a result that is passed on.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::{Value as Json, value::RawValue};

use super::{Format, Payload, message_pack};

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_json = serializer.is_human_readable();
        match self.format {
            Format::Json if is_json => decoded::<&RawValue, _>(self.as_json())?.serialize(serializer),
            Format::Json => decoded::<Json, _>(self.as_json())?.serialize(serializer),
            Format::MessagePack => {
                let value: rmpv::Value = message_pack::decode(&self.bytes).map_err(S::Error::custom)?;
                if is_json { to_json(value)?.serialize(serializer) } else { value.serialize(serializer) }
            }
        }
    }
}

fn decoded<'a, T: Deserialize<'a>, E: serde::ser::Error>(json: Option<&'a str>) -> Result<T, E> {
    serde_json::from_str(json.unwrap_or_default()).map_err(E::custom)
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let json = Box::<RawValue>::deserialize(deserializer)?;
            return Ok(Self::from_encoded(Format::Json, String::from(Box::<str>::from(json)).into()));
        }
        let value = rmpv::Value::deserialize(deserializer)?;
        let bytes = message_pack::encode(&value).map_err(D::Error::custom)?;
        Ok(Self::from_encoded(Format::MessagePack, Bytes::from(bytes)))
    }
}

/// Converts a MessagePack value to JSON. Bytes are Base64, scalar keys of any type become strings, and what JSON cannot
/// represent is null.
///
/// # Errors
/// If a key is an array or a map. As text, a map with itself as a key would double its length with each level.
fn to_json<E: serde::ser::Error>(value: rmpv::Value) -> Result<Json, E> {
    Ok(match value {
        rmpv::Value::Nil | rmpv::Value::Ext(..) => Json::Null,
        rmpv::Value::Boolean(value) => value.into(),
        rmpv::Value::Integer(number) => number.as_i64().map_or_else(|| number.as_u64().into(), Json::from),
        rmpv::Value::F32(number) => number.into(),
        rmpv::Value::F64(number) => number.into(),
        rmpv::Value::String(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        rmpv::Value::Binary(bytes) => STANDARD.encode(bytes).into(),
        rmpv::Value::Array(elements) => elements.into_iter().map(to_json).collect::<Result<_, E>>()?,
        rmpv::Value::Map(members) => {
            let member = |(key, value)| Ok((key_text(key)?, to_json(value)?));
            Json::Object(members.into_iter().map(member).collect::<Result<_, E>>()?)
        }
    })
}

fn key_text<E: serde::ser::Error>(key: rmpv::Value) -> Result<String, E> {
    match to_json(key)? {
        Json::String(text) => Ok(text),
        Json::Array(_) | Json::Object(_) => Err(E::custom("a key that is an array or a map has no form in JSON")),
        scalar => Ok(scalar.to_string()),
    }
}
