//! The methods of active objects: functions that come and go with the code that declares them.
//!
//! A method is an ordinary function in all but these: nobody else creates, renames, moves or deletes it, and where it
//! belongs and runs is where its object does. Its id stays for as long as the code has a method of that name, so that
//! states and results can refer to it. What it is called with is said by the schema of its object.

use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_types::{Generation, PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId};
use serde_json::{Map, Value};

use super::Catalog;
use crate::index::fetch;
use crate::kinds::METHODS_MAX;
use crate::tables::{ByTarget, Placed};
use crate::trail::Happening;
use crate::validation::Findings;
use crate::{CatalogError, Dependents, Header, Occasion, Record};

/// The field of a function that says whose method it is.
const OBJECT: &str = "active_object_id";
/// What a method has from its object: its own field, the object's.
const INHERITED: [(&str, &str); 2] =
    [("microservice_id", "axo_microservice_id"), ("endpoint_id", "axo_endpoint_id")];

impl Catalog {
    /// The functions that are the methods of an active object, the oldest first; at most [`METHODS_MAX`].
    pub fn methods_of(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        object: &ResourceId,
    ) -> Result<Vec<Record>, CatalogError> {
        Ok(methods_of(tx, tenant, object)?.into_iter().map(|placed| placed.record).collect())
    }

    /// Makes the functions of an active object what its code says, which was just written: those that are new are
    /// created, those that are gone are removed with their history, those that stay keep their ids.
    pub(super) fn follow_code(
        &self,
        tx: &mut WriteTx<'_>,
        actor: Option<&PrincipalId>,
        object: &Record,
        names: &[String],
        occasion: &Occasion,
    ) -> Result<(), CatalogError> {
        let (kept, gone): (Vec<Placed>, Vec<Placed>) =
            methods_of(tx, &object.header.tenant, &object.header.id)?
                .into_iter()
                .partition(|method| names.contains(&method.record.header.name));
        for method in gone {
            self.remove_with_dependents(tx, actor, method, Dependents::Refuse, occasion)?;
        }
        for method in &kept {
            let spec = spec_of(object, method.record.spec.as_object().cloned().unwrap_or_default());
            if method.record.spec == spec {
                continue;
            }
            let checked = self.check_spec(ResourceKind::Function, &spec)?;
            let mut new = method.clone();
            (new.record.spec, new.record.references) = (checked.spec.into(), checked.references);
            self.store(tx, actor, method, new, Happening::Updated, occasion)?;
        }
        let is_new = |name: &&String| !kept.iter().any(|method| method.record.header.name == **name);
        for name in names.iter().filter(is_new) {
            let checked = self.check_spec(ResourceKind::Function, &spec_of(object, Map::new()))?;
            let header = Header {
                kind: ResourceKind::Function,
                id: ResourceId::random(),
                name: name.clone(),
                generation: Generation::FIRST,
                created_at: occasion.at,
                updated_at: occasion.at,
                ..object.header.clone()
            };
            let (spec, references) = (checked.spec.into(), checked.references);
            self.insert_new(tx, actor, Record { header, spec, status: Value::Null, references }, occasion)?;
        }
        Ok(())
    }

    /// Gives the methods of an active object its new labels. Those whose labels somebody has made others keep them.
    pub(super) fn follow_labels(
        &self,
        tx: &mut WriteTx<'_>,
        actor: Option<&PrincipalId>,
        before: &Record,
        object: &Record,
        occasion: &Occasion,
    ) -> Result<(), CatalogError> {
        let (old, new) = (&before.header.labels, &object.header.labels);
        if old == new {
            return Ok(());
        }
        for method in methods_of(tx, &object.header.tenant, &object.header.id)? {
            if method.record.header.labels == *old {
                let mut changed = method.clone();
                changed.record.header.labels = new.clone();
                self.store(tx, actor, &method, changed, Happening::Updated, occasion)?;
            }
        }
        Ok(())
    }
}

/// The spec of a method of an object that has it from nobody else.
fn spec_of(object: &Record, mut spec: Map<String, Value>) -> Value {
    spec.insert(OBJECT.to_owned(), Value::from(object.header.id.as_str()));
    for (field, of_object) in INHERITED {
        match object.spec.get(of_object) {
            Some(value) => spec.insert(field.to_owned(), value.clone()),
            None => spec.remove(field),
        };
    }
    Value::Object(spec)
}

fn methods_of(tx: &ReadTx<'_>, tenant: &TenantId, object: &ResourceId) -> Result<Vec<Placed>, CatalogError> {
    let target = ResourceRef::new(ResourceKind::ActiveObject, object.as_str());
    let prefix = KeyPrefix::new().part(tenant).part(&target).part(&ResourceKind::Function);
    let mut methods = Vec::new();
    for (_, holder) in tx.prefix::<ByTarget>(&prefix, None, METHODS_MAX)? {
        methods.extend(fetch(tx, tenant, ResourceKind::Function, &holder.id)?);
    }
    Ok(methods)
}

/// The active object whose method this is.
pub(super) fn object_of(record: &Record) -> Option<ResourceRef> {
    if record.header.kind != ResourceKind::Function {
        return None;
    }
    let id = record.spec.get(OBJECT)?.as_str()?;
    Some(ResourceRef::new(ResourceKind::ActiveObject, id))
}

/// Refuses to delete a method without its object, whose schema would name what does not exist.
pub(super) fn refuse_method(record: &Record) -> Result<(), CatalogError> {
    match object_of(record) {
        Some(object) => Err(CatalogError::StillReferenced { by: vec![object] }),
        None => Ok(()),
    }
}

/// Refuses a function that says of itself that it is a method.
pub(super) fn refuse_claimed_method(kind: ResourceKind, spec: &Value) -> Result<(), CatalogError> {
    let claims = kind == ResourceKind::Function && spec.get(OBJECT).is_some_and(|id| !id.is_null());
    let mut findings = Findings::default();
    if claims {
        findings.add(format!("spec.{OBJECT}"), "methods are made of the code of their active object only");
    }
    Ok(findings.finish()?)
}

/// Refuses a change that takes a method from its object, or makes a method of a function.
pub(super) fn check_method(old: &Record, new: &Record) -> Result<(), CatalogError> {
    if object_of(old).is_none() {
        return refuse_claimed_method(new.header.kind, &new.spec);
    }
    let mut findings = Findings::default();
    if old.header.name != new.header.name {
        findings.add("name", "of a method is said by the code of its active object");
    }
    for field in INHERITED.map(|(field, _)| field).into_iter().chain([OBJECT]) {
        if old.spec.get(field) != new.spec.get(field) {
            findings.add(format!("spec.{field}"), "of a method is said by its active object");
        }
    }
    Ok(findings.finish()?)
}
