//! The decision about a bucket that may be shared, or an object in it.

use cm_types::{Action, PrincipalId, ResourceKind, TenantId};

use super::{
    Acl, AclDemand, AclPermission, BucketSharing, Circumstances, ObjectOwnership, PolicyRequest, Use, Verdict,
};
use crate::reason::REASONS_MAX;
use crate::rules::{self, Said};
use crate::{ActionKind, Denied, Explanation, Permit, Reason, Subject, Target, decide, explain};

/// What is asked for, more finely than by an action.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The use.
    pub used: Use,
    /// What the request says about itself.
    pub circumstances: &'a Circumstances,
}

/// What was said about sharing.
#[derive(Clone, Copy, Debug)]
pub struct Sharing<'a> {
    /// Of the bucket.
    pub bucket: &'a BucketSharing,
    /// Who owns the bucket.
    pub bucket_owner: &'a PrincipalId,
    /// Of the object, for uses of objects; `None` if there is no such object.
    pub object: Option<ObjectSharing<'a>>,
}

/// What was said about sharing one object.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectSharing<'a> {
    /// Who owns it; `None` is the owner of the bucket.
    pub owner: Option<&'a PrincipalId>,
    /// Its grants; `None` is private.
    pub acl: Option<&'a Acl>,
}

/// Decides whether the subject may use a bucket or an object so. `None` as sharing is a bucket of which nothing was said.
///
/// # Errors
/// [`Denied`]. What is private because of a list of grants is refused openly: its name is no secret, since everybody who
/// makes a bucket of the same name is told that there is one.
pub fn decide_shared<A: ActionKind>(
    subject: &Subject<'_>,
    target: &Target<'_>,
    sharing: Option<&Sharing<'_>>,
    asked: Asked<'_>,
) -> Result<Permit<A>, Denied> {
    let Some(sharing) = sharing else { return decide::<A>(subject, target) };
    let explanation = explain_shared(A::ACTION, subject, target, sharing, asked);
    if explanation.allowed {
        return Ok(Permit::mint(subject, target));
    }
    let is_named = subject.principal.is_some() && subject.tenant.is_some();
    match (&sharing.bucket.acl, is_named) {
        (_, false) => Err(Denied::Unauthenticated(explanation)),
        (Some(_), true) => Err(Denied::Forbidden(explanation)),
        (None, true) => match decide::<A>(subject, target) {
            // Roles would permit it, but the policy denies it: whoever holds such a role knows of the bucket.
            Ok(_) => Err(Denied::Forbidden(explanation)),
            Err(Denied::Hidden(_)) => Err(Denied::Hidden(explanation)),
            Err(_) => Err(Denied::Forbidden(explanation)),
        },
    }
}

/// How such a decision goes and why.
pub fn explain_shared(
    action: Action,
    subject: &Subject<'_>,
    target: &Target<'_>,
    sharing: &Sharing<'_>,
    asked: Asked<'_>,
) -> Explanation {
    let (allowed, mut reasons) = weigh(action, subject, target, sharing, asked);
    reasons.truncate(REASONS_MAX);
    Explanation { action, kind: target.kind, allowed, reasons }
}

fn weigh(
    action: Action,
    subject: &Subject<'_>,
    target: &Target<'_>,
    sharing: &Sharing<'_>,
    asked: Asked<'_>,
) -> (bool, Vec<Reason>) {
    let principal = subject.tenant.and(subject.principal);
    let tenant = subject.principal.and(subject.tenant);
    let administrates = tenant.is_some_and(|tenant| {
        subject.roles.iter().any(|role| role.is_administrator())
            && (tenant == target.tenant || *tenant == TenantId::default_tenant())
    });
    let is_of_tenant = tenant == Some(target.tenant);
    let owns_bucket = is_of_tenant && principal == Some(sharing.bucket_owner);
    let said = rules::said(action, subject, target);
    if let Said::Denies(reason) = said {
        return (false, vec![reason]);
    }
    let verdict = judge(principal, tenant, target, sharing, asked);
    if let Verdict::Denies(statement) = &verdict
        && !(asked.used.survives_denial() && (owns_bucket || administrates))
    {
        return (false, vec![Reason::PolicyDenies { statement: statement.clone() }]);
    }
    if administrates {
        return (true, vec![Reason::Administrator { across_tenants: !is_of_tenant }]);
    }
    if principal.is_some() && !is_of_tenant {
        return (false, vec![Reason::OtherTenant]);
    }
    let mut against = Vec::new();
    if sharing.bucket.acl.is_none() {
        let plain = explain(action, subject, target);
        let shares = owns_bucket && action == Action::Grant;
        if plain.allowed {
            return (true, plain.reasons);
        }
        if shares {
            return (true, vec![Reason::Owner]);
        }
        against = plain.reasons;
    } else if may_by_ownership(principal.filter(|_| is_of_tenant), owns_bucket, sharing, asked.used) {
        return (true, vec![Reason::Owner]);
    }
    let opened = match verdict {
        Verdict::Allows(statement) if allows_to(principal, sharing) => {
            Some(Reason::PolicyAllows { statement })
        }
        _ => granted(principal, owns_bucket, sharing, asked.used).or(match said {
            Said::Allows(reason) if is_usual(target.kind, action, asked.used) => Some(reason),
            _ => None,
        }),
    };
    match opened {
        Some(reason) if owns_bucket => (true, vec![reason]),
        Some(reason) => narrowed(subject, target, reason),
        None if against.is_empty() && principal.is_none() => (false, vec![Reason::Anonymous]),
        None if against.is_empty() => (false, vec![Reason::NotShared]),
        None => (false, against),
    }
}

/// Whether an action stands for the use: who may read an object need not read its list of grants.
fn is_usual(kind: ResourceKind, action: Action, used: Use) -> bool {
    usual_use(kind, action).is_some_and(|usual| usual == used || usual.of_version() == used)
        || match (kind, action) {
            (ResourceKind::Bucket, Action::Update) => used == Use::PutBucketTagging,
            (ResourceKind::Object, Action::Update) => {
                matches!(used, Use::AbortMultipartUpload | Use::ListMultipartUploadParts)
            }
            _ => false,
        }
}

fn judge(
    principal: Option<&PrincipalId>,
    tenant: Option<&TenantId>,
    target: &Target<'_>,
    sharing: &Sharing<'_>,
    asked: Asked<'_>,
) -> Verdict {
    let Some(policy) = &sharing.bucket.policy else { return Verdict::Silent };
    policy.judge(&PolicyRequest {
        principal,
        tenant,
        bucket_tenant: target.tenant,
        used: asked.used,
        resource: target.id.unwrap_or_default(),
        circumstances: asked.circumstances,
    })
}

/// Whether what the policy allows is allowed to such a caller.
fn allows_to(principal: Option<&PrincipalId>, sharing: &Sharing<'_>) -> bool {
    let restricted = sharing.bucket.block().restrict_public_buckets
        && sharing.bucket.policy.as_ref().is_some_and(super::PolicyDocument::is_public);
    principal.is_some() || !restricted
}

/// What takes no grant: the owner of a bucket administers it, and reads and changes its list; so does the owner of an
/// object with the object's. Where lists do not count, the owner of the bucket may do everything.
fn may_by_ownership(
    principal: Option<&PrincipalId>,
    owns_bucket: bool,
    sharing: &Sharing<'_>,
    used: Use,
) -> bool {
    if owns_bucket && !sharing.bucket.has_acls() {
        return true;
    }
    let is_of_lists = |wanted| matches!(wanted, AclPermission::ReadAcp | AclPermission::WriteAcp);
    match used.acl() {
        AclDemand::Owner => owns_bucket,
        AclDemand::Bucket(wanted) => owns_bucket && is_of_lists(wanted),
        AclDemand::Object(wanted) => {
            let owner = object_owner(sharing);
            is_of_lists(wanted) && principal.is_some() && sharing.object.is_some() && principal == Some(owner)
        }
    }
}

fn object_owner<'a>(sharing: &Sharing<'a>) -> &'a PrincipalId {
    match sharing.bucket.ownership {
        Some(ObjectOwnership::BucketOwnerEnforced) => sharing.bucket_owner,
        _ => sharing.object.and_then(|object| object.owner).unwrap_or(sharing.bucket_owner),
    }
}

fn granted(
    principal: Option<&PrincipalId>,
    owns_bucket: bool,
    sharing: &Sharing<'_>,
    used: Use,
) -> Option<Reason> {
    // Where roles decide, having written an object gives nothing that a role has not.
    if !sharing.bucket.has_acls() || sharing.bucket.acl.is_none() {
        return None;
    }
    let ignore_public = sharing.bucket.block().ignore_public_acls;
    let on = |acl: &Acl, wanted| {
        let grant = acl.granting(principal, wanted, ignore_public)?;
        Some(Reason::AclGrants { grantee: grant.grantee.clone(), permission: grant.permission })
    };
    match used.acl() {
        AclDemand::Owner => None,
        AclDemand::Bucket(wanted) => on(sharing.bucket.acl.as_ref()?, wanted),
        AclDemand::Object(wanted) => match sharing.object {
            Some(ObjectSharing { acl: Some(acl), .. }) => on(acl, wanted),
            // No list: what was written before there were any, or natively, is its owner's.
            Some(ObjectSharing { acl: None, .. }) => {
                (principal.is_some() && principal == Some(object_owner(sharing))).then_some(Reason::Owner)
            }
            // Whether there is an object may be learnt by whoever may list the bucket, and by its owner.
            None if owns_bucket => Some(Reason::Owner),
            None => on(sharing.bucket.acl.as_ref()?, AclPermission::Read),
        },
    }
}

/// What the security policy in force leaves of what was opened to others.
fn narrowed(subject: &Subject<'_>, target: &Target<'_>, opened: Reason) -> (bool, Vec<Reason>) {
    let Some(guard) = target.guard else { return (true, vec![opened]) };
    if subject.principal.is_none() || subject.tenant.is_none() {
        return match guard.requires_authentication {
            true => (false, vec![Reason::GuardDemandsAuthentication { guard: guard.id.clone() }, opened]),
            false => (true, vec![opened]),
        };
    }
    if guard.roles.is_empty() || !guard.requires_authentication {
        return (true, vec![opened]);
    }
    let held = subject.roles.iter().find(|role| guard.roles.iter().any(|listed| listed.id == role.id));
    match held {
        Some(role) => {
            let satisfied = Reason::GuardSatisfied { guard: guard.id.clone(), role: role.name.clone() };
            (true, vec![opened, satisfied])
        }
        None => {
            let roles = guard.roles.iter().map(|role| role.id.clone()).collect();
            (false, vec![Reason::GuardDemandsRole { guard: guard.id.clone(), roles }, opened])
        }
    }
}

/// The use that an action stands for where nothing finer is known, as with the native API; `None` where sharing has no say.
pub fn usual_use(kind: ResourceKind, action: Action) -> Option<Use> {
    Some(match (kind, action) {
        (ResourceKind::Object, Action::Read) => Use::GetObject,
        (ResourceKind::Object, Action::Create | Action::Update) => Use::PutObject,
        (ResourceKind::Object, Action::Delete) => Use::DeleteObject,
        (ResourceKind::Object, Action::Grant) => Use::PutObjectAcl,
        (ResourceKind::Object, Action::List) => Use::ListBucket,
        (ResourceKind::Bucket, Action::Read | Action::List) => Use::ListBucket,
        (ResourceKind::Bucket, Action::Delete) => Use::DeleteBucket,
        (ResourceKind::Bucket, Action::Grant) => Use::PutBucketAcl,
        (ResourceKind::Bucket, Action::Update) => Use::PutBucketKeeping,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
