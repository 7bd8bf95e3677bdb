//! The decision itself: one path for deciding and for explaining.

use cm_types::{Action, ResourceKind, TenantId};

use crate::reason::REASONS_MAX;
use crate::rules::{self, Said};
use crate::{ActionKind, Explanation, Guard, Permit, Reason, Subject, Target};

#[cfg(test)]
mod tests;

/// What the owner may do to what it owns. Creating precedes ownership, and rights are granted by
/// permission only.
const OWNER_ACTIONS: [Action; 4] = [Action::Read, Action::Update, Action::Delete, Action::Invoke];
/// What nobody but the owner and administrators may do, whatever roles permit: whoever relies on an instance that somebody
/// else could end relies on everybody.
const OWNER_ONLY: [(ResourceKind, Action); 1] = [(ResourceKind::Instance, Action::Delete)];
/// What a guard may open to callers who did not authenticate.
const OPEN_ACTIONS: [Action; 2] = [Action::Read, Action::Invoke];

/// A refusal, by what the subject may be told.
///
/// The answer is uniform: whether somebody is told "forbidden" or "not found" depends on their own
/// permissions and never on whether the thing exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller has to authenticate first.
    #[error("authentication is required")]
    Unauthenticated(Explanation),
    /// The subject holds some permission for the kind and action, but not for this resource: it must
    /// not learn whether the resource exists.
    #[error("not visible to the caller")]
    Hidden(Explanation),
    /// The subject holds no permission for the kind and action at all, or the target is a collection,
    /// whose existence is no secret.
    #[error("{0}")]
    Forbidden(Explanation),
}

impl Denied {
    /// Why, for the log and for whoever may read policy.
    pub fn explanation(&self) -> &Explanation {
        match self {
            Denied::Unauthenticated(explanation)
            | Denied::Hidden(explanation)
            | Denied::Forbidden(explanation) => explanation,
        }
    }
}

/// Decides whether the subject may do `A` to the target.
///
/// # Errors
///
/// [`Denied`], with the reasons inside.
pub fn decide<A: ActionKind>(subject: &Subject<'_>, target: &Target<'_>) -> Result<Permit<A>, Denied> {
    let explanation = explain(A::ACTION, subject, target);
    if explanation.allowed {
        Ok(Permit::mint(subject, target))
    } else {
        Err(refuse(subject, target.id.is_some() && !is_known(subject, target, &explanation), explanation))
    }
}

/// Whether the subject may be told that the target exists and is somebody else's: it can read it, and no permission would
/// change the decision.
fn is_known(subject: &Subject<'_>, target: &Target<'_>, explanation: &Explanation) -> bool {
    let is_open =
        |reason: &Reason| matches!(reason, Reason::OwnerOnly { .. } | Reason::StatementDenies { .. });
    explanation.reasons.iter().any(is_open) && explain(Action::Read, subject, target).allowed
}

/// How a decision goes and why.
pub fn explain(action: Action, subject: &Subject<'_>, target: &Target<'_>) -> Explanation {
    let said = rules::said(action, subject, target);
    let (allowed, mut reasons) = match (subject.principal, subject.tenant, said) {
        (.., Said::Denies(reason)) => (false, vec![reason]),
        (Some(principal), Some(tenant), said) => {
            let owned = target.owner == Some(principal) && OWNER_ACTIONS.contains(&action);
            weigh(action, subject, tenant, target, (owned, said))
        }
        (.., said) => weigh_anonymous(action, target, said),
    };
    reasons.truncate(REASONS_MAX);
    Explanation { action, kind: target.kind, allowed, reasons }
}

/// The refusal that a subject gets for a resource that does not exist: the same as for one that it may
/// not see.
pub fn absent(action: Action, subject: &Subject<'_>, kind: ResourceKind) -> Denied {
    let anonymous = subject.principal.is_none() || subject.tenant.is_none();
    let reasons = match (anonymous, subject.holds_some(kind, action)) {
        (true, _) => vec![Reason::Anonymous],
        (false, true) => Vec::new(),
        (false, false) => vec![Reason::NoPermission { kind, action }],
    };
    refuse(subject, true, Explanation { action, kind, allowed: false, reasons })
}

fn refuse(subject: &Subject<'_>, one_resource: bool, explanation: Explanation) -> Denied {
    if subject.principal.is_none() || subject.tenant.is_none() {
        Denied::Unauthenticated(explanation)
    } else if one_resource && subject.holds_some(explanation.kind, explanation.action) {
        Denied::Hidden(explanation)
    } else {
        Denied::Forbidden(explanation)
    }
}

fn weigh(
    action: Action,
    subject: &Subject<'_>,
    tenant: &TenantId,
    target: &Target<'_>,
    (owned, said): (bool, Said),
) -> (bool, Vec<Reason>) {
    let same_tenant = tenant == target.tenant;
    let administrator = subject.roles.iter().any(|role| role.is_administrator());
    if administrator && (same_tenant || *tenant == TenantId::default_tenant()) {
        return (true, vec![Reason::Administrator { across_tenants: !same_tenant }]);
    }
    if !same_tenant {
        return (false, vec![Reason::OtherTenant]);
    }
    if owned {
        return (true, vec![Reason::Owner]);
    }
    if target.id.is_some() && OWNER_ONLY.contains(&(target.kind, action)) {
        return (false, vec![Reason::OwnerOnly { kind: target.kind, action }]);
    }
    if let Some(opened) = target.guard.and_then(|guard| opens(guard, action, target)) {
        return (true, vec![opened]);
    }
    let permitting = subject.roles.iter().find_map(|role| {
        let permission = role.permission_for(action, target)?.clone();
        Some(Reason::RolePermits { role: role.name.clone(), permission })
    });
    let permitting = match (permitting, said) {
        (Some(permitting), _) | (None, Said::Allows(permitting)) => permitting,
        _ => return (false, near_misses(action, subject, target)),
    };
    match target.guard.filter(|guard| !guard.roles.is_empty()) {
        None => (true, vec![permitting]),
        Some(guard) => match satisfies(subject, guard) {
            Some(satisfied) => (true, vec![permitting, satisfied]),
            None => {
                let roles = guard.roles.iter().map(|role| role.id.clone()).collect();
                (false, vec![Reason::GuardDemandsRole { guard: guard.id.clone(), roles }, permitting])
            }
        },
    }
}

fn weigh_anonymous(action: Action, target: &Target<'_>, said: Said) -> (bool, Vec<Reason>) {
    let otherwise = match said {
        Said::Allows(reason) => (true, vec![reason]),
        _ => (false, vec![Reason::Anonymous]),
    };
    let Some(guard) = target.guard else { return otherwise };
    if guard.requires_authentication {
        return (false, vec![Reason::GuardDemandsAuthentication { guard: guard.id.clone() }]);
    }
    match opens(guard, action, target) {
        Some(opened) => (true, vec![opened]),
        None => otherwise,
    }
}

fn opens(guard: &Guard, action: Action, target: &Target<'_>) -> Option<Reason> {
    if guard.requires_authentication || !OPEN_ACTIONS.contains(&action) {
        return None;
    }
    guard.roles.iter().find_map(|role| {
        let permission = role.permission_for(action, target)?.clone();
        Some(Reason::GuardOpens { guard: guard.id.clone(), role: role.name.clone(), permission })
    })
}

fn satisfies(subject: &Subject<'_>, guard: &Guard) -> Option<Reason> {
    let role = subject.roles.iter().find(|role| guard.roles.iter().any(|listed| listed.id == role.id))?;
    Some(Reason::GuardSatisfied { guard: guard.id.clone(), role: role.name.clone() })
}

fn near_misses(action: Action, subject: &Subject<'_>, target: &Target<'_>) -> Vec<Reason> {
    let misses: Vec<Reason> = subject
        .roles
        .iter()
        .flat_map(|role| role.permissions.iter().map(move |permission| (role, permission)))
        .filter(|(_, permission)| permission.concerns(target.kind, action))
        .take(REASONS_MAX)
        .map(|(role, permission)| Reason::LabelsDiffer {
            role: role.name.clone(),
            permission: permission.clone(),
        })
        .collect();
    if misses.is_empty() { vec![Reason::NoPermission { kind: target.kind, action }] } else { misses }
}
