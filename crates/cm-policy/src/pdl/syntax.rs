//! What a document of the language says, as data.

use cm_types::{Action, ResourceKind, Timestamp};

use super::time::{Days, Window, Zone};
use crate::network::Network;

/// A document: statements in the order in which they are written, which matters to readers only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The statements.
    pub statements: Vec<Statement>,
    /// Comments behind the last statement.
    pub closing: Vec<String>,
}

impl Document {
    /// How many entries it takes in the index of [`super::Compiled`].
    pub fn entries(&self) -> usize {
        self.statements.iter().map(|statement| statement.rule.entries()).sum()
    }
}

/// Where something stands in a text; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A rule with where and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where it begins.
    pub at: Position,
    /// Comments above it, without `#`.
    pub above: Vec<String>,
    /// The comment behind it, without `#`.
    pub behind: Option<String>,
    /// Whether an empty line stands above it and its comments.
    pub apart: bool,
    /// What it says.
    pub rule: Rule,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows or denies.
    pub effect: Effect,
    /// To whom: to each of these. Never empty.
    pub who: Vec<Who>,
    /// What they may do, or not. Never empty.
    pub actions: Vec<ActionWord>,
    /// With what. Never empty.
    pub what: Vec<What>,
    /// Only when this holds.
    pub when: Option<Condition>,
    /// Not when this holds.
    pub unless: Option<Condition>,
}

impl Rule {
    /// All actions that its words stand for.
    pub fn actions(&self) -> impl Iterator<Item = Action> {
        Action::ALL
            .into_iter()
            .filter(|action| self.actions.iter().any(|word| word.actions().contains(action)))
    }

    /// How many entries it takes in the index of [`super::Compiled`]: one for each of those it is for with each of the
    /// things it speaks of. Where it is about collections they count once.
    pub fn entries(&self) -> usize {
        self.who.len() * self.what.iter().map(|what| super::glob::reaches(what).len()).sum::<usize>()
    }

    /// Whether it depends on nothing but who, what and which.
    pub fn is_unconditional(&self) -> bool {
        self.when.is_none() && self.unless.is_none()
    }
}

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It allows, unless another one denies.
    Allow,
    /// It denies, whatever others allow.
    Deny,
}

impl Effect {
    /// Its keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        }
    }
}

/// Somebody who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// Everybody, whoever they are and whether or not they said so.
    Anyone,
    /// Everybody who said who they are.
    Authenticated,
    /// The holders of the role with this id.
    Role(String),
    /// The members of a group.
    Group(String),
    /// The principal with this id.
    User(String),
    /// The principals of a tenant.
    Tenant(String),
}

/// A word for an action, or for several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActionWord {
    /// This one.
    One(Action),
    /// `view`: read and list.
    View,
    /// `write`: create and update.
    Write,
    /// `manage`: create, read, list, update and delete.
    Manage,
    /// `do anything`: all of them.
    Anything,
}

impl ActionWord {
    /// The words that stand for several actions.
    pub const GROUPS: [(&'static str, ActionWord); 3] =
        [("view", ActionWord::View), ("write", ActionWord::Write), ("manage", ActionWord::Manage)];

    /// What it stands for.
    pub fn actions(self) -> &'static [Action] {
        static ALL: [Action; 7] = Action::ALL;
        match self {
            ActionWord::One(action) => {
                let at = ALL.iter().position(|known| *known == action);
                std::slice::from_ref(&ALL[at.expect("every action is among all actions")])
            }
            ActionWord::View => &[Action::Read, Action::List],
            ActionWord::Write => &[Action::Create, Action::Update],
            ActionWord::Manage => {
                &[Action::Create, Action::Read, Action::List, Action::Update, Action::Delete]
            }
            ActionWord::Anything => &ALL,
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            ActionWord::One(action) => action.as_str(),
            ActionWord::View => "view",
            ActionWord::Write => "write",
            ActionWord::Manage => "manage",
            ActionWord::Anything => "do anything",
        }
    }
}

/// Resources of a kind, or of all, whose ids fit a pattern.
///
/// The ids of objects are `BUCKET/KEY`. A pattern for a bucket that has a slash speaks of objects: `bucket "ct/2026-*"` is
/// the same as `object "ct/2026-*"`. If all of the bucket's objects are meant, as by `bucket "ct/*"`, then it includes
/// reading and listing the bucket itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct What {
    /// The kind; `None` is every kind.
    pub kind: Option<ResourceKind>,
    /// `*` stands for any text, `?` for one character; `None` is every resource of the kind.
    pub pattern: Option<String>,
}

/// What else must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Each of at least two.
    All(Vec<Condition>),
    /// One of at least two.
    Any(Vec<Condition>),
    /// The contrary.
    Not(Box<Condition>),
    /// A single question.
    Test(Test),
}

impl Condition {
    /// Whether one of its questions is such, whatever becomes of the answer.
    pub fn asks(&self, such: &impl Fn(&Test) -> bool) -> bool {
        match self {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().any(|part| part.asks(such)),
            Condition::Not(inner) => inner.asks(such),
            Condition::Test(test) => such(test),
        }
    }
}

/// A single question about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Whether a second factor was used.
    Mfa,
    /// Whether the connection is encrypted.
    Tls,
    /// Whether who asks owns the resource.
    Owner,
    /// Who asks.
    Who(Who),
    /// The time of day.
    Time(Window, Zone),
    /// The day of the week.
    Day(Days, Zone),
    /// Before a moment.
    Before(Timestamp),
    /// At a moment or later.
    After(Timestamp),
    /// Where from.
    Address(Vec<Network>),
    /// Whether something is said at all.
    Has(Attribute),
    /// What is said.
    Compare(Attribute, Comparison, Operand),
    /// Whether what is said is one of these.
    OneOf(Attribute, Vec<String>),
}

/// Something that is said about who asks, the resource, or the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// About what.
    pub of: AttributeOf,
    /// Its name.
    pub name: String,
}

impl Attribute {
    /// Whether it is the id of who asks.
    pub fn is_subject_id(&self) -> bool {
        self.of == AttributeOf::Subject && self.name == "id"
    }
}

/// What an attribute is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttributeOf {
    /// Who asks.
    Subject,
    /// The resource: its labels.
    Label,
    /// The request.
    Request,
}

impl AttributeOf {
    /// Its keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            AttributeOf::Subject => "subject",
            AttributeOf::Label => "label",
            AttributeOf::Request => "request",
        }
    }
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The same text, or the same number.
    Equal,
    /// Not [`Comparison::Equal`].
    NotEqual,
    /// A smaller number.
    Less,
    /// A smaller number, or the same.
    LessOrEqual,
    /// A greater number.
    Greater,
    /// A greater number, or the same.
    GreaterOrEqual,
    /// A text that fits a pattern.
    Like,
}

impl Comparison {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Like => "like",
        }
    }

    /// Whether it compares numbers only.
    pub fn is_numeric(self) -> bool {
        matches!(
            self,
            Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual
        )
    }
}

/// What an attribute is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Another attribute.
    Attribute(Attribute),
}
