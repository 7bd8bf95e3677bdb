//! Turns records into the facts that policy decides on.

use cm_db::ReadTx;
use cm_policy::{Guard, RoleFacts};
use cm_types::{ResourceId, ResourceKind, TenantId};
use serde::Deserialize;

use crate::index::fetch;
use crate::kinds::{GuardedBy, OwnPolicy, Role, SecurityPolicy};
use crate::{CatalogError, OnDelete, Record, Reference};

/// Longest way up from a record to one that has a security policy: a result's goes by its state, function,
/// active object and microservice to the service, and two to spare.
const ANCESTORS_MAX: usize = 8;

/// The facts of a role; `None` if there is no such role, which then permits nothing.
pub fn role_facts(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    role: &ResourceId,
) -> Result<Option<RoleFacts>, CatalogError> {
    let Some(placed) = fetch(tx, tenant, ResourceKind::Role, role)? else { return Ok(None) };
    let role: Role = placed.record.spec_as()?;
    let (permissions, header) = (role.granted(), placed.record.header);
    Ok(Some(RoleFacts { id: header.id, name: header.name, permissions }))
}

/// The security policy in force on a record: its own or, without one, that of what it belongs to, as
/// a function's is that of its microservice's service, and an instance's that of its function.
pub fn guard_of(tx: &ReadTx<'_>, record: &Record) -> Result<Option<Guard>, CatalogError> {
    let tenant = &record.header.tenant;
    let mut above: Option<Record> = None;
    for _ in 0..ANCESTORS_MAX {
        let current = above.as_ref().unwrap_or(record);
        match current.spec.get("security_policy").map(GuardedBy::deserialize) {
            Some(Ok(GuardedBy::Policy(id))) => return named_guard(tx, tenant, id).map(Some),
            Some(Ok(GuardedBy::Own(own))) => return own_guard(tx, tenant, current, own).map(Some),
            // What cannot be read must not fall open.
            Some(Err(_)) => return Ok(Some(closed(current.header.id.clone()))),
            None => {}
        }
        let Some(up) = parent(current) else { return Ok(None) };
        let parent = match ResourceId::parse(up.to.id.as_str()) {
            Ok(id) => fetch(tx, tenant, up.to.kind, &id)?,
            Err(_) => None,
        };
        // What it belongs to is gone, or never was, and with it the policy that was in force: it must not fall open.
        let Some(placed) = parent else { return Ok(Some(closed(current.header.id.clone()))) };
        above = Some(placed.record);
    }
    Ok(Some(closed(above.as_ref().unwrap_or(record).header.id.clone())))
}

/// As [`guard_of`], of a record of which it is known what it belongs to: it is under its own policy or, without one,
/// under the one in force there.
pub fn guard_beneath(
    tx: &ReadTx<'_>,
    record: &Record,
    above: Option<&Guard>,
) -> Result<Option<Guard>, CatalogError> {
    match record.spec.get("security_policy") {
        Some(_) => guard_of(tx, record),
        None => Ok(above.cloned()),
    }
}

fn parent(record: &Record) -> Option<&Reference> {
    let goes_with = |reference: &&Reference| {
        matches!(reference.on_delete, OnDelete::Cascade | OnDelete::Part)
            || (record.header.kind == ResourceKind::Instance && reference.field == "function")
    };
    record.references.iter().find(goes_with)
}

fn named_guard(tx: &ReadTx<'_>, tenant: &TenantId, id: ResourceId) -> Result<Guard, CatalogError> {
    match fetch(tx, tenant, ResourceKind::SecurityPolicy, &id)? {
        Some(placed) => {
            let SecurityPolicy { roles, requires_authentication, .. } = placed.record.spec_as()?;
            Ok(Guard { id, requires_authentication, roles: guarding_roles(tx, tenant, roles)? })
        }
        // The policy is gone, or never was: on a node in open mode, or after a deletion that left it behind.
        None => Ok(closed(id)),
    }
}

fn own_guard(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    record: &Record,
    own: OwnPolicy,
) -> Result<Guard, CatalogError> {
    let OwnPolicy { sp_id, roles, requires_authentication } = own;
    let id = sp_id.unwrap_or_else(|| record.header.id.clone());
    Ok(Guard { id, requires_authentication, roles: guarding_roles(tx, tenant, roles)? })
}

fn guarding_roles(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    roles: Vec<ResourceId>,
) -> Result<Vec<RoleFacts>, CatalogError> {
    let mut facts = Vec::with_capacity(roles.len());
    for role in roles {
        // A role that is gone goes on narrowing rather than let the policy fall open.
        facts.push(match role_facts(tx, tenant, &role)? {
            Some(known) => known,
            None => unheld(role),
        });
    }
    Ok(facts)
}

/// A guard that nobody satisfies: what is under it is for its owner and administrators alone.
fn closed(id: ResourceId) -> Guard {
    // An id of its own: there may be a role that is called as the policy was, and somebody who holds it.
    Guard { requires_authentication: true, roles: vec![unheld(ResourceId::random())], id }
}

/// A role that does not exist, which nobody holds.
fn unheld(role: ResourceId) -> RoleFacts {
    RoleFacts { name: role.to_string(), id: role, permissions: Vec::new() }
}
