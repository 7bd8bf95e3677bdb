//! Turns records into the facts that policy decides on.

use cm_db::ReadTx;
use cm_policy::{Guard, RoleFacts};
use cm_types::{ResourceId, ResourceKind, TenantId};

use crate::index::fetch;
use crate::kinds::{Role, SecurityPolicy};
use crate::{CatalogError, OnDelete, Record, Reference};

/// Longest way up from a record to one that has a security policy: a result's goes by its function and
/// microservice to the service, and two to spare.
const ANCESTORS_MAX: usize = 6;

/// The facts of a role; `None` if there is no such role, which then permits nothing.
pub fn role_facts(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    role: &ResourceId,
) -> Result<Option<RoleFacts>, CatalogError> {
    let Some(placed) = fetch(tx, tenant, ResourceKind::Role, role)? else { return Ok(None) };
    let Role { permissions, .. } = placed.record.spec_as()?;
    let header = placed.record.header;
    Ok(Some(RoleFacts { id: header.id, name: header.name, permissions }))
}

/// The security policy in force on a record: its own or, without one, that of what it belongs to, as
/// a function's is that of its microservice's service, and an instance's that of its function.
pub fn guard_of(tx: &ReadTx<'_>, record: &Record) -> Result<Option<Guard>, CatalogError> {
    let tenant = &record.header.tenant;
    let mut current = record.clone();
    for _ in 0..ANCESTORS_MAX {
        if let Some(policy) = current.references.iter().find(|r| r.field == "security_policy") {
            return guard(tx, tenant, policy);
        }
        let Some(up) = parent(&current) else { return Ok(None) };
        let Ok(id) = ResourceId::parse(up.to.id.as_str()) else { return Ok(None) };
        let Some(placed) = fetch(tx, tenant, up.to.kind, &id)? else { return Ok(None) };
        current = placed.record;
    }
    Ok(None)
}

fn parent(record: &Record) -> Option<&Reference> {
    let goes_with = |reference: &&Reference| {
        reference.on_delete == OnDelete::Cascade
            || (record.header.kind == ResourceKind::Instance && reference.field == "function")
    };
    record.references.iter().find(goes_with)
}

fn guard(tx: &ReadTx<'_>, tenant: &TenantId, reference: &Reference) -> Result<Option<Guard>, CatalogError> {
    let missing = || CatalogError::NotFound(reference.to.clone());
    let id = ResourceId::parse(reference.to.id.as_str()).map_err(|_| missing())?;
    let placed = fetch(tx, tenant, ResourceKind::SecurityPolicy, &id)?.ok_or_else(missing)?;
    let SecurityPolicy { roles, requires_authentication, .. } = placed.record.spec_as()?;
    let mut facts = Vec::with_capacity(roles.len());
    for role in roles {
        // A role cannot be deleted while a policy lists it; were it gone nevertheless, the policy must
        // go on narrowing rather than fall open.
        facts.push(match role_facts(tx, tenant, &role)? {
            Some(known) => known,
            None => RoleFacts { name: role.to_string(), id: role, permissions: Vec::new() },
        });
    }
    Ok(Some(Guard { id, requires_authentication, roles: facts }))
}
