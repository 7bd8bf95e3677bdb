//! Filters and pages, from the text of a query (sections 3.4 and 3.5).

use cm_http::Failure;
use cm_intel::shelf::{Match, Query};
use cm_stix::moment;

use super::shape::bad_parameter;

/// Objects of a page, unless told, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Most values of one filter.
const VALUES_MAX: usize = 100;
/// Stands for a version of STIX that there is nothing of.
const NO_SPEC: u8 = 0;

/// A filter that an address may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `match[id]`.
    Id,
    /// `match[type]`.
    Type,
    /// `match[version]`.
    Version,
    /// `match[spec_version]`.
    SpecVersion,
    /// `added_after`, `limit` and `next`.
    Page,
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {reason}")]
pub struct InvalidFilter {
    /// The parameter.
    pub parameter: String,
    /// What would be understood.
    pub reason: String,
}

impl From<InvalidFilter> for Failure {
    fn from(invalid: InvalidFilter) -> Failure {
        bad_parameter(&invalid.parameter, invalid.reason)
    }
}

fn invalid(parameter: &str, reason: &str) -> InvalidFilter {
    InvalidFilter { parameter: parameter.chars().take(64).collect(), reason: reason.to_owned() }
}

/// Reads a query. Parameters that are no filters are nobody's business; filters that this address does not know are refused.
///
/// # Errors
/// [`InvalidFilter`], also for a filter that is given twice: whichever was meant, the other was not.
pub fn parse(query: Option<&str>, known: &[Filter]) -> Result<Query, InvalidFilter> {
    let mut parsed = Query { limit: LIMIT_DEFAULT, ..Query::default() };
    let (mut added_after, mut next) = (0, 0);
    let mut seen: Vec<String> = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        let filter = match name.as_str() {
            "match[id]" => Filter::Id,
            "match[type]" => Filter::Type,
            "match[version]" => Filter::Version,
            "match[spec_version]" => Filter::SpecVersion,
            "added_after" | "limit" | "next" => Filter::Page,
            other if other.starts_with("match[") => {
                return Err(invalid(
                    &name,
                    "no filter of that name; there are match[id], match[type], match[version] and match[spec_version]",
                ));
            }
            _ => continue,
        };
        if !known.contains(&filter) {
            return Err(invalid(&name, "this address has no such filter"));
        }
        if seen.contains(&name) {
            return Err(invalid(&name, "given twice; separate values by commas"));
        }
        match name.as_str() {
            "added_after" => added_after = micros(&value).ok_or_else(|| invalid(&name, MOMENT))?,
            "limit" => {
                parsed.limit =
                    limit(&value).ok_or_else(|| invalid(&name, "expected a whole number from 1"))?
            }
            "next" => {
                next = cursor(&value)
                    .ok_or_else(|| invalid(&name, "expected what the page before gave as `next`"))?
            }
            "match[id]" => parsed.ids = values(&name, &value)?,
            "match[type]" => parsed.kinds = values(&name, &value)?,
            "match[version]" => parsed.versions = versions(&name, &value)?,
            _ => parsed.specs = values(&name, &value)?.iter().map(|spec| spec_of(spec)).collect(),
        }
        seen.push(name);
    }
    parsed.after = added_after.max(next);
    Ok(parsed)
}

const MOMENT: &str = "expected a time such as 2026-01-31T12:00:00.000000Z";

fn decoded(text: &str) -> Result<String, InvalidFilter> {
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| invalid(text, "no UTF-8"))
}

fn micros(text: &str) -> Option<u64> {
    let moment = moment::parse(text).ok()?;
    Some(u64::try_from(moment.as_micros()).unwrap_or_default())
}

fn limit(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a number has are a large number all the same.
    let limit = if digits { text.parse().unwrap_or(usize::MAX) } else { 0 };
    (limit > 0).then(|| limit.min(LIMIT_MAX))
}

fn cursor(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn values(name: &str, text: &str) -> Result<Vec<String>, InvalidFilter> {
    let values: Vec<String> = text.split(',').map(|value| value.trim().to_owned()).collect();
    if values.iter().any(String::is_empty) {
        return Err(invalid(name, "expected values separated by commas, none of them empty"));
    }
    if values.len() > VALUES_MAX {
        return Err(invalid(name, "at most 100 values"));
    }
    Ok(values)
}

fn versions(name: &str, text: &str) -> Result<Vec<Match>, InvalidFilter> {
    let one = |value: String| match value.as_str() {
        "all" => Ok(Match::All),
        "first" => Ok(Match::First),
        "last" => Ok(Match::Last),
        moment => moment::parse(moment).map(Match::At).map_err(|_| {
            invalid(name, "expected `all`, `first`, `last` or a time such as 2026-01-31T12:00:00.000Z")
        }),
    };
    values(name, text)?.into_iter().map(one).collect()
}

fn spec_of(text: &str) -> u8 {
    match text {
        "2.0" => 20,
        "2.1" => 21,
        _ => NO_SPEC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Filter] = &[Filter::Id, Filter::Type, Filter::Version, Filter::SpecVersion, Filter::Page];

    fn check(query: &str, expected: Query) {
        assert_eq!(parse(Some(query), ALL), Ok(expected), "{query}");
    }

    #[test]
    fn filters_are_read_as_they_are_written() {
        check("", Query::default());
        check(
            "match[id]=a--1,b--2&match%5Btype%5D=a",
            Query { ids: vec!["a--1".into(), "b--2".into()], kinds: vec!["a".into()], ..Query::default() },
        );
        check(
            "limit=7&next=5&added_after=1970-01-01T00:00:00.000003Z",
            Query { limit: 7, after: 5, ..Query::default() },
        );
        check("next=5&added_after=1970-01-01T00:00:00.000009Z", Query { after: 9, ..Query::default() });
        check("limit=99999999999999999999999", Query { limit: LIMIT_MAX, ..Query::default() });
        check(
            "match[version]=all,first",
            Query { versions: vec![Match::All, Match::First], ..Query::default() },
        );
        check("match[spec_version]=2.0,9.9", Query { specs: vec![20, NO_SPEC], ..Query::default() });
        check("pretty=1&_=2", Query::default());
    }

    #[test]
    fn what_a_filter_cannot_mean_is_refused_by_its_name() {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=-1", "limit"),
            ("limit=1.5", "limit"),
            ("limit=", "limit"),
            ("next=x", "next"),
            ("next=1%27%20OR%201=1", "next"),
            ("next=99999999999999999999999", "next"),
            ("added_after=yesterday", "added_after"),
            ("added_after=2026-01-01T00:00:00", "added_after"),
            ("match[version]=newest", "match[version]"),
            ("match[id]=", "match[id]"),
            ("match[id]=a,,b", "match[id]"),
            ("match[id]=a&match[id]=b", "match[id]"),
            ("match[$where]=1", "match[$where]"),
            ("match[id][$ne]=1", "match[id][$ne]"),
            ("limit=%ff", "%ff"),
        ] {
            assert_eq!(parse(Some(query), ALL).unwrap_err().parameter, name, "{query}");
        }
        assert!(parse(Some(&format!("match[id]={}", vec!["a"; 101].join(","))), ALL).is_err());
        assert_eq!(parse(Some("match[id]=a"), &[Filter::Page]).unwrap_err().parameter, "match[id]");
    }

    #[test]
    fn a_value_is_a_value_whatever_it_looks_like() {
        for hostile in ["a' OR '1'='1", "{\"$ne\":null}", "*", "%", "../..", "a--1;drop", "\u{0}", "a]"] {
            let query = format!(
                "match[id]={}",
                percent_encoding::utf8_percent_encode(hostile, percent_encoding::NON_ALPHANUMERIC)
            );
            check(&query, Query { ids: vec![hostile.into()], ..Query::default() });
        }
    }
}
