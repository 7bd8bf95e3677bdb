//! What is wrong with a text.

use super::syntax::Position;

/// Something that is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct PdlError {
    /// Where.
    pub at: Position,
    /// What.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text is longer than [`super::BYTES_MAX`].
    #[error("a document must not be longer than {} bytes", super::BYTES_MAX)]
    TooLong,
    /// There are more than [`super::STATEMENTS_MAX`].
    #[error("a document must not have more than {} statements", super::STATEMENTS_MAX)]
    TooManyStatements,
    /// The statements take more entries than [`super::ENTRIES_MAX`].
    #[error(
        "the statements up to this one take more than {} entries, one for each of those they are for with each of the \
         things they speak of: use roles, groups and patterns in place of long lists",
        super::ENTRIES_MAX
    )]
    TooManyEntries,
    /// A list or a condition has more parts than [`super::PARTS_MAX`].
    #[error("a list or a condition must not have more than {} parts", super::PARTS_MAX)]
    TooManyParts,
    /// A condition is nested deeper than [`super::DEPTH_MAX`].
    #[error("a condition must not be nested deeper than {}", super::DEPTH_MAX)]
    TooDeep,
    /// A name, a pattern or a value is longer than [`super::TEXT_MAX`].
    #[error("a text must not be longer than {} bytes", super::TEXT_MAX)]
    LongText,
    /// No token begins so.
    #[error("unexpected character `{0}`")]
    Character(char),
    /// A text has no end on its line.
    #[error("the text has no closing `\"` on its line")]
    Unterminated,
    /// There is no such escape.
    #[error("only `\\\"` and `\\\\` can be escaped")]
    Escape,
    /// The document does not say that it is one.
    #[error("a document begins with `pdl 1`")]
    Version,
    /// Something else was to be there.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What was to be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// There is no such action.
    #[error(
        "unknown action `{0}`, expected one of create, read, list, update, delete, invoke, grant, view, write, manage, \
         or `do anything`"
    )]
    Action(String),
    /// There is no such kind.
    #[error("unknown kind `{0}`, expected a kind such as bucket, object or function, or `anything`")]
    Kind(String),
    /// The word asks nothing.
    #[error(
        "`{0}` is no condition, expected one of mfa, tls, owner, anyone, authenticated, role, group, user, tenant, time, \
         day, before, after, address, has, or label.NAME, subject.NAME, request.NAME"
    )]
    Test(String),
    /// A window that is none.
    #[error("`{0}` is no part of a day, expected for instance 08:00..18:00")]
    Window(String),
    /// A day that is none.
    #[error("`{0}` is no day, expected one of mon, tue, wed, thu, fri, sat, sun")]
    Day(String),
    /// A zone that is none.
    #[error("`{0}` is no time zone, expected for instance Europe/Madrid, +02:00 or UTC")]
    Zone(String),
    /// A moment that is none.
    #[error("`{0}` is no moment, expected for instance 2027-01-31 or 2027-01-31T12:00:00Z")]
    Moment(String),
    /// An address that is none.
    #[error("`{0}` is no network, expected for instance 10.0.0.0/8 or 2001:db8::/32")]
    Network(String),
    /// A name that nothing can have.
    #[error("`{0}` cannot be the name of an attribute")]
    Attribute(String),
    /// A comparison of numbers with something that is none.
    #[error("`{0}` compares whole numbers and attributes")]
    NotANumber(&'static str),
    /// A pattern that is none.
    #[error("`like` takes a pattern in quotes")]
    NotAPattern,
}

/// Everything that is wrong with a text; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PdlErrors(pub Vec<PdlError>);

impl std::fmt::Display for PdlErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for PdlErrors {}
