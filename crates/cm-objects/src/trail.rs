//! What happens to objects, as events in the caller's transaction.

use cm_db::WriteTx;
use cm_events::{EventLog, EventVerb, NewEvent, Outcome};
use cm_types::{BucketName, ObjectKey, PrincipalId, RequestId, TenantId};

use crate::ObjectError;
use crate::object::object_ref;
use crate::tables::ObjectRow;

/// Who does it, and where.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) tenant: TenantId,
    pub(crate) actor: Option<PrincipalId>,
    pub(crate) request: Option<RequestId>,
}

/// Says that something happened to an object. The facts are those of the new version, or of the one
/// that went.
pub(crate) fn record(
    events: &EventLog,
    tx: &mut WriteTx<'_>,
    origin: &Origin,
    verb: &'static str,
    (bucket, key): (&BucketName, &ObjectKey),
    row: &ObjectRow,
) -> Result<(), ObjectError> {
    let mut facts = serde_json::Map::new();
    facts.insert("size".to_owned(), row.size.into());
    facts.insert("sha256".to_owned(), row.sha256.to_string().into());
    facts.insert("version".to_owned(), row.version.to_string().into());
    events.append(
        tx,
        NewEvent {
            tenant: origin.tenant.clone(),
            actor: origin.actor.clone(),
            verb: EventVerb::fixed(verb),
            resource: Some(object_ref(bucket, key)),
            request: origin.request.clone(),
            outcome: Outcome::Allowed,
            facts,
        },
    )?;
    Ok(())
}
