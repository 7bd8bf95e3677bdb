//! What is hardly ever meant.

use cm_types::{Action, ResourceKind};

use super::glob::{Reach, reaches};
use super::neighbours::Neighbours;
use super::syntax::{Comparison, Condition, Document, Effect, Operand, Position, Rule, Statement, Test, Who};
use crate::sharing::pattern::fits;

/// Something about a statement that its author should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where the statement begins.
    pub at: Position,
    /// What.
    pub doubt: Doubt,
}

impl Finding {
    /// Whether something is wrong, and not only worth knowing.
    pub fn is_warning(&self) -> bool {
        !matches!(self.doubt, Doubt::Overlaps { .. })
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.is_warning() { "warning" } else { "note" };
        write!(f, "{}: {word}: {}", self.at, self.doubt)
    }
}

/// What may be wrong with a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Its conditions contradict each other.
    #[error("the statement has no effect: its conditions contradict each other")]
    Never,
    /// Another one denies all that it allows.
    #[error("the statement has no effect: the one at {by} denies all that it allows")]
    Denied {
        /// Where the other one begins.
        by: Position,
    },
    /// Another one says the same, and perhaps more.
    #[error("the statement is not needed: the one at {by} says as much")]
    Redundant {
        /// Where the other one begins.
        by: Position,
    },
    /// A denial may take away a part of what it allows.
    #[error("the one at {with} denies a part of what it allows")]
    Overlaps {
        /// Where the denial begins.
        with: Position,
    },
    /// Nobody ever asks for that.
    #[error("nobody can {action} a resource of kind {kind}")]
    NeverAsked {
        /// The action.
        action: Action,
        /// The kind.
        kind: ResourceKind,
    },
    /// It opens more than reading to those who did not say who they are.
    #[error(
        "it allows {action} to everybody, also to those who did not sign in: `authenticated` is narrower"
    )]
    OpenToAnyone {
        /// The action.
        action: Action,
    },
}

/// All findings, in the order of the statements.
pub fn check(document: &Document) -> Vec<Finding> {
    let neighbours = Neighbours::new(document);
    check_among(document, |place| neighbours.of(place))
}

/// As [`check`], where every statement is compared with those of the places that `others` says.
pub(super) fn check_among(document: &Document, others: impl Fn(usize) -> Vec<usize>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, statement) in document.statements.iter().enumerate() {
        let rule = &statement.rule;
        let mut found = |doubt| findings.push(Finding { at: statement.at, doubt });
        if is_contradictory(rule) {
            found(Doubt::Never);
            continue;
        }
        if let Some((action, kind)) = never_asked(rule) {
            found(Doubt::NeverAsked { action, kind });
        }
        let opens =
            rule.effect == Effect::Allow && rule.is_unconditional() && rule.who.contains(&Who::Anyone);
        let beyond_reading =
            |action: &Action| !matches!(action, Action::Read | Action::List | Action::Invoke);
        if let Some(action) = rule.actions().find(beyond_reading).filter(|_| opens) {
            found(Doubt::OpenToAnyone { action });
        }
        let others = others(place).into_iter().map(|other| (other, &document.statements[other]));
        if let Some(doubt) = overruled(place, statement, others) {
            found(doubt);
        }
    }
    findings
}

fn overruled<'a>(
    place: usize,
    statement: &Statement,
    others: impl Iterator<Item = (usize, &'a Statement)>,
) -> Option<Doubt> {
    let rule = &statement.rule;
    let mut overlap = None;
    let mut redundant = None;
    for (at, other) in others {
        let same_conditions = rule.when == other.rule.when && rule.unless == other.rule.unless;
        let governs = (other.rule.is_unconditional() || same_conditions) && covers(&other.rule, rule);
        match (rule.effect, other.rule.effect) {
            (Effect::Allow, Effect::Deny) if governs => return Some(Doubt::Denied { by: other.at }),
            (Effect::Allow, Effect::Deny) if overlap.is_none() && meet(&other.rule, rule) => {
                overlap = Some(Doubt::Overlaps { with: other.at });
            }
            (mine, theirs) if mine == theirs && governs && redundant.is_none() => {
                // Of two that say the same, the first one stays.
                let mutual = same_conditions && covers(rule, &other.rule);
                if !mutual || at < place {
                    redundant = Some(Doubt::Redundant { by: other.at });
                }
            }
            _ => {}
        }
    }
    redundant.or(overlap)
}

/// Actions that nothing asks about kinds: what only is used is not invoked, and what has no rights of its own not granted.
fn never_asked(rule: &Rule) -> Option<(Action, ResourceKind)> {
    let only_words = rule.actions.iter().filter_map(|word| match word {
        super::syntax::ActionWord::One(action) => Some(*action),
        _ => None,
    });
    let never = |action: Action, kind: ResourceKind| match action {
        Action::Invoke => matches!(
            kind,
            ResourceKind::Bucket
                | ResourceKind::Object
                | ResourceKind::Event
                | ResourceKind::Role
                | ResourceKind::Tenant
        ),
        Action::Create | Action::Update | Action::Delete => kind == ResourceKind::Event,
        _ => false,
    };
    for action in only_words {
        if let Some(kind) = rule.what.iter().filter_map(|what| what.kind).find(|kind| never(action, *kind)) {
            return Some((action, kind));
        }
    }
    None
}

/// Whether `wide` speaks of everything that `narrow` speaks of, their conditions apart. What cannot be told is denied.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    let who = narrow.who.iter().all(|who| wide.who.iter().any(|other| includes(other, who)));
    who && each_reach(narrow).all(|(reach, action)| {
        each_reach(wide).any(|(other, also)| action == also && reach_in(&reach, &other))
    })
}

/// Whether there may be a request of which both speak.
fn meet(a: &Rule, b: &Rule) -> bool {
    let same_person =
        a.who.iter().any(|who| b.who.iter().any(|other| includes(other, who) || includes(who, other)));
    same_person
        && each_reach(a).any(|(reach, action)| {
            each_reach(b).any(|(other, also)| {
                let same_kind = reach.kind.is_none() || other.kind.is_none() || reach.kind == other.kind;
                action == also && same_kind && may_meet(reach.pattern, other.pattern)
            })
        })
}

fn each_reach(rule: &Rule) -> impl Iterator<Item = (Reach<'_>, Action)> {
    rule.what.iter().flat_map(move |what| {
        let each = move |action: Action| reaches(what).into_iter().map(move |reach| (reach, action));
        rule.actions()
            .flat_map(each)
            .filter(|(reach, action)| reach.only.is_none_or(|only| only.contains(action)))
    })
}

fn includes(wide: &Who, narrow: &Who) -> bool {
    match wide {
        Who::Anyone => true,
        Who::Authenticated => *narrow != Who::Anyone,
        wide => wide == narrow,
    }
}

fn reach_in(narrow: &Reach<'_>, wide: &Reach<'_>) -> bool {
    (wide.kind.is_none() || wide.kind == narrow.kind) && pattern_in(narrow.pattern, wide.pattern)
}

fn literal(pattern: &str) -> &str {
    &pattern[..pattern.find(['*', '?']).unwrap_or(pattern.len())]
}

fn pattern_in(narrow: Option<&str>, wide: Option<&str>) -> bool {
    let Some(wide) = wide else { return true };
    let everything = !wide.is_empty() && wide.bytes().all(|byte| byte == b'*');
    let Some(narrow) = narrow else { return everything };
    let beginning = literal(wide);
    let is_prefix = wide.len() > beginning.len() && wide[beginning.len()..].bytes().all(|byte| byte == b'*');
    everything
        || wide == narrow
        || (is_prefix && literal(narrow).starts_with(beginning))
        || (literal(narrow) == narrow && fits(wide, narrow))
}

fn may_meet(a: Option<&str>, b: Option<&str>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return true };
    let (first, second) = (literal(a), literal(b));
    match (first == a, second == b) {
        (true, _) => fits(b, a),
        (_, true) => fits(a, b),
        _ => first.starts_with(second) || second.starts_with(first),
    }
}

/// Whether the conditions of a rule cannot all hold, as far as single questions tell.
fn is_contradictory(rule: &Rule) -> bool {
    let mut demanded = Vec::new();
    if let Some(when) = &rule.when {
        demand(when, true, &mut demanded);
    }
    if let Some(unless) = &rule.unless {
        demand(unless, false, &mut demanded);
    }
    let is_nothing = demanded.iter().any(|(test, wanted)| !wanted && **test == Test::Who(Who::Anyone));
    is_nothing
        || demanded.iter().enumerate().any(|(place, (test, wanted))| {
            demanded[..place].iter().any(|(other, also)| contradict(test, *wanted, other, *also))
        })
}

/// Adds the single questions that must all be answered so for the condition to be answered so.
fn demand<'a>(condition: &'a Condition, wanted: bool, demanded: &mut Vec<(&'a Test, bool)>) {
    match condition {
        Condition::Test(test) => demanded.push((test, wanted)),
        Condition::Not(inner) => demand(inner, !wanted, demanded),
        Condition::All(parts) if wanted => parts.iter().for_each(|part| demand(part, true, demanded)),
        Condition::Any(parts) if !wanted => parts.iter().for_each(|part| demand(part, false, demanded)),
        _ => {}
    }
}

fn contradict(a: &Test, a_wanted: bool, b: &Test, b_wanted: bool) -> bool {
    if a == b {
        return a_wanted != b_wanted;
    }
    if !(a_wanted && b_wanted) {
        return false;
    }
    match (a, b) {
        (Test::Before(end), Test::After(start)) | (Test::After(start), Test::Before(end)) => start >= end,
        (
            Test::Compare(a, Comparison::Equal, Operand::Text(one)),
            Test::Compare(b, Comparison::Equal, Operand::Text(other)),
        ) => a == b && one != other,
        (Test::Who(Who::User(one)), Test::Who(Who::User(other)))
        | (Test::Who(Who::Tenant(one)), Test::Who(Who::Tenant(other))) => one != other,
        _ => false,
    }
}
