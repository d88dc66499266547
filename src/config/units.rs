//! Deserialization of single values: secrets, durations, numbers, keywords and lists.

use std::{
    fmt,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{IntErrorKind, NonZeroUsize, ParseIntError},
    str::FromStr,
    time::Duration,
};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as friendly;
use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, SeqAccess, Visitor, value::StrDeserializer},
};

use crate::engine::checks::MAX_DURATION;

/// A secret of at least `MIN_LENGTH` bytes without control characters. `Debug` redacts it.
#[derive(Clone, Debug)]
pub struct Secret<const MIN_LENGTH: usize>(SecretString);

impl<const MIN_LENGTH: usize> Secret<MIN_LENGTH> {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl<'de, const MIN_LENGTH: usize> Deserialize<'de> for Secret<MIN_LENGTH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() < MIN_LENGTH {
            return Err(D::Error::custom(format!("must have at least {MIN_LENGTH} bytes")));
        }
        if text.contains(char::is_control) {
            return Err(D::Error::custom("must not contain control characters, such as line breaks"));
        }
        Ok(Self(text.into()))
    }
}

/// An address to listen on, such as `127.0.0.1:8080`. The only host name is `localhost`, which means `127.0.0.1`.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    match local.map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()) {
        Some(address) => Ok(address),
        None => text.parse().map_err(|_| D::Error::custom(address_error(&text))),
    }
}

fn address_error(text: &str) -> String {
    let host = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return format!(
            "`{text}` has no address; write `127.0.0.1:{port}` for this machine, or `0.0.0.0:{port}` for the network"
        );
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return format!("`{text}` has no port; write `{}`", SocketAddr::from((address, 8080)));
    }
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(8080);
    format!(
        "`{text}` is not an IP address and a port; write for example `127.0.0.1:{port}`, `[::1]:{port}` or \
         `localhost:{port}`; other host names are not resolved"
    )
}

/// A duration longer than zero, such as `15s`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match duration_or_zero(deserializer)? {
        Duration::ZERO => Err(D::Error::custom("must be longer than 0 s")),
        duration => Ok(duration),
    }
}

/// A duration longer than zero, or `none`.
pub(super) fn duration_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match &*String::deserialize(deserializer)? {
        "none" => Ok(None),
        text => duration(StrDeserializer::new(text)).map(Some),
    }
}

/// A duration, which can be zero: `0s`.
pub(super) fn duration_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration: Duration = friendly::deserialize(StrDeserializer::<D::Error>::new(&text)).map_err(|_| {
        D::Error::custom(format!(
            "`{text}` is not a duration; write a number and its unit, such as `15s`, `500ms` or `24h`"
        ))
    })?;
    if duration > MAX_DURATION { Err(D::Error::custom("must be at most 100 years")) } else { Ok(duration) }
}

/// A duration, which can be zero, that replaces a default which is not a fixed duration.
pub(super) fn optional_duration_or_zero<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration_or_zero(deserializer).map(Some)
}

/// One of a fixed set of keywords. The error for any other value lists the set.
pub(super) fn keyword<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(StrDeserializer::new(&String::deserialize(deserializer)?))
}

/// A number, or `none` for no limit.
pub(super) fn limit_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    match &*String::deserialize(deserializer)? {
        "none" => Ok(None),
        text => {
            text.parse().map(Some).map_err(|_| D::Error::custom("expected a number of bytes, or `none` for no limit"))
        }
    }
}

/// A positive number, or `none` for no limit.
pub(super) fn count_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroUsize>, D::Error> {
    match &*String::deserialize(deserializer)? {
        "none" => Ok(None),
        text => integer(StrDeserializer::new(text)).map(Some),
    }
}

/// A whole number that replaces a default which is not a fixed number.
pub(super) fn optional_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroUsize>, D::Error> {
    integer(deserializer).map(Some)
}

/// A whole number. It is parsed here because the `config` crate would convert fractions and words to numbers.
pub(super) fn integer<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = ParseIntError>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::Zero => D::Error::custom("must be at least 1"),
        _ => D::Error::custom(format!("expected a whole number, found `{text}`")),
    })
}

/// A list, or a text with comma-separated elements.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(ListVisitor(PhantomData))
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or a text with comma-separated elements")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| T::deserialize(StrDeserializer::new(part))).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        std::iter::from_fn(|| elements.next_element().transpose()).collect()
    }
}
