//! Declarations as a file.

use cm_types::ResourceKind;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::declared::Declared;
use crate::schema::{self, VERSION, VERSION_SECTION};

/// The flat shape of the declarations: sections in the order in which resources refer to each other, then by id; fields in
/// the order of the documentation. Texts stand without quotes where they then still are texts, and over several
/// lines when they have them.
///
/// [`crate::Manifest::parse`] reads back the same declarations if their kinds can be declared, their ids are valid and
/// unique within their kind, and their specs have the types of the API. Whatever else is given is written all the same, in a
/// section named by the plural of its kind: for people to look at.
pub fn to_yaml(resources: &[Declared]) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(&File(resources), options).expect(
        "memory takes everything, and maps with text keys, lists, texts and numbers can all be written",
    )
}

struct File<'a>(&'a [Declared]);

struct Section<'a>(Vec<&'a Declared>);

struct Fields<'a>(&'a Declared);

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut kinds: Vec<ResourceKind> = self.0.iter().map(|resource| resource.kind).collect();
        kinds.sort_by_key(|kind| (schema::rank(*kind), *kind));
        kinds.dedup();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(VERSION_SECTION, VERSION)?;
        for kind in kinds {
            let mut members: Vec<_> = self.0.iter().filter(|resource| resource.kind == kind).collect();
            members.sort_by(|left, right| left.id.cmp(&right.id));
            map.serialize_entry(kind.plural(), &Section(members))?;
        }
        map.end()
    }
}

impl Serialize for Section<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for resource in &self.0 {
            map.serialize_entry(&resource.id, &Fields(resource))?;
        }
        map.end()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Declared { kind, id: _, name, labels, spec, at: _ } = self.0;
        let known = schema::fields_of(*kind).unwrap_or_default();
        let place = |name: &str| known.iter().position(|field| field.name == name).unwrap_or(known.len());
        let mut fields: Vec<_> = spec.iter().collect();
        fields.sort_by_key(|(name, _)| place(name));
        let mut map = serializer.serialize_map(None)?;
        if let Some(name) = name {
            map.serialize_entry("name", name)?;
        }
        if !labels.is_empty() {
            map.serialize_entry("labels", labels)?;
        }
        for (name, value) in fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
