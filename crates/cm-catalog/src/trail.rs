//! The event that every change leaves.

use cm_db::WriteTx;
use cm_events::{EventLog, EventVerb, NewEvent, Outcome};
use cm_types::PrincipalId;
use serde_json::{Map, Value};

use crate::{CatalogError, Occasion, Record};

/// What happened to a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    Created,
    Updated,
    StatusChanged,
    HistoryRemoved,
    Deleted,
}

impl Happening {
    fn as_str(self) -> &'static str {
        match self {
            Happening::Created => "created",
            Happening::Updated => "updated",
            Happening::StatusChanged => "status-changed",
            Happening::HistoryRemoved => "history-removed",
            Happening::Deleted => "deleted",
        }
    }
}

/// Appends the event. Specs and statuses stay out of it: they may be large, and are not for everybody
/// who may read the log.
pub(crate) fn append(
    log: &EventLog,
    tx: &mut WriteTx<'_>,
    actor: Option<&PrincipalId>,
    occasion: &Occasion,
    record: &Record,
    happening: Happening,
    mut facts: Map<String, Value>,
) -> Result<(), CatalogError> {
    let header = &record.header;
    facts.insert("name".to_owned(), Value::from(header.name.clone()));
    facts.insert("generation".to_owned(), Value::from(header.generation.0));
    log.append(
        tx,
        NewEvent {
            tenant: header.tenant.clone(),
            actor: actor.cloned(),
            verb: EventVerb::of(header.kind, happening.as_str()),
            resource: Some(record.resource()),
            request: occasion.request.clone(),
            outcome: Outcome::Allowed,
            facts,
        },
    )?;
    Ok(())
}
