//! Holds changes to the lives of functions and endpoints.

use cm_db::{Direction, KeyPrefix, KeyRange, ReadTx};
use cm_types::{ResourceId, ResourceKind, ResourceRef, TenantId};
use serde_json::Value;

use crate::index::fetch;
use crate::lifecycle::{DEPLOYMENT_INITIATED, ENDPOINT_COLD, refusal};
use crate::tables::ByTarget;
use crate::{CatalogError, NewRecord, Record};

/// Where the status of a kind says how far the record is in its life, and where that begins.
fn life_of(kind: ResourceKind) -> Option<(&'static str, &'static str)> {
    match kind {
        ResourceKind::Function => Some(("deployment_status", DEPLOYMENT_INITIATED)),
        ResourceKind::Endpoint => Some(("state", ENDPOINT_COLD)),
        _ => None,
    }
}

/// Whether the record may go on to this status.
pub(super) fn check_step(record: &Record, status: &Value) -> Result<(), CatalogError> {
    let kind = record.header.kind;
    let Some((field, beginning)) = life_of(kind) else { return Ok(()) };
    let word = |status: &Value| status.get(field).and_then(Value::as_str).unwrap_or(beginning).to_owned();
    step(kind, record.resource(), word(&record.status), word(status))
}

/// Whether a state that a client posts may follow the last one. The states of a run are the platform's, and are not
/// asked: runs of one function overlap.
pub(super) fn check_next_state(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    new: &NewRecord,
) -> Result<(), CatalogError> {
    let (field, kind) = match new.kind {
        ResourceKind::FunctionState => ("function_id", ResourceKind::Function),
        ResourceKind::EndpointState => ("endpoint_id", ResourceKind::Endpoint),
        _ => return Ok(()),
    };
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let (Some(of), Some(to)) = (text(&new.spec, field), text(&new.spec, "state")) else { return Ok(()) };
    let of = ResourceRef::new(kind, of);
    // What does not exist has no life.
    let Ok(id) = ResourceId::parse(of.id.as_str()) else { return Ok(()) };
    if fetch(tx, tenant, kind, &id)?.is_none() {
        return Ok(());
    }
    let prefix = KeyPrefix::new().part(tenant).part(&of).part(&new.kind);
    let last = tx.range::<ByTarget>(KeyRange::prefix(prefix), Direction::Backward, 1)?;
    let Some((_, holder)) = last.into_iter().next() else { return Ok(()) };
    let Some(last) = fetch(tx, tenant, new.kind, &holder.id)? else { return Ok(()) };
    match text(&last.record.spec, "state") {
        Some(from) => step(kind, of, from, to),
        None => Ok(()),
    }
}

fn step(kind: ResourceKind, of: ResourceRef, from: String, to: String) -> Result<(), CatalogError> {
    match refusal(kind, &from, &to) {
        Some(permitted) => Err(CatalogError::IllegalTransition { of, from, to, permitted }),
        None => Ok(()),
    }
}
