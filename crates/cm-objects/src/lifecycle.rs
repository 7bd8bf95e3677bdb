//! Rules by which objects of a bucket end: what they say, and what follows from them. `lifecycle::worker` does it.

pub(crate) mod settings;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::time::Duration;

use cm_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ObjectInfo;

/// Most rules of a bucket: the limit of S3, which clients expect.
pub const RULES_MAX: usize = 1000;

/// What ends, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Names the rule within its bucket.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// Which objects it is about.
    pub scope: Scope,
    /// When objects end: for good, or with a mark where the bucket keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    /// When versions end that are shown no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent: Option<Noncurrent>,
    /// After how many days uploads in parts are given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_uploads_after_days: Option<u32>,
}

/// Which objects a rule is about. All that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Those whose keys begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Those with these tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Those of more bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// Those of fewer bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
    /// How it was written down, so that it can be shown as it was.
    #[serde(default)]
    pub form: ScopeForm,
}

/// How a [`Scope`] was written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeForm {
    /// As a prefix beside the rule's other fields.
    Prefix,
    /// As one condition, or none.
    #[default]
    Filter,
    /// As conditions joined by "and".
    And,
}

/// When objects end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiration {
    /// So many days after they were written.
    Days(u32),
    /// From a moment on.
    Date(Timestamp),
    /// Never; but marks of deletion do when they are all that is left of an object.
    LoneMarkers(bool),
}

/// When versions end that are shown no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noncurrent {
    /// So many days after another version took their place.
    pub days: u32,
    /// But for so many, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

impl Scope {
    /// Whether it is about an object.
    pub(crate) fn covers(&self, key: &str, size: u64, tags: &BTreeMap<String, String>) -> bool {
        self.covers_key(key)
            && self.larger_than.is_none_or(|min| size > min)
            && self.smaller_than.is_none_or(|max| size < max)
            && self.tags.iter().all(|(name, value)| tags.get(name) == Some(value))
    }

    pub(crate) fn covers_key(&self, key: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
    }

    /// Whether nothing but keys counts: marks and uploads have neither size nor tags.
    pub(crate) fn is_of_keys(&self) -> bool {
        self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }
}

/// So many days after a moment, and then the next midnight.
pub(crate) fn days_after(start: Timestamp, days: u32, day: Duration) -> Timestamp {
    let day_micros = i64::try_from(day.as_micros()).unwrap_or(i64::MAX).max(1);
    let due = start.as_micros().saturating_add(day_micros.saturating_mul(i64::from(days)));
    let rest = due.rem_euclid(day_micros);
    Timestamp::from_micros(if rest == 0 { due } else { due.saturating_add(day_micros - rest) })
}

/// When an object ends, and by which rule: the first to come.
pub(crate) fn expiry(rules: &[Rule], info: &ObjectInfo, day: Duration) -> Option<(Timestamp, String)> {
    let due = |rule: &Rule| match rule.expiration? {
        Expiration::Days(days) => Some(days_after(info.created_at, days, day)),
        Expiration::Date(date) => Some(date),
        Expiration::LoneMarkers(_) => None,
    };
    rules
        .iter()
        .filter(|rule| rule.enabled && rule.scope.covers(info.key.as_str(), info.size, &info.tags))
        .filter_map(|rule| Some((due(rule)?, rule.id.clone())))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_end_at_midnight() {
        const DAY: Duration = Duration::from_secs(86_400);
        let at = |hours: i64| Timestamp::from_micros(hours * 3_600_000_000);
        assert_eq!(days_after(at(0), 1, DAY), at(24));
        assert_eq!(days_after(at(1), 1, DAY), at(48));
        assert_eq!(days_after(at(25), 0, DAY), at(48));
    }

    #[test]
    fn a_scope_demands_all_that_it_says() {
        let tags = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let scope = Scope {
            prefix: Some("logs/".to_owned()),
            tags: tags(&[("a", "1")]),
            larger_than: Some(10),
            smaller_than: Some(20),
            form: ScopeForm::And,
        };
        let check = |key: &str, size, having: &[(&str, &str)], expected| {
            assert_eq!(scope.covers(key, size, &tags(having)), expected, "{key} {size} {having:?}");
        };
        check("logs/x", 15, &[("a", "1"), ("b", "2")], true);
        check("log", 15, &[("a", "1")], false);
        check("logs/x", 10, &[("a", "1")], false);
        check("logs/x", 20, &[("a", "1")], false);
        check("logs/x", 15, &[("a", "2")], false);
        assert!(Scope::default().covers("", 0, &BTreeMap::new()));
    }
}
