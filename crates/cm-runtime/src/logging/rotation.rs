//! When a log file ends and the next one begins.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, Weekday};

const SECOND: i64 = 1;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// From the first day of Unix time, a Thursday, to the first Monday.
const FIRST_MONDAY: i64 = 4;

/// How long one log file lasts: `interval` units.
///
/// Periods are counted from 1970-01-01T00:00:00Z (those of weeks from the first such day of the week), not
/// from the start of the process: every hour begins on the hour, every six hours at 0, 6, 12 and 18 UTC, and a
/// restart finds itself in the period that it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The unit.
    pub unit: RotationUnit,
    /// How many of them one file lasts.
    pub interval: NonZeroU32,
}

/// The unit in which a log file's life is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationUnit {
    /// Seconds.
    Second,
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days, from midnight UTC.
    Day,
    /// Weeks, from midnight UTC before this day.
    Week(Weekday),
}

/// Why a text is no unit of rotation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is none of `s` (seconds), `m` (minutes), `h` (hours), `d` or `midnight` (days), `w0` to `w6` (weeks \
     from Monday to Sunday)"
)]
pub struct InvalidRotationUnit(pub String);

impl FromStr for RotationUnit {
    type Err = InvalidRotationUnit;

    /// The names that Python's `TimedRotatingFileHandler` gives the units, in any case.
    fn from_str(text: &str) -> Result<Self, InvalidRotationUnit> {
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "s" => Self::Second,
            "m" => Self::Minute,
            "h" => Self::Hour,
            "d" | "midnight" => Self::Day,
            "w0" => Self::Week(Weekday::Monday),
            "w1" => Self::Week(Weekday::Tuesday),
            "w2" => Self::Week(Weekday::Wednesday),
            "w3" => Self::Week(Weekday::Thursday),
            "w4" => Self::Week(Weekday::Friday),
            "w5" => Self::Week(Weekday::Saturday),
            "w6" => Self::Week(Weekday::Sunday),
            _ => return Err(InvalidRotationUnit(text.to_owned())),
        })
    }
}

impl Rotation {
    /// The beginning of the period in which a moment lies, in seconds of Unix time.
    pub(super) fn period(self, at: SystemTime) -> i64 {
        let seconds = match at.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX / 2),
        };
        let origin = match self.unit {
            RotationUnit::Week(day) => (FIRST_MONDAY + i64::from(day.number_days_from_monday())) % 7 * DAY,
            _ => 0,
        };
        let length = self.length();
        (seconds - origin).div_euclid(length) * length + origin
    }

    /// Whether a file of the period `of` is to be closed in the period `now`. A clock that was set back a little does
    /// not end a file; one that was far ahead does, or the file would grow until that time comes.
    pub(super) fn is_over(self, of: i64, now: i64) -> bool {
        now > of || now < of.saturating_sub(self.length())
    }

    fn length(self) -> i64 {
        let unit = match self.unit {
            RotationUnit::Second => SECOND,
            RotationUnit::Minute => MINUTE,
            RotationUnit::Hour => HOUR,
            RotationUnit::Day => DAY,
            RotationUnit::Week(_) => WEEK,
        };
        unit * i64::from(self.interval.get())
    }
}

/// How the time in the name of a rotated file looks: sortable, and legal in the names of every file system.
const STAMP_SHAPE: &str = "0000-00-00T00-00-00Z";

/// A moment, in seconds of Unix time, as it stands in the name of a rotated file.
pub(super) fn stamp(seconds: i64) -> String {
    // Long periods may have begun before there was Unix time, and a wrong clock may be past the year 9999.
    let at = OffsetDateTime::from_unix_timestamp(seconds.max(0)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}Z")
}

/// Whether a text looks like what [`stamp`] writes.
pub(super) fn is_stamp(text: &str) -> bool {
    let fits = |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    text.len() == STAMP_SHAPE.len() && text.bytes().zip(STAMP_SHAPE.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rotation(when: &str, interval: u32) -> Rotation {
        Rotation { unit: when.parse().unwrap(), interval: NonZeroU32::new(interval).unwrap() }
    }

    /// Checks in which period 2024-01-03T13:47:11Z, a Wednesday, lies.
    fn check(when: &str, interval: u32, begins: &str) {
        let at = UNIX_EPOCH + Duration::from_secs(1_704_289_631);
        assert_eq!(stamp(rotation(when, interval).period(at)), begins, "{when} {interval}");
    }

    #[test]
    fn periods_begin_where_people_expect_them() {
        check("s", 1, "2024-01-03T13-47-11Z");
        check("S", 30, "2024-01-03T13-47-00Z");
        check("m", 10, "2024-01-03T13-40-00Z");
        check("H", 1, "2024-01-03T13-00-00Z");
        check("h", 6, "2024-01-03T12-00-00Z");
        check("d", 1, "2024-01-03T00-00-00Z");
        check("MIDNIGHT", 1, "2024-01-03T00-00-00Z");
        check("W0", 1, "2024-01-01T00-00-00Z");
        check("w2", 1, "2024-01-03T00-00-00Z");
        check("w3", 1, "2023-12-28T00-00-00Z");
        check("w6", 1, "2023-12-31T00-00-00Z");
        check("w6", u32::MAX, "1970-01-04T00-00-00Z");
        check("w3", u32::MAX, "1970-01-01T00-00-00Z");
    }

    #[test]
    fn a_period_is_over_after_its_length_and_not_before() {
        let rotation = rotation("h", 10);
        let at = |hours: u64| rotation.period(UNIX_EPOCH + Duration::from_secs(hours * 3600));
        assert_eq!(at(20), at(29));
        assert!(!rotation.is_over(at(20), at(29)));
        assert!(rotation.is_over(at(20), at(30)));
        assert!(!rotation.is_over(at(20), at(19)), "a clock set back a little ended a file");
        assert!(rotation.is_over(at(20), at(9)));
    }

    #[test]
    fn other_units_are_refused_with_those_that_there_are() {
        for text in ["", "w7", "w", "hours", "y"] {
            let error = text.parse::<RotationUnit>().unwrap_err().to_string();
            assert!(error.contains("midnight") && error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn a_stamp_is_known_by_its_shape() {
        assert!(is_stamp(&stamp(1_704_289_631)));
        for text in
            ["", "2024-01-03", "2024-01-03T13:47:11Z", "2024-01-03T13-47-11Zx", "é024-01-03T13-47-11Z"]
        {
            assert!(!is_stamp(text), "{text}");
        }
    }
}
