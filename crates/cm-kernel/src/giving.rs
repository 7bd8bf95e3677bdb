//! Nobody gives or takes away more than they hold: not by roles, and not by the credentials of somebody.

use cm_catalog::Catalog;
use cm_catalog::guard::role_facts;
use cm_db::ReadTx;
use cm_identity::Principal;
use cm_policy::{RoleFacts, Subject};
use cm_types::{PrincipalId, ResourceId, TenantId};

use crate::KernelError;
use crate::authority::existing_roles;

/// Whether the subject holds all that these roles permit.
pub(crate) fn demand_held(subject: &Subject<'_>, roles: &[RoleFacts]) -> Result<(), KernelError> {
    for role in roles {
        if !subject.may_give(role) {
            let permission = "what permission policies say of its holders".to_owned();
            return Err(KernelError::GivesMoreThanHeld { role: role.name.clone(), permission });
        }
        if let Some(permission) = role.permissions.iter().find(|permission| !subject.holds(permission)) {
            let (role, permission) = (role.name.clone(), permission.to_string());
            return Err(KernelError::GivesMoreThanHeld { role, permission });
        }
    }
    Ok(())
}

/// Whether the subject may take these roles away: it holds all that they permit, and permission policies say nothing of
/// them that would end with them.
pub(crate) fn demand_takeable(subject: &Subject<'_>, roles: &[RoleFacts]) -> Result<(), KernelError> {
    if let Some(role) = roles.iter().find(|role| !subject.may_take(role)) {
        let permission = "what permission policies say of its holders".to_owned();
        return Err(KernelError::GivesMoreThanHeld { role: role.name.clone(), permission });
    }
    demand_held(subject, roles)
}

/// Whether the subject may make a principal of this name: whoever has it gets what permission policies say of it.
pub(crate) fn demand_nameable(subject: &Subject<'_>, id: &PrincipalId) -> Result<(), KernelError> {
    match subject.may_name(id) {
        true => Ok(()),
        false => Err(KernelError::NamedByPolicies(id.clone())),
    }
}

/// Roles that are about to be given; each must exist.
pub(crate) fn named_roles(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    ids: &[ResourceId],
) -> Result<Vec<RoleFacts>, KernelError> {
    let named =
        |id: &ResourceId| role_facts(tx, tenant, id)?.ok_or_else(|| KernelError::NoSuchRole(id.to_string()));
    ids.iter().map(named).collect()
}

/// Whether the subject may look at and take away the credentials of a principal.
pub(crate) fn demand_power_over(
    tx: &ReadTx<'_>,
    subject: &Subject<'_>,
    principal: &Principal,
) -> Result<(), KernelError> {
    if is_self(subject, principal) {
        return Ok(());
    }
    demand_held(subject, &existing_roles(tx, &principal.tenant, &principal.roles)?)
}

/// Whether the subject may get hold of new credentials of a principal, and so become it: with all that its roles
/// permit, with all that it owns, and with what permission policies say of it.
pub(crate) fn demand_power_to_become(
    tx: &ReadTx<'_>,
    catalog: &Catalog,
    subject: &Subject<'_>,
    principal: &Principal,
) -> Result<(), KernelError> {
    demand_power_over(tx, subject, principal)?;
    let administrator = subject.roles.iter().any(RoleFacts::is_administrator);
    if administrator || is_self(subject, principal) {
        return Ok(());
    }
    if !subject.may_become(&principal.id) {
        return Err(KernelError::NamedByPolicies(principal.id.clone()));
    }
    match catalog.owned_by(tx, &principal.tenant, &principal.id, 1)?.is_empty() {
        true => Ok(()),
        false => Err(KernelError::OwnsRecords(principal.id.clone())),
    }
}

fn is_self(subject: &Subject<'_>, principal: &Principal) -> bool {
    subject.principal == Some(&principal.id) && subject.tenant == Some(&principal.tenant)
}
