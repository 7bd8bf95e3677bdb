//! Patterns of ids, prepared.

use cm_types::{Action, ResourceKind};

use super::syntax::What;

/// A prepared pattern: the same decisions as [`crate::sharing::pattern::fits`], without preparing anything anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Glob {
    /// Everything.
    Any,
    /// This text.
    Exact(Box<str>),
    /// Every text that begins so.
    Prefix(Box<str>),
    /// Anything else.
    Pattern(Box<[char]>),
}

impl Glob {
    pub(super) fn new(pattern: Option<&str>) -> Self {
        let Some(pattern) = pattern else { return Glob::Any };
        let is_wild = |text: &str| text.contains(['*', '?']);
        match pattern.trim_end_matches('*') {
            "" if !pattern.is_empty() => Glob::Any,
            prefix if is_wild(prefix) => Glob::Pattern(pattern.chars().collect()),
            prefix if prefix.len() < pattern.len() => Glob::Prefix(prefix.into()),
            exact => Glob::Exact(exact.into()),
        }
    }

    /// Whether the text fits, in time proportional to the product of both lengths at worst.
    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Glob::Any => true,
            Glob::Exact(exact) => **exact == *text,
            Glob::Prefix(prefix) => text.starts_with(&**prefix),
            Glob::Pattern(pattern) => fits(pattern, text),
        }
    }

    /// The text up to the first slash that everything that fits begins with, if it is the same for all.
    pub(super) fn head(pattern: Option<&str>) -> Option<&str> {
        let pattern = pattern?;
        let head = head(pattern);
        let whole = head.len() == pattern.len();
        // `ct*` fits `ct/1` as well as `ctx`.
        (!head.contains(['*', '?']) && (whole || pattern[head.len()..].starts_with('/'))).then_some(head)
    }
}

/// A text up to its first slash.
pub(super) fn head(text: &str) -> &str {
    text.split('/').next().unwrap_or(text)
}

fn fits(pattern: &[char], text: &str) -> bool {
    let (mut at_pattern, mut rest) = (0, text);
    let mut star: Option<(usize, &str)> = None;
    while let Some(found) = rest.chars().next() {
        match pattern.get(at_pattern) {
            Some('*') => {
                star = Some((at_pattern, rest));
                at_pattern += 1;
            }
            Some(expected) if *expected == '?' || *expected == found => {
                at_pattern += 1;
                rest = &rest[found.len_utf8()..];
            }
            _ => {
                let Some((position, taken)) = star else { return false };
                let mut after = taken.chars();
                after.next();
                rest = after.as_str();
                star = Some((position, rest));
                at_pattern = position + 1;
            }
        }
    }
    pattern[at_pattern..].iter().all(|left| *left == '*')
}

/// What a statement speaks of, once `bucket "B/KEY"` is taken apart.
pub(super) struct Reach<'a> {
    pub(super) kind: Option<ResourceKind>,
    pub(super) pattern: Option<&'a str>,
    /// The only actions of the statement that count here; `None` is all of them.
    pub(super) only: Option<&'static [Action]>,
}

/// See [`What`].
pub(super) fn reaches(what: &What) -> Vec<Reach<'_>> {
    let pattern = what.pattern.as_deref();
    let split =
        pattern.filter(|_| what.kind == Some(ResourceKind::Bucket)).and_then(|text| text.split_once('/'));
    let Some((bucket, key)) = split else { return vec![Reach { kind: what.kind, pattern, only: None }] };
    let mut reaches = vec![Reach { kind: Some(ResourceKind::Object), pattern, only: None }];
    if !key.is_empty() && key.bytes().all(|byte| byte == b'*') {
        let only = Some(&[Action::Read, Action::List][..]);
        reaches.push(Reach { kind: Some(ResourceKind::Bucket), pattern: Some(bucket), only });
    }
    reaches
}
