//! One sentence of the permissions language: `function:invoke`, `*:read`, `bucket:*@env=prod`.

use cm_types::{Action, InvalidLabel, LabelSelector, Labels, ResourceKind};
use serde::{Deserialize, Serialize};

/// Longest text of a permission, in bytes; enough for a selector of a few labels.
pub const PERMISSION_LEN_MAX: usize = 1024;

/// One value, or `*` for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern<T> {
    /// Matches everything.
    Any,
    /// Matches this value.
    Only(T),
}

impl<T: PartialEq> Pattern<T> {
    /// Whether the value is among those that the pattern stands for.
    pub fn matches(&self, value: &T) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Only(only) => only == value,
        }
    }

    /// Whether everything that `other` matches is matched by this one too.
    pub fn includes(&self, other: &Pattern<T>) -> bool {
        match other {
            Pattern::Any => matches!(self, Pattern::Any),
            Pattern::Only(value) => self.matches(value),
        }
    }
}

impl<T: std::fmt::Display> std::fmt::Display for Pattern<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pattern::Any => f.write_str("*"),
            Pattern::Only(value) => value.fmt(f),
        }
    }
}

/// What a role permits: an action on resources of a kind whose labels satisfy a selector.
///
/// Its text form is `KIND:ACTION` with an optional `@NAME=VALUE,…`; kind and action may be `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permission {
    /// The kinds of resources.
    pub kind: Pattern<ResourceKind>,
    /// The actions.
    pub action: Pattern<Action>,
    /// The labels that a resource must carry.
    pub selector: LabelSelector,
}

/// Why a text is no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPermission {
    /// It is not of the form `KIND:ACTION`.
    #[error("`{0}` is no permission, expected KIND:ACTION or KIND:ACTION@LABEL=VALUE")]
    Shape(String),
    /// Longer than [`PERMISSION_LEN_MAX`] bytes.
    #[error("a permission must not be longer than {PERMISSION_LEN_MAX} bytes")]
    TooLong,
    /// There is no such kind.
    #[error(transparent)]
    Kind(#[from] cm_types::kind::UnknownKind),
    /// There is no such action.
    #[error(transparent)]
    Action(#[from] cm_types::action::UnknownAction),
    /// An `@` is followed by nothing.
    #[error("`{0}` ends where a selector should follow")]
    EmptySelector(String),
    /// The selector is none.
    #[error(transparent)]
    Selector(#[from] InvalidLabel),
}

impl Permission {
    /// What a word of a role permits: a permission as above, or the bare name of an action for resources of all
    /// kinds, as roles of the earlier implementation have it. There, `write` stands for creating and updating, and
    /// `execute` for invoking.
    ///
    /// # Errors
    ///
    /// [`InvalidPermission`] of the word as a permission, if it is neither.
    pub fn granted_by(word: &str) -> Result<Vec<Permission>, InvalidPermission> {
        let of_all_kinds = |action| Permission {
            kind: Pattern::Any,
            action: Pattern::Only(action),
            selector: LabelSelector::everything(),
        };
        match word {
            "write" => Ok(vec![of_all_kinds(Action::Create), of_all_kinds(Action::Update)]),
            "execute" => Ok(vec![of_all_kinds(Action::Invoke)]),
            word => match word.parse::<Action>() {
                Ok(action) => Ok(vec![of_all_kinds(action)]),
                Err(_) => word.parse().map(|permission| vec![permission]),
            },
        }
    }

    /// Everything: `*:*`.
    pub fn everything() -> Self {
        Self { kind: Pattern::Any, action: Pattern::Any, selector: LabelSelector::everything() }
    }

    /// Whether this speaks of the kind and the action, whatever the labels.
    pub fn concerns(&self, kind: ResourceKind, action: Action) -> bool {
        self.kind.matches(&kind) && self.action.matches(&action)
    }

    /// Whether this permits the action on a resource of the kind with these labels.
    pub fn permits(&self, kind: ResourceKind, action: Action, labels: &Labels) -> bool {
        self.concerns(kind, action) && self.selector.matches(labels)
    }

    /// Whether whoever holds this permission holds the other one as well. Decides what may be given
    /// away: nobody should be able to hand out more than what they have.
    pub fn implies(&self, other: &Permission) -> bool {
        self.kind.includes(&other.kind)
            && self.action.includes(&other.action)
            && selector_includes(&self.selector, &other.selector)
    }
}

/// Whether all terms of `wide` are also terms of `narrow`. The selector shows its terms only as text,
/// in the order of their names and without any character that would need quoting.
fn selector_includes(wide: &LabelSelector, narrow: &LabelSelector) -> bool {
    let narrow = narrow.to_string();
    let wide = wide.to_string();
    wide.split(',').filter(|term| !term.is_empty()).all(|term| narrow.split(',').any(|other| other == term))
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.action)?;
        if self.selector.is_everything() { Ok(()) } else { write!(f, "@{}", self.selector) }
    }
}

impl std::str::FromStr for Permission {
    type Err = InvalidPermission;

    fn from_str(text: &str) -> Result<Self, InvalidPermission> {
        if text.len() > PERMISSION_LEN_MAX {
            return Err(InvalidPermission::TooLong);
        }
        let (what, selector) = match text.split_once('@') {
            Some((_, "")) => return Err(InvalidPermission::EmptySelector(text.to_owned())),
            Some((what, selector)) => (what, selector.parse::<LabelSelector>()?),
            None => (text, LabelSelector::everything()),
        };
        // A text of commas only would select everything, which nobody who wrote an `@` can have meant.
        if text.contains('@') && selector.is_everything() {
            return Err(InvalidPermission::EmptySelector(text.to_owned()));
        }
        let (kind, action) = what.split_once(':').ok_or_else(|| InvalidPermission::Shape(text.to_owned()))?;
        let kind = match kind {
            "*" => Pattern::Any,
            name => Pattern::Only(name.parse()?),
        };
        let action = match action {
            "*" => Pattern::Any,
            name => Pattern::Only(name.parse()?),
        };
        Ok(Self { kind, action, selector })
    }
}

impl TryFrom<String> for Permission {
    type Error = InvalidPermission;

    fn try_from(text: String) -> Result<Self, InvalidPermission> {
        text.parse()
    }
}

impl From<Permission> for String {
    fn from(permission: Permission) -> String {
        permission.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        match (text.parse::<Permission>(), expected) {
            (Ok(permission), Ok(printed)) => {
                assert_eq!(permission.to_string(), printed);
                assert_eq!(printed.parse::<Permission>().unwrap(), permission);
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{text}: {error}");
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn the_language_reads_back_what_it_prints() {
        check("function:invoke", Ok("function:invoke"));
        check("functions:invoke", Ok("function:invoke"));
        check("*:read", Ok("*:read"));
        check("bucket:*@zone=eu,env=prod", Ok("bucket:*@env=prod,zone=eu"));
        check("*:*", Ok("*:*"));
    }

    #[test]
    fn bare_words_permit_their_action_on_everything() {
        let granted = |word: &str| {
            let granted = Permission::granted_by(word);
            granted.map(|all| all.iter().map(Permission::to_string).collect::<Vec<_>>().join(" ")).ok()
        };
        assert_eq!(granted("read").as_deref(), Some("*:read"));
        assert_eq!(granted("write").as_deref(), Some("*:create *:update"));
        assert_eq!(granted("execute").as_deref(), Some("*:invoke"));
        assert_eq!(granted("function:invoke").as_deref(), Some("function:invoke"));
        for word in ["reads", "", "*", "everything", "admin", "READ"] {
            assert_eq!(granted(word), None, "{word}");
        }
    }

    #[test]
    fn what_is_no_permission_is_refused() {
        check("", Err("no permission"));
        check("read", Err("no permission"));
        check("thing:read", Err("unknown kind"));
        check("function:fly", Err("unknown action"));
        check("function:read@", Err("selector"));
        check("function:read@,,", Err("selector"));
        check("function:read@env", Err("NAME=VALUE"));
        check(&format!("function:read@a={}", "x".repeat(1024)), Err("longer"));
    }

    #[test]
    fn implication_is_containment() {
        let implies = |wide: &str, narrow: &str| {
            wide.parse::<Permission>().unwrap().implies(&narrow.parse::<Permission>().unwrap())
        };
        assert!(implies("*:*", "function:read@env=prod"));
        assert!(implies("function:*", "function:*"));
        assert!(implies("function:read@env=prod", "function:read@env=prod,zone=eu"));
        assert!(!implies("function:read@env=prod,zone=eu", "function:read@env=prod"));
        assert!(!implies("function:read@env=prod", "function:read"));
        assert!(!implies("function:*", "*:read"));
        assert!(!implies("*:read", "function:*"));
    }
}
