//! Ranges as S3 reads them. One that it does not understand, or that asks for several ranges, it passes over, and sends the whole object
//! (RFC 9110, section 14.2, allows a server to ignore it). The adapter refuses these, and numbers that it has no place for.

/// Beyond every byte of an object, and the largest number that the adapter takes.
const END: u64 = i64::MAX.unsigned_abs();

/// What a range is to the adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Understood {
    /// What it says.
    AsSaid,
    /// The same, in smaller numbers.
    Shorter(String),
    /// Nothing.
    Not,
}

/// Reads `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`.
pub(crate) fn understood(range: &str) -> Understood {
    let number = |text: &str| -> Option<u64> {
        let is_plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        // So many digits that they are no number are a large number.
        is_plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|bounds| bounds.split_once('-')) else {
        return Understood::Not;
    };
    let bounds = match (first, last) {
        ("", count) => number(count).map(|count| (None, Some(count))),
        (first, "") => number(first).map(|first| (Some(first), None)),
        (first, last) => number(first)
            .zip(number(last))
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| (Some(first), Some(last))),
    };
    let Some((first, last)) = bounds else { return Understood::Not };
    if first.into_iter().chain(last).all(|bound| bound <= END) {
        return Understood::AsSaid;
    }
    let bound = |bound: Option<u64>| bound.map(|bound| bound.min(END).to_string()).unwrap_or_default();
    Understood::Shorter(format!("bytes={}-{}", bound(first), bound(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_understood() {
        let check = |range: &str, expected: Understood| assert_eq!(understood(range), expected, "{range}");
        for good in ["bytes=0-0", "bytes=4-", "bytes=-7", "bytes=-0", "bytes=0-9223372036854775807"] {
            check(good, Understood::AsSaid);
        }
        let many = "9".repeat(30);
        for (long, short) in [
            (format!("bytes=0-{many}"), "bytes=0-9223372036854775807"),
            (format!("bytes=-{many}"), "bytes=-9223372036854775807"),
            (format!("bytes={many}-"), "bytes=9223372036854775807-"),
            (format!("bytes={many}-{many}"), "bytes=9223372036854775807-9223372036854775807"),
        ] {
            check(&long, Understood::Shorter(short.to_owned()));
        }
        for bad in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=0-1,4-5",
            "lines=1-2",
            "bytes=+1-2",
        ] {
            check(bad, Understood::Not);
        }
    }
}
