//! Fields and their values.

use std::collections::BTreeMap;

use cm_types::label::{LABEL_NAME_LEN_MAX, LABEL_VALUE_LEN_MAX, LABELS_MAX};
use cm_types::{ByteCount, InvalidLabel, Labels, ResourceId, ResourceKind};
use serde_json::{Map, Value as Json};

use super::{Draft, Reader, shown_id};
use crate::links::Listed;
use crate::manifest::Places;
use crate::problem::{Reason, shown};
use crate::schema::{self, Field, Shape};
use crate::tree::{Entry, Node, Value};

/// Longest name, in bytes: that of the catalogue. What a node allows may be less.
const NAME_LEN_MAX: usize = 128;
/// Longest text that may be a number or an amount; nobody writes more digits.
const NUMBER_LEN_MAX: usize = 64;

impl Reader {
    /// Reads the fields of a resource into the draft; what belongs to the spec is returned.
    pub(super) fn fields_of_resource<'n>(
        &mut self,
        draft: &mut Draft<'n>,
        entries: &'n [Entry],
    ) -> Map<String, Json> {
        let fields = schema::fields_of(draft.kind).unwrap_or_default();
        let mut spec = Map::new();
        for entry in entries {
            let Some(field) = self.known_field(schema::called(draft.kind), fields, entry) else { continue };
            let node = &entry.node;
            match field.shape {
                Shape::OwnId => {
                    draft.places.insert(field.name.to_owned(), node.at);
                    if self.id(node).is_some_and(|id| id.as_str() != draft.id) {
                        let reason = Reason::OtherId { id: shown(draft.id), key: draft.at };
                        self.problems.add(node.at, reason);
                    }
                }
                Shape::Name => {
                    draft.places.insert(field.name.to_owned(), node.at);
                    draft.name = self.name(node);
                }
                Shape::Labels => draft.labels = self.labels(node, &mut draft.places),
                Shape::Written => self.read.warnings.add(entry.at, Reason::Written(field.name)),
                Shape::Children(kind) => self.children(draft, kind, node),
                shape => {
                    let path = format!("spec.{}", field.name);
                    if let Some(value) = self.value(node, shape, &path, &mut draft.places) {
                        spec.insert(field.name.to_owned(), value);
                    }
                }
            }
        }
        spec
    }

    fn known_field(
        &mut self,
        owner: &'static str,
        fields: &'static [Field],
        entry: &Entry,
    ) -> Option<&'static Field> {
        let found = fields.iter().find(|field| field.name == entry.key);
        if found.is_none() {
            let nearest = schema::nearest(&entry.key, fields.iter().map(|field| field.name));
            self.problems.add(entry.at, Reason::UnknownField { owner, name: shown(&entry.key), nearest });
        }
        found
    }

    /// Children by id, or a list of ids of children that are declared elsewhere.
    fn children<'n>(&mut self, draft: &mut Draft<'n>, child: ResourceKind, node: &'n Node) {
        match &node.value {
            Value::Map(entries) => draft.children.push((child, entries)),
            Value::List(items) => {
                for item in items {
                    let Some(id) = self.id(item) else { continue };
                    let parent = draft.id.to_owned();
                    self.read.listed.push(Listed { child, id, parent, parent_kind: draft.kind, at: item.at });
                }
            }
            _ if node.is_nothing() => {}
            _ => self.expected(node, "a list of ids or a mapping from ids to resources"),
        }
    }

    /// A value of the given shape at a path, and the places of everything in it.
    pub(super) fn value(
        &mut self,
        node: &Node,
        shape: Shape,
        path: &str,
        places: &mut Places,
    ) -> Option<Json> {
        places.insert(path.to_owned(), node.at);
        match shape {
            Shape::Text => self.text(node).map(|text| text.to_owned().into()),
            Shape::Name => self.name(node).map(Json::from),
            Shape::Id | Shape::OwnId => self.id(node).map(|id| id.as_str().into()),
            Shape::Bool => self.boolean(node).map(Json::from),
            Shape::Cpu => self.cpu(node).map(Json::from),
            Shape::Bytes => self.byte_count(node).map(|count| count.as_str().into()),
            Shape::Integer(min, max) => self.integer(node, min, max).map(Json::from),
            Shape::Ids => self.list(node, Shape::Id, "a list of ids", path, places),
            Shape::Texts => self.list(node, Shape::Text, "a list of texts", path, places),
            Shape::EmbeddedRoles => {
                let roles = self.list(node, Shape::Id, "a list of ids", path, places);
                for (at, role) in roles.iter().filter_map(Json::as_array).flatten().enumerate() {
                    let Some(Ok(role)) = role.as_str().map(ResourceId::parse) else { continue };
                    let place = places.get(&format!("{path}[{at}]")).copied().unwrap_or(node.at);
                    self.read.named_roles.push((role, place));
                }
                roles
            }
            Shape::Map(called, fields) => {
                let entries = self.mapping(node, "a mapping")?;
                Some(self.map(called, fields, entries, path, places))
            }
            Shape::IdOr(called, fields) => match &node.value {
                Value::Map(entries) => Some(self.map(called, fields, entries, path, places)),
                Value::List(_) => {
                    self.expected(node, "an id or a mapping");
                    None
                }
                Value::Text { .. } => self.id(node).map(|id| id.as_str().into()),
            },
            // These occur only as fields of a resource itself, where they are read.
            Shape::Labels | Shape::Written | Shape::Children(_) => None,
        }
    }

    fn map(
        &mut self,
        called: &'static str,
        fields: &'static [Field],
        entries: &[Entry],
        path: &str,
        places: &mut Places,
    ) -> Json {
        let mut map = Map::new();
        for entry in entries {
            let Some(field) = self.known_field(called, fields, entry) else { continue };
            let path = format!("{path}.{}", field.name);
            if let Some(value) = self.value(&entry.node, field.shape, &path, places) {
                map.insert(field.name.to_owned(), value);
            }
        }
        map.into()
    }

    /// A list; what is wrong in it is left out, so that its places count as they do in the file only if nothing is.
    fn list(
        &mut self,
        node: &Node,
        shape: Shape,
        expected: &'static str,
        path: &str,
        places: &mut Places,
    ) -> Option<Json> {
        let Value::List(items) = &node.value else {
            self.expected(node, expected);
            return None;
        };
        let values = items.iter().enumerate();
        let values =
            values.filter_map(|(at, item)| self.value(item, shape, &format!("{path}[{at}]"), places));
        Some(Json::Array(values.collect()))
    }

    fn labels(&mut self, node: &Node, places: &mut Places) -> Labels {
        places.insert("labels".to_owned(), node.at);
        let Some(entries) = self.optional_mapping(node, "a mapping of labels") else { return Labels::new() };
        if entries.len() > LABELS_MAX {
            self.problems.add(node.at, InvalidLabel::TooMany);
            return Labels::new();
        }
        let mut labels = BTreeMap::new();
        for Entry { key, at, node } in entries {
            let Some(value) = self.text(node) else { continue };
            // Judged one by one: the place of the wrong one shall be told. An error repeats the name.
            let name = if key.len() > LABEL_NAME_LEN_MAX { shown(key) + "…" } else { key.clone() };
            let value_judged = if value.len() > LABEL_VALUE_LEN_MAX { "," } else { value };
            match Labels::try_from(BTreeMap::from([(name, value_judged.to_owned())])) {
                Ok(_) => {
                    places.insert(format!("labels.{key}"), node.at);
                    labels.insert(key.clone(), value.to_owned());
                }
                Err(error @ InvalidLabel::Value(_)) => self.problems.add(node.at, error),
                Err(InvalidLabel::Name(name)) => {
                    self.problems.add(*at, InvalidLabel::Name(shown(&name)));
                }
                Err(error) => self.problems.add(*at, error),
            }
        }
        Labels::try_from(labels).unwrap_or_default()
    }

    /// A text. What would be a number or a truth value is none: it needs quotes, so that nobody is surprised.
    fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match (&node.value, node.describe()) {
            (Value::Text { text, .. }, "text") => return Some(text),
            (Value::Text { .. }, described @ ("a number" | "true or false")) => {
                let found = format!("{described} without quotes");
                self.problems.add(node.at, Reason::Expected { expected: "text", found });
            }
            _ => self.expected(node, "text"),
        }
        None
    }

    fn name(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if text.is_empty() || text.len() > NAME_LEN_MAX || text.chars().any(char::is_control) {
            self.problems.add(node.at, Reason::Name { max: NAME_LEN_MAX });
            return None;
        }
        Some(text.to_owned())
    }

    /// An id. One that looks like a number needs no quotes, neither here nor as a key.
    fn id(&mut self, node: &Node) -> Option<ResourceId> {
        let Some(text) = scalar(node) else {
            self.expected(node, "an id");
            return None;
        };
        ResourceId::parse(shown_id(text)).map_err(|error| self.problems.add(node.at, error)).ok()
    }

    fn boolean(&mut self, node: &Node) -> Option<bool> {
        if let Value::Text { text, plain: true } = &node.value {
            match text.as_str() {
                "true" | "True" | "TRUE" => return Some(true),
                "false" | "False" | "FALSE" => return Some(false),
                _ => {}
            }
        }
        self.expected(node, "true or false");
        None
    }

    fn cpu(&mut self, node: &Node) -> Option<u32> {
        let expected = "a positive whole number of cores";
        match scalar(node).and_then(whole_number) {
            Some(number @ 1..) if number <= u64::from(u32::MAX) => u32::try_from(number).ok(),
            Some(1..) => {
                self.problems.add(node.at, Reason::Range { min: 1, max: u64::from(u32::MAX) });
                None
            }
            _ => {
                self.expected_but(node, expected);
                None
            }
        }
    }

    fn integer(&mut self, node: &Node, min: u64, max: u64) -> Option<u64> {
        let plain = matches!(node.value, Value::Text { plain: true, .. });
        let Some(number) = scalar(node).filter(|_| plain).and_then(whole_number) else {
            self.expected_but(node, "a whole number");
            return None;
        };
        if !(min..=max).contains(&number) {
            self.problems.add(node.at, Reason::Range { min, max });
            return None;
        }
        Some(number)
    }

    fn byte_count(&mut self, node: &Node) -> Option<ByteCount> {
        match scalar(node).filter(|text| text.len() <= NUMBER_LEN_MAX) {
            Some(text) => text.parse().map_err(|error| self.problems.add(node.at, error)).ok(),
            None => {
                self.expected(node, "an amount of bytes such as 2GB");
                None
            }
        }
    }

    /// Says what was found as it is written: that it is a number helps nobody who has to write another number.
    fn expected_but(&mut self, node: &Node, expected: &'static str) {
        match scalar(node) {
            Some(text) => {
                let found = format!("`{}`", shown(text));
                self.problems.add(node.at, Reason::Expected { expected, found });
            }
            None => self.expected(node, expected),
        }
    }
}

/// The text of whatever is neither a list nor a mapping nor nothing.
fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text { text, .. } if !node.is_nothing() => Some(text),
        _ => None,
    }
}

/// Digits; more than fit count as the largest number, which is outside of every range.
fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}
