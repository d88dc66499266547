//! Argument types that behave on the wire as .NET's do.

use std::{collections::BTreeMap, fmt::Display};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hubcast::message::Json;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value, value::RawValue};

fn wrong<E: serde::de::Error>(what: impl Display) -> E {
    E::custom(what)
}

/// A double: any number, and written in its shortest form; infinity cannot be written.
#[derive(Clone, Copy)]
pub(crate) struct Double(pub f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Json::deserialize(deserializer)?;
        let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
        if is_number { raw.get().parse().map(Self).map_err(wrong) } else { Err(wrong("no number")) }
    }
}

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let size = self.0.abs();
        let text = match size {
            _ if !self.0.is_finite() => return Err(S::Error::custom("infinity is no JSON")),
            _ if size != 0.0 && !(1e-5..1e16).contains(&size) => format!("{:e}", self.0),
            _ => self.0.to_string(),
        };
        RawValue::from_string(text).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Bytes as padded base64.
pub(crate) struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map(Self).map_err(wrong)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

/// A point in time that keeps its kind (`Z`, or none) and its fraction, but for zeros at the end.
pub(crate) struct Time(String);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (local, zone) = text.strip_suffix('Z').map_or((&*text, ""), |local| (local, "Z"));
        let context = if local.contains('T') { local.to_owned() } else { format!("{local}T00:00:00") };
        context.parse::<jiff::civil::DateTime>().map_err(wrong)?;
        let trimmed =
            if context.contains('.') { context.trim_end_matches('0').trim_end_matches('.') } else { &context };
        Ok(Self(format!("{trimmed}{zone}")))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// An object with members of several kinds, found without regard to case.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    sides: i32,
    long_name: Option<String>,
    colour: i32,
    tags: Option<BTreeMap<String, i32>>,
    id: Guid,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::<String, Value>::deserialize(deserializer)?;
        let find =
            |name: &str| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
        Ok(Self {
            sides: member(find("sides"))?.unwrap_or_default(),
            long_name: member::<Option<String>, _>(find("longName"))?.flatten(),
            colour: member(find("colour"))?.unwrap_or_default(),
            tags: member::<Option<_>, _>(find("tags"))?.flatten(),
            id: member(find("id"))?.unwrap_or_default(),
        })
    }
}

fn member<T: for<'a> Deserialize<'a>, E: serde::de::Error>(value: Option<Value>) -> Result<Option<T>, E> {
    value.map(T::deserialize).transpose().map_err(wrong)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Guid(String);

impl Default for Guid {
    fn default() -> Self {
        Self("00000000-0000-0000-0000-000000000000".into())
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let lengths: Vec<_> = text.split('-').map(str::len).collect();
        let is_guid = lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        if is_guid { Ok(Self(text.to_lowercase())) } else { Err(wrong("no GUID")) }
    }
}
