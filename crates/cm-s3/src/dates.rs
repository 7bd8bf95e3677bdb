//! Dates of HTTP. The adapter reads the one form in which they are written today; those of old are to be understood, too (RFC 9110,
//! section 5.6.7).

use s3s::dto::{Timestamp, TimestampFormat};
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// What both of the old forms say, in one order.
const MOMENT: &[BorrowedFormatItem<'_>] =
    format_description!("[day padding:none] [month repr:short] [year] [hour]:[minute]:[second]");
/// From here on, two digits are of the last century: a date that seems to be half a century ahead is past.
const LAST_CENTURY: u16 = 70;

/// Whether the adapter reads the date.
pub(crate) fn is_plain(text: &str) -> bool {
    Timestamp::parse(TimestampFormat::HttpDate, text).is_ok()
}

/// A date of one of the old forms, as it is written today: `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
pub(crate) fn of_old(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, clock) = match words[..] {
        [_, day, month, year, clock, "GMT"] if year.len() == 2 => {
            let year: u16 = year.parse().ok()?;
            (day, month, if year < LAST_CENTURY { 2000 + year } else { 1900 + year }, clock)
        }
        [_, month, day, clock, year] => (day, month, year.parse().ok()?, clock),
        _ => return None,
    };
    let day = day.trim_start_matches('0');
    let moment = PrimitiveDateTime::parse(&format!("{day} {month} {year:04} {clock}"), MOMENT).ok()?;
    crate::describe::http_date(&Timestamp::from(moment.assume_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_old_are_those_of_today() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(of_old(text).as_deref(), expected, "{text}");
        };
        let written = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert!(is_plain(written));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(written));
        check("Sun Nov  6 08:49:37 1994", Some(written));
        check("Sunday, 01-Feb-26 00:00:00 GMT", Some("Sun, 01 Feb 2026 00:00:00 GMT"));
        for none in [
            "",
            "0",
            "garbage",
            "2020-01-01T00:00:00Z",
            "Sunday, 06-Nov-94 08:49:37",
            "Sun Nov 31 08:49:37 1994",
        ] {
            assert!(!is_plain(none));
            check(none, None);
        }
    }
}
