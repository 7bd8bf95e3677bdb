//! One resource as a file declares it.

use std::collections::BTreeMap;

use cm_types::{Labels, ResourceId, ResourceKind};
use serde_json::{Map, Value};

use crate::position::Position;
use crate::schema;

/// A resource that there shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// What it is.
    pub kind: ResourceKind,
    /// Its id within its kind; a valid [`ResourceId`] when it comes from a file.
    pub id: String,
    /// Its name; without one, its id.
    pub name: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// The kind's own fields, as the API takes them: `cpu` is a number, amounts of bytes are text.
    pub spec: Map<String, Value>,
    /// Where its id stands in the file; [`Position::START`] when it comes from elsewhere.
    pub at: Position,
}

impl Declared {
    /// What a flat record of the API declares: its name, labels and own fields, without what the platform writes, what
    /// follows from other records, and what is null. A name that only repeats the id is left out.
    ///
    /// `None` when the kind cannot be declared, or the record has no valid id or labels.
    pub fn from_record(kind: ResourceKind, record: &Map<String, Value>) -> Option<Self> {
        let fields = schema::fields_of(kind)?;
        let id = ResourceId::parse(record.get("id")?.as_str()?).ok()?;
        let name = record.get("name").and_then(Value::as_str).filter(|name| *name != id.as_str());
        let labels = match record.get("labels") {
            Some(Value::Object(labels)) => {
                let texts =
                    labels.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
                Labels::try_from(texts.collect::<Option<BTreeMap<_, _>>>()?).ok()?
            }
            Some(Value::Null) | None => Labels::new(),
            Some(_) => return None,
        };
        let spec = fields
            .iter()
            .filter(|field| field.shape.is_of_spec())
            .filter_map(|field| Some((field.name.to_owned(), record.get(field.name)?.clone())))
            .filter(|(_, value)| !value.is_null())
            .collect();
        Some(Self { kind, id: id.into(), name: name.map(str::to_owned), labels, spec, at: Position::START })
    }

    /// Whether both declare the same, wherever they stand.
    pub fn declares_same(&self, other: &Declared) -> bool {
        let Declared { kind, id, name, labels, spec, at: _ } = other;
        (&self.kind, &self.id, &self.name, &self.labels, &self.spec) == (kind, id, name, labels, spec)
    }
}
