//! What can be wrong with a file.

use cm_types::{InvalidByteCount, InvalidId, InvalidLabel, ResourceRef};

use crate::position::Position;

/// Most problems that are reported of one file, and as many warnings.
pub const PROBLEMS_MAX: usize = 100;

/// Longest piece of the file that is repeated in a message, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// Something about a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub at: Position,
    /// What it is.
    pub reason: Reason,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.at, self.reason)
    }
}

/// A file that is not read, with all that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.summary())]
pub struct Refused {
    /// At least one problem and at most [`PROBLEMS_MAX`], by position.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

impl Refused {
    fn summary(&self) -> String {
        let first = self.problems.first().map(Problem::to_string).unwrap_or_default();
        match self.problems.len() + self.omitted {
            0 | 1 => first,
            count => format!("{first} (and {} more)", count - 1),
        }
    }
}

/// Why a file, or a part of it, is not read, or is read but has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The file is too long.
    #[error("the file has more than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// The bytes are no text.
    #[error("this is not UTF-8 text")]
    Encoding,
    /// It is no YAML.
    #[error("{0}")]
    Syntax(String),
    /// Values lie in values too deeply.
    #[error("nested more than {max} levels deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// There are too many values.
    #[error("more than {max} values")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// Aliases repeat too much.
    #[error("aliases repeat too much: more than {max} values or bytes")]
    Expansion {
        /// The limit.
        max: usize,
    },
    /// An alias inside of what it repeats.
    #[error("this alias repeats itself")]
    Endless,
    /// A tag that is not understood.
    #[error("tag `{0}` is not understood, only `!!str` is")]
    Tag(String),
    /// A key that is a list or a mapping.
    #[error("expected text as a key, found {0}")]
    Key(&'static str),
    /// A merge key.
    #[error("merge keys (`<<`) are not read; repeat the fields, or the whole mapping with an alias")]
    MergeKey,
    /// A key stands twice in one mapping.
    #[error("`{key}` already stands at {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it stood before.
        first: Position,
    },
    /// A value of another type than expected.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What is expected.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The file is made for another version.
    #[error("version `{0}` is not understood, only `v1` is")]
    Version(String),
    /// A section that does not exist.
    #[error("unknown section `{name}`{}", suggestion(.nearest))]
    UnknownSection {
        /// Its name.
        name: String,
        /// The known name nearest to it.
        nearest: Option<&'static str>,
    },
    /// A field that does not exist.
    #[error("unknown field `{name}` of {owner}{}", suggestion(.nearest))]
    UnknownField {
        /// What has no such field.
        owner: &'static str,
        /// Its name.
        name: String,
        /// The known name nearest to it.
        nearest: Option<&'static str>,
    },
    /// No identifier.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// No label.
    #[error(transparent)]
    Label(#[from] InvalidLabel),
    /// No amount of bytes.
    #[error(transparent)]
    Bytes(#[from] InvalidByteCount),
    /// No name.
    #[error("a name is 1 to {max} bytes long and has no control characters")]
    Name {
        /// The limit.
        max: usize,
    },
    /// A number outside of its range.
    #[error("must be between {min} and {max}")]
    Range {
        /// The smallest number.
        min: u64,
        /// The largest number.
        max: u64,
    },
    /// An id that is repeated inside of a resource, but is another one.
    #[error("must repeat the id `{id}` that stands at {key}, or be left out")]
    OtherId {
        /// The id.
        id: String,
        /// Where it stands.
        key: Position,
    },
    /// A resource is declared twice.
    #[error("{resource} is already declared at {first}")]
    DeclaredTwice {
        /// The resource.
        resource: ResourceRef,
        /// Where it was declared before.
        first: Position,
    },
    /// A resource belongs to two others.
    #[error("{child} belongs to {parent} here, but to `{other}` at {first}")]
    OtherParent {
        /// What belongs to both.
        child: ResourceRef,
        /// To what it belongs here.
        parent: ResourceRef,
        /// The id of the other one.
        other: String,
        /// Where that is said.
        first: Position,
    },
    /// Only a warning: the platform writes this field itself.
    #[error("`{0}` is written by the platform; what stands here is ignored")]
    Written(&'static str),
    /// Only a warning: the catalogue keeps no connections.
    #[error("connections are not kept by the catalogue; this section is ignored")]
    Connections,
    /// Only a warning: a list names what the file does not declare.
    #[error("{0} is not declared in this file; listing it has no effect")]
    NotDeclared(ResourceRef),
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

/// A piece of the file as a message may repeat it: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Collects problems: the first ones in the file when there are too many.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    pub(crate) fn add(&mut self, at: Position, reason: impl Into<Reason>) {
        if self.found.len() >= 4 * PROBLEMS_MAX {
            self.trim();
        }
        self.found.push(Problem { at, reason: reason.into() });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn trim(&mut self) {
        self.found.sort_by_key(|problem| problem.at);
        self.omitted += self.found.len().saturating_sub(PROBLEMS_MAX);
        self.found.truncate(PROBLEMS_MAX);
    }

    /// All of them by position, and how many were left out.
    pub(crate) fn finish(mut self) -> (Vec<Problem>, usize) {
        self.trim();
        (self.found, self.omitted)
    }
}
