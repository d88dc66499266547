//! A point in time as an argument or a result.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use jiff::{
    SignedDuration,
    civil::DateTime,
    fmt::temporal::{Pieces, PiecesOffset},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Wire: .NET counts time in units of 100 ns.
const TICKS_PER_SECOND: i64 = 10_000_000;
const NANOS_PER_TICK: i64 = 100;

/// The beginning of 1970.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Wire: the extension type of a time (MessagePack specification, "Timestamp extension type").
const EXTENSION_TYPE: i8 = -1;

/// A point in time: ISO 8601 in JSON, the timestamp extension type in MessagePack. .NET clients use `DateTime` for it.
///
/// The resolution is 100 ns. In JSON a time without a zone stays one, and an offset is converted to UTC.
///
/// ```
/// use std::time::SystemTime;
///
/// use hubcast::{HubError, Timestamp};
///
/// async fn now() -> Result<Timestamp, HubError> {
///     Ok(SystemTime::now().into())
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// The ticks since the beginning of 1970.
    ticks: i64,
    /// False for a JSON time without a zone, which is written as one again.
    has_zone: bool,
}

impl Timestamp {
    fn from_parts(seconds: i64, nanos: i64) -> Option<Self> {
        let ticks = seconds.checked_mul(TICKS_PER_SECOND)?.checked_add(nanos / NANOS_PER_TICK)?;
        Some(Self { ticks, has_zone: true })
    }

    /// The whole seconds since the beginning of 1970, and the nanoseconds of the rest.
    fn parts(self) -> (i64, i64) {
        (self.ticks.div_euclid(TICKS_PER_SECOND), self.ticks.rem_euclid(TICKS_PER_SECOND) * NANOS_PER_TICK)
    }

    /// Reads civil times, because the range of `jiff::Timestamp` ends before the last day that .NET knows.
    fn parse(text: &str) -> Result<Self, jiff::Error> {
        let pieces = Pieces::parse(text)?;
        let civil = DateTime::from_parts(pieces.date(), pieces.time().unwrap_or_default());
        let offset = match pieces.offset() {
            Some(PiecesOffset::Numeric(offset)) => offset.offset().seconds(),
            Some(_) | None => 0,
        };
        let elapsed = civil.duration_since(EPOCH);
        let parts = Self::from_parts(elapsed.as_secs() - i64::from(offset), i64::from(elapsed.subsec_nanos()));
        let out_of_range = || jiff::Error::from_args(format_args!("the time is out of range"));
        Ok(Self { has_zone: pieces.offset().is_some(), ..parts.ok_or_else(out_of_range)? })
    }

    fn from_extension(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [a, b, c, d] => Self::from_parts(u32::from_be_bytes([a, b, c, d]).into(), 0),
            [a, b, c, d, e, f, g, h] => {
                let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                Self::from_parts((both & 0x3_ffff_ffff).try_into().ok()?, (both >> 34).try_into().ok()?)
            }
            [ref nanos @ .., a, b, c, d, e, f, g, h] => {
                let nanos = u32::from_be_bytes(nanos.try_into().ok()?);
                Self::from_parts(i64::from_be_bytes([a, b, c, d, e, f, g, h]), nanos.into())
            }
            _ => None,
        }
    }

    /// Wire: the shortest of the three forms.
    fn to_extension(self) -> Vec<u8> {
        let (seconds, nanos) = self.parts();
        match (u64::try_from(seconds), u32::try_from(seconds)) {
            (_, Ok(seconds)) if nanos == 0 => seconds.to_be_bytes().into(),
            (Ok(seconds), _) if seconds >> 34 == 0 => (nanos.unsigned_abs() << 34 | seconds).to_be_bytes().into(),
            _ => {
                let nanos = u32::try_from(nanos).unwrap_or_default();
                [&nanos.to_be_bytes()[..], &seconds.to_be_bytes()].concat()
            }
        }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let ticks = |elapsed: Duration| i64::try_from(elapsed.as_nanos() / NANOS_PER_TICK.unsigned_abs() as u128);
        let ticks = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => ticks(after).unwrap_or(i64::MAX),
            Err(before) => ticks(before.duration()).map_or(i64::MIN, |ticks| -ticks),
        };
        Self { ticks, has_zone: true }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let magnitude = time.ticks.unsigned_abs();
        let seconds = Duration::from_secs(magnitude / TICKS_PER_SECOND.unsigned_abs());
        let rest = Duration::from_nanos(magnitude % TICKS_PER_SECOND.unsigned_abs() * NANOS_PER_TICK.unsigned_abs());
        if time.ticks < 0 { Self::UNIX_EPOCH - seconds - rest } else { Self::UNIX_EPOCH + seconds + rest }
    }
}

/// Writes the time as .NET writes it in JSON: without trailing zeros of the fraction.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = self.parts();
        let elapsed = SignedDuration::new(seconds, i32::try_from(nanos).unwrap_or_default());
        let time = EPOCH.checked_add(elapsed).map_err(|_| fmt::Error)?;
        write!(f, "{time}{}", if self.has_zone { "Z" } else { "" })
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timestamp").field("ticks", &self.ticks).field("has_zone", &self.has_zone).finish()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            rmpv::Value::Ext(EXTENSION_TYPE, self.to_extension()).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom);
        }
        match rmpv::Value::deserialize(deserializer)? {
            rmpv::Value::Ext(EXTENSION_TYPE, bytes) => Self::from_extension(&bytes),
            _ => None,
        }
        .ok_or_else(|| D::Error::custom("not a timestamp"))
    }
}
