//! Times as STIX and TAXII write them: RFC 3339 in UTC with `Z`.

use cm_types::Timestamp;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::StixError;

/// Reads a time. Digits behind the microseconds are cut off.
///
/// # Errors
/// [`StixError::Moment`], also for offsets other than `Z`, which STIX does not know.
pub fn parse(text: &str) -> Result<Timestamp, StixError> {
    let refused = || StixError::Moment(text.chars().take(64).collect());
    if !text.ends_with('Z') || text.len() > 40 {
        return Err(refused());
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| refused())?;
    let micros = i64::try_from(moment.unix_timestamp_nanos().div_euclid(1000)).map_err(|_| refused())?;
    Ok(Timestamp::from_micros(micros))
}

/// Writes a time with all six digits of the microseconds, so that times sort as their texts do.
pub fn text(moment: Timestamp) -> String {
    written(
        moment,
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"),
    )
}

/// Writes a time with three digits, as STIX writes `created` and `modified`.
pub fn text_millis(moment: Timestamp) -> String {
    written(
        moment,
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"),
    )
}

fn written(moment: Timestamp, format: &[time::format_description::BorrowedFormatItem<'_>]) -> String {
    let nanos = i128::from(moment.as_micros()) * 1000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(format).expect("a time within the range of years formats")
}

/// Reads when an event is said to have happened: the earlier node writes local time without a zone, which is taken for UTC; others write RFC 3339. `None` for anything else.
pub fn said(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return i64::try_from(moment.unix_timestamp_nanos().div_euclid(1000))
            .ok()
            .map(Timestamp::from_micros);
    }
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let moment = PrimitiveDateTime::parse(text, format).ok()?.assume_utc();
    i64::try_from(moment.unix_timestamp_nanos() / 1000).ok().map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: Option<&str>) {
        assert_eq!(parse(given).ok().map(text).as_deref(), expected, "{given}");
    }

    #[test]
    fn times_are_utc_and_exact_to_the_microsecond() {
        check("2026-11-21T12:00:00Z", Some("2026-11-21T12:00:00.000000Z"));
        check("2026-11-21T12:00:00.1Z", Some("2026-11-21T12:00:00.100000Z"));
        check("2026-11-21T12:00:00.123456789Z", Some("2026-11-21T12:00:00.123456Z"));
        for bad in [
            "",
            "2026",
            "2026-11-21",
            "2026-11-21T12:00:00",
            "2026-11-21T12:00:00+01:00",
            "2026-13-01T00:00:00Z",
            "2026-11-21T12:00:00.Z",
        ] {
            check(bad, None);
        }
        check(&format!("2026-11-21T12:00:00.{}Z", "1".repeat(99)), None);
    }

    #[test]
    fn what_an_event_says_is_read_in_both_forms() {
        let read = |given: &str| said(given).map(text_millis);
        assert_eq!(read("2026-11-21 12:00:00").as_deref(), Some("2026-11-21T12:00:00.000Z"));
        assert_eq!(read("2026-11-21T12:00:00+01:00").as_deref(), Some("2026-11-21T11:00:00.000Z"));
        assert_eq!(read("yesterday"), None);
    }
}
