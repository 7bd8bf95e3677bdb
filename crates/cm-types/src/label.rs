//! Labels: small facts about a resource that people and policies select by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most labels on one resource.
pub const LABELS_MAX: usize = 64;
/// Longest label name, in bytes; the limit of Kubernetes, so that labels can be mirrored there.
pub const LABEL_NAME_LEN_MAX: usize = 63;
/// Longest label value, in bytes.
pub const LABEL_VALUE_LEN_MAX: usize = 256;

/// Why labels were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    /// More labels than the limit.
    #[error("more than {LABELS_MAX} labels")]
    TooMany,
    /// The name is empty, too long or has a character that is not allowed.
    #[error("label name `{0}` must be 1 to {LABEL_NAME_LEN_MAX} ASCII letters, digits, -, _, . or /")]
    Name(String),
    /// The value is too long or has a character that is not allowed.
    #[error(
        "value of label `{0}` must be at most {LABEL_VALUE_LEN_MAX} bytes, without control characters or commas"
    )]
    Value(String),
    /// A selector without `=`.
    #[error("selector `{0}` must be NAME=VALUE")]
    Selector(String),
}

fn check_name(name: &str) -> Result<(), InvalidLabel> {
    let ok = !name.is_empty()
        && name.len() <= LABEL_NAME_LEN_MAX
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    if ok { Ok(()) } else { Err(InvalidLabel::Name(name.to_owned())) }
}

fn check_value(name: &str, value: &str) -> Result<(), InvalidLabel> {
    let ok = value.len() <= LABEL_VALUE_LEN_MAX && !value.chars().any(|c| c.is_control() || c == ',');
    if ok { Ok(()) } else { Err(InvalidLabel::Value(name.to_owned())) }
}

/// Label names with their values, ordered by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// No labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All labels, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = InvalidLabel;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, InvalidLabel> {
        if labels.len() > LABELS_MAX {
            return Err(InvalidLabel::TooMany);
        }
        for (name, value) in &labels {
            check_name(name)?;
            check_value(name, value)?;
        }
        Ok(Self(labels))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

/// Selects resources by labels that must all be present with the given values. Written `a=b,c=d`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelSelector(BTreeMap<String, String>);

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the labels satisfy every term.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, (name, value)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for LabelSelector {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        let mut terms = BTreeMap::new();
        for term in text.split(',').filter(|term| !term.is_empty()) {
            let (name, value) =
                term.split_once('=').ok_or_else(|| InvalidLabel::Selector(term.to_owned()))?;
            check_name(name)?;
            check_value(name, value)?;
            terms.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self(terms))
    }
}

impl TryFrom<String> for LabelSelector {
    type Error = InvalidLabel;

    fn try_from(text: String) -> Result<Self, InvalidLabel> {
        text.parse()
    }
}

impl From<LabelSelector> for String {
    fn from(selector: LabelSelector) -> String {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_reads_back_what_it_prints_and_selects() {
        let selector: LabelSelector = "zone=eu,env=prod".parse().unwrap();
        assert_eq!(selector.to_string(), "env=prod,zone=eu");
        let labels = |pairs: &[(&str, &str)]| {
            let map: BTreeMap<_, _> =
                pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            Labels::try_from(map).unwrap()
        };
        assert!(selector.matches(&labels(&[("env", "prod"), ("zone", "eu"), ("x", "y")])));
        assert!(!selector.matches(&labels(&[("env", "prod")])));
        assert!(LabelSelector::everything().matches(&Labels::new()));
        assert!("novalue".parse::<LabelSelector>().is_err());
    }
}
