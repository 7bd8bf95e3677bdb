//! What happens to objects, as events in the caller's transaction.

use cm_db::WriteTx;
use cm_events::{EventLog, EventVerb, NewEvent, Outcome};
use cm_types::{BucketName, ObjectKey, PrincipalId, RequestId, ResourceKind, ResourceRef, TenantId};

use crate::ObjectError;
use crate::object::object_ref;
use crate::rows::ObjectRow;
use crate::versions::VersionName;

/// Who does it, and where.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) tenant: TenantId,
    pub(crate) actor: Option<PrincipalId>,
    pub(crate) request: Option<RequestId>,
}

impl Origin {
    /// The node itself.
    pub(crate) fn node(tenant: &TenantId) -> Self {
        Self { tenant: tenant.clone(), actor: None, request: None }
    }
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
    append(events, tx, origin, verb, object_ref(bucket, key), facts)
}

/// Says that something happened to the mark of a deletion.
pub(crate) fn record_marker(
    events: &EventLog,
    tx: &mut WriteTx<'_>,
    origin: &Origin,
    verb: &'static str,
    (bucket, key): (&BucketName, &ObjectKey),
    version: VersionName,
) -> Result<(), ObjectError> {
    let mut facts = serde_json::Map::new();
    facts.insert("marker".to_owned(), version.to_string().into());
    append(events, tx, origin, verb, object_ref(bucket, key), facts)
}

/// Says that what is kept about a bucket was changed.
pub(crate) fn record_bucket(
    events: &EventLog,
    tx: &mut WriteTx<'_>,
    origin: &Origin,
    verb: &'static str,
    bucket: &BucketName,
) -> Result<(), ObjectError> {
    let resource = ResourceRef::new(ResourceKind::Bucket, bucket.as_str());
    append(events, tx, origin, verb, resource, serde_json::Map::new())
}

fn append(
    events: &EventLog,
    tx: &mut WriteTx<'_>,
    origin: &Origin,
    verb: &'static str,
    resource: ResourceRef,
    facts: serde_json::Map<String, serde_json::Value>,
) -> Result<(), ObjectError> {
    let event = NewEvent {
        tenant: origin.tenant.clone(),
        actor: origin.actor.clone(),
        verb: EventVerb::fixed(verb),
        resource: Some(resource),
        request: origin.request.clone(),
        outcome: Outcome::Allowed,
        facts,
    };
    events.append(tx, event)?;
    Ok(())
}
