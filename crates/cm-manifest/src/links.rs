//! Lists of children.
//!
//! Which microservices a service has is said by the microservices; a list in the service repeats it. A list that
//! stands alone is understood too: it makes the reference for a child that has none.

use std::collections::HashMap;

use cm_types::{ResourceId, ResourceKind, ResourceRef};

use crate::declared::Declared;
use crate::manifest::Places;
use crate::position::Position;
use crate::problem::{Problems, Reason, shown};
use crate::schema;

/// A child in a list of ids.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) child: ResourceKind,
    pub(crate) id: ResourceId,
    pub(crate) parent_kind: ResourceKind,
    pub(crate) parent: String,
    pub(crate) at: Position,
}

/// Gives listed children their reference, or says why not.
pub(crate) fn apply(
    listed: &[Listed],
    resources: &mut [Declared],
    places: &mut [Places],
    problems: &mut Problems,
    warnings: &mut Problems,
) {
    let indices: HashMap<(ResourceKind, String), usize> = resources
        .iter()
        .enumerate()
        .rev()
        .map(|(index, resource)| ((resource.kind, resource.id.clone()), index))
        .collect();
    for entry in listed {
        let child = ResourceRef::new(entry.child, entry.id.as_str());
        let Some(&index) = indices.get(&(entry.child, entry.id.as_str().to_owned())) else {
            warnings.add(entry.at, Reason::NotDeclared(child));
            continue;
        };
        let field = schema::parent_field(entry.child);
        let path = format!("spec.{field}");
        match resources[index].spec.get(field) {
            Some(parent) if *parent == entry.parent => {}
            Some(other) => {
                let first = places[index].get(&path).copied().unwrap_or(resources[index].at);
                problems.add(
                    entry.at,
                    Reason::OtherParent {
                        child,
                        parent: ResourceRef::new(entry.parent_kind, shown(&entry.parent)),
                        other: shown(other.as_str().unwrap_or_default()),
                        first,
                    },
                );
            }
            None => {
                resources[index].spec.insert(field.to_owned(), entry.parent.clone().into());
                places[index].insert(path, entry.at);
            }
        }
    }
}
