//! How long, in words: `1h`, `15min`, `2d 3 hours`, `1w`.
//!
//! Clients of the first protocol wrote durations as one library reads them (`c D y M w d h m s ms` and words, `M` of 30.5
//! days), today's as another (`min`, `hours`, a bare number of seconds). All of it is understood; letters count alike in
//! either case but for `M` and `m`, `D` and `d`.

use std::time::Duration;

/// Longest text that is looked at, in bytes.
pub const TEXT_LEN_MAX: usize = 64;
const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// It is not made of numbers and units.
    #[error("expected a duration such as 15min, 1h or 2d 3h")]
    Form,
    /// Shorter than a millisecond, or longer than a thousand years.
    #[error("expected a duration between a millisecond and a thousand years")]
    Range,
}

/// The duration of a text.
///
/// # Errors
/// [`InvalidDuration`].
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    if text.len() > TEXT_LEN_MAX {
        return Err(InvalidDuration::Form);
    }
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(InvalidDuration::Form);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| InvalidDuration::Form)?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        seconds += number * unit(&rest[..letters]).ok_or(InvalidDuration::Form)?;
        rest = rest[letters..].trim_start_matches([' ', ',']);
        if let Some(further) = rest.strip_prefix("and ") {
            rest = further.trim_start();
        }
    }
    let in_range = (0.001..=1000.0 * 366.0 * DAY).contains(&seconds);
    if in_range { Ok(Duration::from_secs_f64(seconds)) } else { Err(InvalidDuration::Range) }
}

/// Seconds of a unit.
fn unit(text: &str) -> Option<f64> {
    match text {
        "M" => return Some(30.5 * DAY),
        "D" => return Some(10.0 * 365.0 * DAY),
        _ => {}
    }
    Some(match text.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "millisecond" | "milliseconds" => 0.001,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7.0 * DAY,
        "month" | "months" => 30.5 * DAY,
        "y" | "year" | "years" => 365.0 * DAY,
        "decade" | "decades" => 10.0 * 365.0 * DAY,
        "c" | "century" | "centuries" => 100.0 * 365.0 * DAY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_ways_of_writing_are_understood() {
        for (text, seconds) in [
            ("1h", 3600),
            ("15min", 900),
            ("15m", 900),
            ("1d", 86_400),
            ("2d 3 hours", 183_600),
            ("1M", 2_635_200),
            ("90", 90),
            ("1 week, 1 day and 1s", 691_201),
            ("1.5H", 5400),
            ("1y", 31_536_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1500ms"), Ok(Duration::from_millis(1500)));
        for bad in ["", " ", "h", "1x", "-1h", "1h-", "1..2s", "and 1s", &"1".repeat(65), "é", "1é"] {
            assert_eq!(parse(bad), Err(InvalidDuration::Form), "{bad}");
        }
        for bad in ["0", "0s", "1000000y", "0.0001ms"] {
            assert_eq!(parse(bad), Err(InvalidDuration::Range), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall(text in "\\PC{0,70}") {
            let _ = parse(&text);
        }

        #[test]
        fn sums_are_sums(days in 0u64..400, hours in 0u64..100, secs in 1u64..100) {
            let text = format!("{days}d {hours} hours, {secs}s");
            prop_assert_eq!(parse(&text), Ok(Duration::from_secs(days * 86_400 + hours * 3600 + secs)));
        }
    }
}
