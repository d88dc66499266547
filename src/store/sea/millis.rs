//! Conversion of times to the format of the tables: milliseconds since the Unix epoch.
//!
//! Each function states its rounding. None reads the clock, and all saturate instead of overflowing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Rounds down to a millisecond.
pub(super) fn floor(time: SystemTime) -> i64 {
    saturate(nanos(time).div_euclid(NANOS_PER_MILLI))
}

/// Rounds up to a millisecond: for a limit that must not be reached too early.
pub(super) fn ceil(time: SystemTime) -> i64 {
    saturate(-(-nanos(time)).div_euclid(NANOS_PER_MILLI))
}

/// The time of a row. Times before the Unix epoch are that epoch.
pub(super) fn time(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// The whole milliseconds of `time`; saturates at [`i64::MAX`].
pub(super) fn duration(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

const NANOS_PER_MILLI: i128 = 1_000_000;

fn nanos(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos().cast_signed(),
        Err(before) => -before.duration().as_nanos().cast_signed(),
    }
}

fn saturate(millis: i128) -> i64 {
    i64::try_from(millis).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_epoch(nanos: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanos)
    }

    #[test]
    fn whole_milliseconds_are_unchanged() {
        for round in [floor, ceil] {
            assert_eq!(round(UNIX_EPOCH), 0);
            assert_eq!(round(after_epoch(5_000_000)), 5);
            assert_eq!(round(UNIX_EPOCH - Duration::from_secs(1)), -1_000);
        }
    }

    #[test]
    fn fractions_are_rounded_down_or_up() {
        assert_eq!((floor(after_epoch(5_000_001)), ceil(after_epoch(5_000_001))), (5, 6));
        assert_eq!((floor(after_epoch(5_999_999)), ceil(after_epoch(5_999_999))), (5, 6));
        let before_epoch = UNIX_EPOCH - Duration::from_nanos(5_000_001);
        assert_eq!((floor(before_epoch), ceil(before_epoch)), (-6, -5));
    }

    #[test]
    fn longest_duration_saturates() {
        assert_eq!(duration(Duration::MAX), i64::MAX);
    }
}
