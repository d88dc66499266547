//! Times as the tables keep them: milliseconds since the Unix epoch.
//!
//! Role: says on which side the finer part of a time is lost.
//! Life: functions of a time.
//! Neighbours: only the store's verbs.
//! Never: it does not read the clock, and no time is too far away for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The millisecond that `time` lies in.
pub(super) fn floor(time: SystemTime) -> i64 {
    saturate(nanos(time).div_euclid(NANOS))
}

/// The first millisecond that is not before `time`: for a limit that must not be reached too early.
pub(super) fn ceil(time: SystemTime) -> i64 {
    saturate(-(-nanos(time)).div_euclid(NANOS))
}

/// The length of `time`; what is longer than the count goes on for ever.
pub(super) fn span(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// In a millisecond.
const NANOS: i128 = 1_000_000;

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
    fn a_whole_millisecond_is_itself() {
        for round in [floor, ceil] {
            assert_eq!(round(UNIX_EPOCH), 0);
            assert_eq!(round(after_epoch(5_000_000)), 5);
            assert_eq!(round(UNIX_EPOCH - Duration::from_secs(1)), -1_000);
        }
    }

    #[test]
    fn what_is_finer_goes_to_the_side_that_is_named() {
        assert_eq!((floor(after_epoch(5_000_001)), ceil(after_epoch(5_000_001))), (5, 6));
        assert_eq!((floor(after_epoch(5_999_999)), ceil(after_epoch(5_999_999))), (5, 6));
        let before_epoch = UNIX_EPOCH - Duration::from_nanos(5_000_001);
        assert_eq!((floor(before_epoch), ceil(before_epoch)), (-6, -5));
    }

    #[test]
    fn the_longest_time_is_for_ever() {
        assert_eq!(span(Duration::MAX), i64::MAX);
    }
}
