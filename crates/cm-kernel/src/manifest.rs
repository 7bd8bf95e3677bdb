//! Many declarations at once: what they would change, and changing it in one transaction.

use std::collections::HashSet;

use cm_catalog::{Change, NewRecord, Record, SpecChange, guard};
use cm_db::{DbError, WriteTx};
use cm_policy::{ActionKind, Create, Denied, Permit, Read, Target, Update, decide};
use cm_types::{Labels, ResourceId, ResourceKind, ResourceRef};
use serde_json::Value;

use crate::records::target_of;
use crate::within::Within;
use crate::{Kernel, KernelError, OpContext};

/// Most declarations that are applied at once: they are one transaction, during which nobody else writes.
pub const DECLARATIONS_MAX: usize = 5000;

/// Most records that are written at once. The methods of active objects count too: a page of code declares hundreds.
pub const WRITTEN_MAX: usize = 10_000;

/// One thing that shall be so.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The kind.
    pub kind: ResourceKind,
    /// The id.
    pub id: ResourceId,
    /// The name; without one, or with an empty one, a new record is named as the catalogue names it and an old one
    /// keeps its own.
    pub name: Option<String>,
    /// All labels; without any, an old record keeps its own.
    pub labels: Option<Labels>,
    /// The whole spec.
    pub spec: Value,
    /// Whether a record that exists is left as it is.
    pub if_absent: bool,
}

/// What becomes of one declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What was declared.
    pub resource: ResourceRef,
    /// What that changes.
    pub effect: Effect,
}

/// What a declaration changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// There was no such record.
    Created,
    /// These fields change.
    Changed(Vec<FieldChange>),
    /// It is so already.
    Unchanged,
}

/// One field that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// Where: `name`, `labels.env`, `resources.cpu`.
    pub path: String,
    /// What it was; `None` if it was absent.
    pub before: Option<Value>,
    /// What it becomes; `None` if it goes.
    pub after: Option<Value>,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// There are more than [`DECLARATIONS_MAX`].
    #[error("{given} resources are declared, at most {DECLARATIONS_MAX} are applied at once")]
    TooMany {
        /// How many there are.
        given: usize,
    },
    /// More than [`WRITTEN_MAX`] records would be written.
    #[error("with the methods of active objects more than {WRITTEN_MAX} records would be written at once")]
    WritesTooMuch {
        /// The declaration that goes beyond it, as an index into what was given.
        index: usize,
    },
    /// Two declarations are about one record, so that at most one of them could be so afterwards.
    #[error("`{resource}` is declared twice")]
    Twice {
        /// The later one, as an index into what was given.
        index: usize,
        /// The record.
        resource: ResourceRef,
    },
    /// One declaration was refused, and with it all.
    #[error("{source}")]
    Refused {
        /// Which one, as an index into what was given.
        index: usize,
        /// Why.
        source: KernelError,
    },
    /// The transaction failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// How the closure of the transaction ends when it must leave no trace.
enum Stop {
    /// It was only asked what would change.
    Planned(Vec<Applied>),
    /// One declaration was refused.
    Refused(usize, Refusal),
    /// With this one, too much would be written.
    WritesTooMuch(usize),
    Db(DbError),
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        Stop::Db(error)
    }
}

/// Why one declaration was refused.
enum Refusal {
    /// By a decision, which is still to be recorded, and worded for its receiver.
    Denied(Denied),
    Kernel(KernelError),
}

impl<E: Into<KernelError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::Kernel(error.into())
    }
}

impl Kernel {
    /// Makes everything so that is declared, in one transaction: all of it or nothing. What is not declared stays.
    /// With `dry_run` it is done and undone, so that what is said would happen is what would happen.
    ///
    /// Each declaration asks for the permission to create or to update what it declares; one that changes nothing asks
    /// for reading. Records are created in the order of reference, whatever the order of the declarations. The answer
    /// has theirs.
    ///
    /// # Errors
    /// [`ApplyError::TooMany`], [`ApplyError::Twice`]; [`ApplyError::Refused`] names the first declaration, in the order
    /// of reference, that stands against it.
    pub async fn apply(
        &self,
        op: &OpContext,
        declarations: Vec<Declaration>,
        dry_run: bool,
    ) -> Result<Vec<Applied>, ApplyError> {
        if declarations.len() > DECLARATIONS_MAX {
            return Err(ApplyError::TooMany { given: declarations.len() });
        }
        let resources: Vec<ResourceRef> = declarations.iter().map(Declaration::resource).collect();
        let mut seen = HashSet::new();
        if let Some(index) = resources.iter().position(|resource| !seen.insert(resource)) {
            return Err(ApplyError::Twice { index, resource: resources[index].clone() });
        }
        let within = self.within(op);
        let catalog = self.catalog().clone();
        // By a reader: the writer has no time for it.
        let prepared: Result<_, KernelError> = self
            .db()
            .read(move |_| {
                declarations.iter().for_each(|declared| catalog.prepare(declared.kind, &declared.spec));
                Ok(declarations)
            })
            .await;
        let declarations = prepared?;
        let outcome = self.db().write(move |tx| apply_all(&within, tx, declarations, dry_run)).await;
        match outcome {
            Ok(applied) | Err(Stop::Planned(applied)) => Ok(applied),
            Err(Stop::Db(error)) => Err(KernelError::from(error).into()),
            Err(Stop::WritesTooMuch(index)) => Err(ApplyError::WritesTooMuch { index }),
            Err(Stop::Refused(index, refusal)) => {
                let source = match refusal {
                    Refusal::Denied(denied) => self.refuse(op, denied, resources[index].clone()).await,
                    Refusal::Kernel(KernelError::Forbidden(explanation)) => {
                        let denied = Denied::Forbidden(explanation);
                        self.refuse(op, denied, resources[index].clone()).await
                    }
                    Refusal::Kernel(error) => error,
                };
                Err(ApplyError::Refused { index, source })
            }
        }
    }
}

impl Declaration {
    fn resource(&self) -> ResourceRef {
        ResourceRef::new(self.kind, self.id.as_str())
    }
}

fn apply_all(
    within: &Within,
    tx: &mut WriteTx<'_>,
    declarations: Vec<Declaration>,
    dry_run: bool,
) -> Result<Vec<Applied>, Stop> {
    let mut ordered: Vec<(usize, Declaration)> = declarations.into_iter().enumerate().collect();
    ordered.sort_by_key(|(index, declaration)| (rank(declaration.kind), *index));
    let (mut applied, mut written) = (Vec::with_capacity(ordered.len()), 0);
    for (index, declaration) in ordered {
        let resource = declaration.resource();
        let (effect, record) =
            within.apply(tx, declaration).map_err(|refusal| Stop::Refused(index, refusal))?;
        written += record.as_ref().map_or(0, |record| 1 + methods_in(record));
        if written > WRITTEN_MAX {
            return Err(Stop::WritesTooMuch(index));
        }
        applied.push((index, Applied { resource, effect }));
    }
    applied.sort_by_key(|(index, _)| *index);
    let applied = applied.into_iter().map(|(_, applied)| applied).collect();
    if dry_run { Err(Stop::Planned(applied)) } else { Ok(applied) }
}

/// How many functions are written along with the record, at most.
fn methods_in(record: &Record) -> usize {
    let methods = record.spec.get("axo_schema").and_then(|schema| schema.get("methods"));
    methods.and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

/// What is referred to comes before what refers to it.
fn rank(kind: ResourceKind) -> usize {
    const ORDER: [ResourceKind; 10] = [
        ResourceKind::Role,
        ResourceKind::SecurityPolicy,
        ResourceKind::PermissionPolicy,
        ResourceKind::Storage,
        ResourceKind::Bucket,
        ResourceKind::Service,
        ResourceKind::Microservice,
        ResourceKind::Endpoint,
        ResourceKind::ActiveObject,
        ResourceKind::Function,
    ];
    ORDER.iter().position(|other| *other == kind).unwrap_or(ORDER.len())
}

impl Within {
    /// What the declaration changes, and the record if it was written.
    fn apply(
        &self,
        tx: &mut WriteTx<'_>,
        declared: Declaration,
    ) -> Result<(Effect, Option<Record>), Refusal> {
        let tenant = self.op.tenant();
        match self.catalog.get(tx, &tenant, declared.kind, &declared.id)? {
            None => {
                let labels = declared.labels.unwrap_or_default();
                let target = Target {
                    kind: declared.kind,
                    id: None,
                    tenant: &tenant,
                    owner: None,
                    labels: &labels,
                    guard: None,
                };
                let permit = decide::<Create>(&self.op.subject(), &target).map_err(Refusal::Denied)?;
                let new = NewRecord {
                    kind: declared.kind,
                    id: Some(declared.id),
                    name: declared.name.unwrap_or_default(),
                    owner: None,
                    labels: labels.clone(),
                    spec: declared.spec,
                    status: Value::Null,
                };
                let record = self.create(tx, &permit, new)?;
                Ok((Effect::Created, Some(record)))
            }
            Some(record) => self.apply_to(tx, record, declared),
        }
    }

    fn apply_to(
        &self,
        tx: &mut WriteTx<'_>,
        record: Record,
        declared: Declaration,
    ) -> Result<(Effect, Option<Record>), Refusal> {
        // Whoever may not read it is not told whether it is as declared.
        self.permit_on::<Read>(tx, &record)?;
        if declared.if_absent {
            return Ok((Effect::Unchanged, None));
        }
        let spec = self.catalog.completed(declared.kind, &declared.spec)?;
        let name =
            declared.name.filter(|name| !name.is_empty()).unwrap_or_else(|| record.header.name.clone());
        let labels = declared.labels.unwrap_or_else(|| record.header.labels.clone());
        let mut changes = Vec::new();
        compare(
            "name",
            Some(&Value::from(record.header.name.clone())),
            Some(&Value::from(name.clone())),
            &mut changes,
        );
        let text = |labels: &Labels| serde_json::to_value(labels).expect("labels are texts");
        compare("labels", Some(&text(&record.header.labels)), Some(&text(&labels)), &mut changes);
        compare("", Some(&*record.spec), Some(&spec), &mut changes);
        if changes.is_empty() {
            return Ok((Effect::Unchanged, None));
        }
        let permit = self.permit_on::<Update>(tx, &record)?;
        let change = Change {
            name: Some(name),
            labels: Some(labels),
            spec: Some(SpecChange::Replace(declared.spec)),
            ..Change::default()
        };
        let record = self.update(tx, &permit, &record.header.id, change)?;
        Ok((Effect::Changed(changes), Some(record)))
    }

    fn permit_on<A: ActionKind>(&self, tx: &WriteTx<'_>, record: &Record) -> Result<Permit<A>, Refusal> {
        let guard = guard::guard_of(tx, record)?;
        decide::<A>(&self.op.subject(), &target_of(record, guard.as_ref())).map_err(Refusal::Denied)
    }
}

/// The fields in which two values differ, the innermost that have names.
fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&inner, old.get(name), new.get(name), changes);
            }
        }
        (before, after) if before == after => {}
        (before, after) => changes.push(FieldChange {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_innermost_fields() {
        let check = |before: Value, after: Value, expected: &[&str]| {
            let mut changes = Vec::new();
            compare("", Some(&before), Some(&after), &mut changes);
            let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
            assert_eq!(paths, expected, "{before} {after}");
        };
        check(json!({"a": 1}), json!({"a": 1}), &[]);
        check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1, "c": 3}}), &["a.c"]);
        check(json!({"a": [1]}), json!({"a": [1, 2]}), &["a"]);
        check(json!({"a": 1}), json!({"b": 1}), &["a", "b"]);
        check(json!({"a": {"b": 1}}), json!({"a": "x"}), &["a"]);
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        assert!(rank(ResourceKind::Role) < rank(ResourceKind::SecurityPolicy));
        assert!(rank(ResourceKind::Microservice) < rank(ResourceKind::Function));
        assert!(rank(ResourceKind::Endpoint) < rank(ResourceKind::Function));
        assert!(rank(ResourceKind::Function) < rank(ResourceKind::Instance));
    }
}
