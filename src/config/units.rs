//! How values are written.

use std::{
    fmt,
    marker::PhantomData,
    num::{IntErrorKind, ParseIntError},
    str::FromStr,
    time::Duration,
};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as friendly;
use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, SeqAccess, Visitor, value::StrDeserializer},
};

use crate::engine::checks::LONGEST_SPAN;

/// A secret of at least `SHORTEST` bytes; it prints as dots would.
#[derive(Clone, Debug)]
pub struct Secret<const SHORTEST: usize>(SecretString);

impl<const SHORTEST: usize> Secret<SHORTEST> {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl<'de, const SHORTEST: usize> Deserialize<'de> for Secret<SHORTEST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() < SHORTEST {
            return Err(D::Error::custom(format!("a secret needs at least {SHORTEST} characters")));
        }
        Ok(Self(text.into()))
    }
}

/// A span of time that lasts: `15s`.
pub(super) fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match pause(deserializer)? {
        Duration::ZERO => Err(D::Error::custom("a span of time must be longer than nothing")),
        span => Ok(span),
    }
}

/// A span of time that lasts, or `none`.
pub(super) fn span_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match &*String::deserialize(deserializer)? {
        "none" => Ok(None),
        text => span(StrDeserializer::new(text)).map(Some),
    }
}

/// A span of time, which may be none: `0s`.
pub(super) fn pause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let span: Duration = friendly::deserialize(deserializer)?;
    if span > LONGEST_SPAN { Err(D::Error::custom("a span of time must be of 100 years at most")) } else { Ok(span) }
}

/// One of a few words; whoever writes another is told which there are.
pub(super) fn word<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(StrDeserializer::new(&String::deserialize(deserializer)?))
}

/// A number, or `none` for no limit.
pub(super) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    match &*String::deserialize(deserializer)? {
        "none" => Ok(None),
        text => text.parse().map(Some).map_err(|_| D::Error::custom("a number of bytes is needed, or `none`")),
    }
}

/// A whole number. The crate itself would take a fraction or a word for the nearest one.
pub(super) fn whole<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = ParseIntError>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::Zero => D::Error::custom("it must be more than 0"),
        _ => D::Error::custom(format!("this is `{text}`, where a whole number is needed")),
    })
}

/// A list, or its elements in one text, separated by commas.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(List(PhantomData))
}

struct List<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or a text separated by commas")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| T::deserialize(StrDeserializer::new(part))).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        std::iter::from_fn(|| elements.next_element().transpose()).collect()
    }
}
