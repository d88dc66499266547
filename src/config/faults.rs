//! Errors of a configuration, collected and reported together.

use std::fmt;

use config::{ConfigError, Value, ValueKind};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

/// One error of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key; or the path of a file that cannot be read.
    pub key: String,
    /// The origin of the value: a file, an environment variable or a flag. `None` if the value was not set.
    pub origin: Option<String>,
    /// A description of the error.
    pub text: String,
}

/// All errors of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} error{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|Fault { key, origin, text }| match origin {
            Some(origin) => write!(f, "\n  {key} ({origin}): {text}"),
            None => write!(f, "\n  {key}: {text}"),
        })
    }
}

impl Faults {
    /// Iterates over the errors.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    pub(super) fn add(&mut self, key: &str, origin: Option<&str>, text: String) {
        self.0.push(Fault { key: key.to_owned(), origin: origin.map(str::to_owned), text });
    }

    /// Adds an error that involves several keys, unless one of the keys already has an error.
    pub(super) fn add_unless_known(&mut self, layers: &Value, keys: &[impl AsRef<str>], text: String) {
        let is_known = self.0.iter().any(|fault| keys.iter().any(|key| is_at_or_inside(&fault.key, key.as_ref())));
        let origin = keys.iter().find_map(|key| find(layers, key.as_ref().split('.'))?.origin());
        if let (false, Some(key)) = (is_known, keys.first()) {
            self.add(key.as_ref(), origin, text);
        }
    }

    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, Self> {
        self.0.sort_by(|one, other| one.key.cmp(&other.key));
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

/// Deserializes `layers`. Each value that fails is recorded as a fault and removed, and the rest is deserialized again,
/// until no value fails.
pub(super) fn deserialize_collecting_faults<T: DeserializeOwned + Default>(layers: &Value, faults: &mut Faults) -> T {
    let mut rest = layers.clone();
    loop {
        let error = match serde_path_to_error::deserialize(rest.clone()) {
            Ok(value) => return value,
            Err(error) => error,
        };
        let keys = keys_of(error.path());
        let origin = find(&rest, keys.iter().copied()).and_then(origin_of);
        faults.add(&error.path().to_string(), origin, error_text(error.inner()));
        if !remove(&mut rest, &keys) {
            return T::default();
        }
    }
}

/// True if the path of a fault is `key`, or of a value inside it: `cors.origins[0]` for `cors.origins`.
fn is_at_or_inside(path: &str, key: &str) -> bool {
    path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The keys on the path to the innermost named value.
fn keys_of(path: &Path) -> Vec<&str> {
    let keys = path.iter().map_while(|segment| match segment {
        Segment::Map { key } => Some(&**key),
        Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    });
    keys.collect()
}

fn find<'a, 'k>(tree: &'a Value, mut keys: impl Iterator<Item = &'k str>) -> Option<&'a Value> {
    keys.try_fold(tree, |value, key| match &value.kind {
        ValueKind::Table(table) => table.get(key),
        _ => None,
    })
}

/// The origin of a value. A list or table without an origin has that of its first element.
fn origin_of(value: &Value) -> Option<&str> {
    let inside = || match &value.kind {
        ValueKind::Table(table) => table.values().find_map(origin_of),
        ValueKind::Array(array) => array.iter().find_map(origin_of),
        _ => None,
    };
    value.origin().or_else(inside)
}

/// Removes the value at `keys`. Returns whether it existed.
fn remove(tree: &mut Value, keys: &[&str]) -> bool {
    match (&mut tree.kind, keys) {
        (ValueKind::Table(table), [key]) => table.remove(*key).is_some(),
        (ValueKind::Table(table), [key, rest @ ..]) => table.get_mut(*key).is_some_and(|inner| remove(inner, rest)),
        _ => false,
    }
}

/// The message of an error, without its key and origin.
pub(super) fn error_text(error: &ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => error_text(error),
        ConfigError::Type { unexpected, expected, .. } => format!("expected {expected}, found {unexpected}"),
        other => other.to_string(),
    }
}
