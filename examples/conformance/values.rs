//! Argument types that are serialized like their .NET counterparts.

use std::{collections::BTreeMap, fmt::Display};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hubcast::message::Json;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value, value::RawValue};

fn custom_error<E: serde::de::Error>(what: impl Display) -> E {
    E::custom(what)
}

/// A .NET `double`: reads any number and writes the shortest form. Infinity cannot be serialized.
#[derive(Clone, Copy)]
pub(crate) struct Double(pub f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Json::deserialize(deserializer)?;
        let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
        if is_number { raw.get().parse().map(Self).map_err(custom_error) } else { Err(custom_error("not a number")) }
    }
}

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let size = self.0.abs();
        let text = match size {
            _ if !self.0.is_finite() => return Err(S::Error::custom("infinity is not valid JSON")),
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
        STANDARD.decode(String::deserialize(deserializer)?).map(Self).map_err(custom_error)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

/// A .NET `DateTime`: keeps its kind (`Z` or none) and its fraction without trailing zeros.
pub(crate) struct Time(String);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (local, zone) = text.strip_suffix('Z').map_or((&*text, ""), |local| (local, "Z"));
        let date_time = if local.contains('T') { local.to_owned() } else { format!("{local}T00:00:00") };
        date_time.parse::<jiff::civil::DateTime>().map_err(custom_error)?;
        let trimmed =
            if date_time.contains('.') { date_time.trim_end_matches('0').trim_end_matches('.') } else { &date_time };
        Ok(Self(format!("{trimmed}{zone}")))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// An object with members of several types. Member names are case-insensitive.
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
            sides: optional(find("sides"))?.unwrap_or_default(),
            long_name: optional::<Option<String>, _>(find("longName"))?.flatten(),
            colour: optional(find("colour"))?.unwrap_or_default(),
            tags: optional::<Option<_>, _>(find("tags"))?.flatten(),
            id: optional(find("id"))?.unwrap_or_default(),
        })
    }
}

fn optional<T: for<'a> Deserialize<'a>, E: serde::de::Error>(value: Option<Value>) -> Result<Option<T>, E> {
    value.map(T::deserialize).transpose().map_err(custom_error)
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
        if is_guid { Ok(Self(text.to_lowercase())) } else { Err(custom_error("not a GUID")) }
    }
}
