//! Decisions as the guide explains them, statement by statement. Slow and plain: what [`super::Compiled`] is held to.

use cm_types::{Action, ResourceKind};

use super::request::Request;
use super::syntax::{Condition, Document, Effect, Rule, What};
use super::{Place, Verdict};
use crate::sharing::pattern::fits;

/// Decides by reading all statements of all documents, each of which has a name.
pub fn interpret<'d>(documents: &'d [(&'d str, &'d Document)], request: &Request<'_>) -> Verdict<'d> {
    let mut allowed = None;
    for (policy, document) in documents {
        for statement in &document.statements {
            let place = Place { policy, line: statement.at.line };
            let rule = &statement.rule;
            if !is_about(rule, request) {
                continue;
            }
            match (rule.effect, holds(rule, request)) {
                (Effect::Deny, Some(true) | None) => return Verdict::Denies(place),
                (Effect::Allow, Some(true)) if allowed.is_none() => allowed = Some(place),
                _ => {}
            }
        }
    }
    allowed.map_or(Verdict::Silent, Verdict::Allows)
}

/// Whether a rule speaks of who asks, what for, and with what.
fn is_about(rule: &Rule, request: &Request<'_>) -> bool {
    rule.who.iter().any(|who| request.is_by(who))
        && rule.actions().any(|action| action == request.action)
        && rule.what.iter().any(|what| reaches(what, rule.effect, request))
}

fn reaches(what: &What, effect: Effect, request: &Request<'_>) -> bool {
    let in_bucket = what.kind == Some(ResourceKind::Bucket)
        && what.pattern.as_ref().is_some_and(|pattern| pattern.contains('/'));
    if !in_bucket {
        return what.kind.is_none_or(|kind| kind == request.kind)
            && id_fits(what.pattern.as_deref(), effect, request);
    }
    let pattern = what.pattern.as_deref().unwrap_or_default();
    let (bucket, key) = pattern.split_once('/').unwrap_or_default();
    match request.kind {
        ResourceKind::Object => id_fits(Some(pattern), effect, request),
        ResourceKind::Bucket => {
            !key.is_empty()
                && key.chars().all(|character| character == '*')
                && matches!(request.action, Action::Read | Action::List)
                && id_fits(Some(bucket), effect, request)
        }
        _ => false,
    }
}

/// Collections fit what speaks of every resource of the kind. They may be listed by whoever may list a part, where only what
/// may be read is shown.
fn id_fits(pattern: Option<&str>, effect: Effect, request: &Request<'_>) -> bool {
    match (pattern, request.id) {
        (None, _) => true,
        (Some(pattern), Some(id)) => fits(pattern, id),
        (Some(pattern), None) => {
            let everything = !pattern.is_empty() && pattern.chars().all(|character| character == '*');
            everything || (effect == Effect::Allow && request.lists_what_is_readable())
        }
    }
}

/// Whether the conditions of a rule hold; `None` if nobody knows.
pub(super) fn holds(rule: &Rule, request: &Request<'_>) -> Option<bool> {
    let when = rule.when.as_ref().map_or(Some(true), |condition| answer(condition, request));
    let unless = rule.unless.as_ref().map_or(Some(false), |condition| answer(condition, request));
    both(when, unless.map(|holds| !holds))
}

pub(super) fn answer(condition: &Condition, request: &Request<'_>) -> Option<bool> {
    match condition {
        Condition::Test(test) => request.answer(test),
        Condition::Not(inner) => answer(inner, request).map(|holds| !holds),
        Condition::All(parts) => every(parts.iter().map(|part| answer(part, request))),
        Condition::Any(parts) => {
            let none = every(parts.iter().map(|part| answer(part, request).map(|holds| !holds)));
            none.map(|none| !none)
        }
    }
}

/// Whether all hold.
fn every(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for answer in answers {
        all = both(all, answer);
    }
    all
}

/// What fails makes the whole fail, known or not.
fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}
