//! What happened, as a word.

use std::borrow::Cow;

use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};

/// Longest verb, in bytes.
pub const VERB_LEN_MAX: usize = 64;

/// What happened: two or more parts of lower-case letters and digits with hyphens, separated by dots,
/// from general to special: `function.created`, `access.denied`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventVerb(Cow<'static, str>);

/// The text is no verb.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no event verb, expected parts of a-z, 0-9 and hyphens separated by dots")]
pub struct InvalidVerb(pub String);

impl EventVerb {
    /// Checks the text and takes it over.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidVerb> {
        let text = text.into();
        if is_verb(&text) { Ok(Self(Cow::Owned(text))) } else { Err(InvalidVerb(text)) }
    }

    /// A verb of the program itself.
    ///
    /// # Panics
    /// If the text is no verb: a mistake in the program, not of its input.
    pub fn fixed(text: &'static str) -> Self {
        assert!(is_verb(text), "`{text}` is no event verb");
        Self(Cow::Borrowed(text))
    }

    /// What happened to a resource: `EventVerb::of(kind, "created")` is `function.created` and the like.
    ///
    /// # Panics
    /// If `happened` cannot end a verb.
    pub fn of(kind: ResourceKind, happened: &'static str) -> Self {
        let text = format!("{kind}.{happened}");
        assert!(is_verb(&text), "`{text}` is no event verb");
        Self(Cow::Owned(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_verb(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.split('-').all(word);
    text.len() <= VERB_LEN_MAX && text.contains('.') && text.split('.').all(part)
}

fn word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

impl std::fmt::Display for EventVerb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for EventVerb {
    type Err = InvalidVerb;

    fn from_str(text: &str) -> Result<Self, InvalidVerb> {
        Self::parse(text)
    }
}

impl TryFrom<String> for EventVerb {
    type Error = InvalidVerb;

    fn try_from(text: String) -> Result<Self, InvalidVerb> {
        Self::parse(text)
    }
}

impl From<EventVerb> for String {
    fn from(verb: EventVerb) -> String {
        verb.0.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_parts_separated_by_dots() {
        for good in ["function.created", "api-key.revoked", "a.b.c2"] {
            assert_eq!(EventVerb::parse(good).unwrap().as_str(), good);
        }
        let long = format!("a.{}", "b".repeat(63));
        for bad in ["", "created", ".a", "a.", "a..b", "A.b", "a.b c", "a.-b", "a.b-", "a.b--c", "ä.b", &long]
        {
            assert!(EventVerb::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for &kind in ResourceKind::ALL {
            assert!(EventVerb::of(kind, "created").as_str().ends_with(".created"));
        }
    }
}
