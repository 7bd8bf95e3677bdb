//! Changing what decisions rest on: the labels of a resource and the security policy in force on it.

use cm_types::{Action, ResourceKind};

use crate::{Explanation, Subject, Target, explain};

/// What one may do to a resource that exists.
const USES: &[Action] = &[Action::Read, Action::Update, Action::Delete, Action::Invoke];
/// What one may do to the objects of a bucket, which are decided with the bucket's labels and security policy.
const OBJECT_USES: &[Action] =
    &[Action::Create, Action::Read, Action::List, Action::Update, Action::Delete, Action::Invoke];

/// Decides whether the subject may turn `before` into `after`: the same resource with other labels, or with another
/// security policy in force.
///
/// Being allowed to update it as it was is not enough, or labels would confine nobody:
///
/// - it must be allowed to update what it becomes;
/// - new labels must be ones under which it may create or update by permission. Owning a thing does not count: what
///   one may create in one place could be moved to any other;
/// - unless it owns the thing, it must gain nothing. Whoever may update everything, but delete only what is labelled
///   so, must not put the label on first.
///
/// What goes with a service or a microservice inherits its security policy; whoever may update that decides for all
/// of it.
///
/// # Errors
///
/// The explanation of the decision that stands against it.
pub fn decide_change(
    subject: &Subject<'_>,
    before: &Target<'_>,
    after: &Target<'_>,
) -> Result<(), Explanation> {
    demand(explain(Action::Update, subject, after))?;
    if before.labels != after.labels {
        let by_permission = explain(Action::Update, subject, &Target { owner: None, ..*after });
        let creation = Target { id: None, owner: None, guard: None, ..*after };
        if !by_permission.allowed {
            demand(explain(Action::Create, subject, &creation))?;
        }
    }
    let owned = subject.principal.is_some()
        && subject.tenant == Some(after.tenant)
        && subject.principal == after.owner;
    if owned {
        return Ok(());
    }
    gains_nothing(USES, subject, before, after)?;
    if after.kind == ResourceKind::Bucket {
        let kind = ResourceKind::Object;
        gains_nothing(OBJECT_USES, subject, &Target { kind, ..*before }, &Target { kind, ..*after })?;
    }
    Ok(())
}

fn gains_nothing(
    actions: &[Action],
    subject: &Subject<'_>,
    before: &Target<'_>,
    after: &Target<'_>,
) -> Result<(), Explanation> {
    for &action in actions.iter().filter(|action| explain(**action, subject, after).allowed) {
        demand(explain(action, subject, before))?;
    }
    Ok(())
}

fn demand(explanation: Explanation) -> Result<(), Explanation> {
    if explanation.allowed { Ok(()) } else { Err(explanation) }
}

#[cfg(test)]
mod tests;
