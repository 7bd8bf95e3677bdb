//! From positioned values to declarations.

mod fields;

use std::collections::HashMap;

use cm_types::{Labels, ResourceId, ResourceKind, ResourceRef};
use serde_json::Map;

use crate::declared::Declared;
use crate::links::Listed;
use crate::manifest::Places;
use crate::position::Position;
use crate::problem::{Problems, Reason, shown};
use crate::schema::{self, CONNECTION, CONNECTIONS_SECTION, VERSION, VERSION_SECTION};
use crate::tree::{Entry, Node, Value};

/// What was read.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) resources: Vec<Declared>,
    pub(crate) places: Vec<Places>,
    pub(crate) listed: Vec<Listed>,
    pub(crate) named_roles: Vec<(ResourceId, Position)>,
    pub(crate) warnings: Problems,
}

/// Reads documents one after the other.
pub(crate) struct Reader {
    problems: Problems,
    read: Read,
    declared: HashMap<(ResourceKind, String), Position>,
}

/// The resource being read.
struct Draft<'a> {
    kind: ResourceKind,
    id: &'a str,
    at: Position,
    name: Option<String>,
    labels: Labels,
    places: Places,
    children: Vec<(ResourceKind, &'a [Entry])>,
}

/// That in which a resource is nested.
#[derive(Clone, Copy)]
struct Parent<'a> {
    id: &'a str,
    at: Position,
}

impl Reader {
    pub(crate) fn new(problems: Problems) -> Self {
        Self { problems, read: Read::default(), declared: HashMap::new() }
    }

    pub(crate) fn finish(self) -> (Read, Problems) {
        (self.read, self.problems)
    }

    /// Reads one document: a mapping of sections.
    pub(crate) fn document(&mut self, document: &Node) {
        if document.is_nothing() {
            return;
        }
        let Some(sections) = self.mapping(document, "a mapping of sections") else { return };
        for section in sections {
            let Entry { key, at, node } = section;
            if key == VERSION_SECTION {
                self.version(node);
            } else if key == CONNECTIONS_SECTION {
                self.connections(*at, node);
            } else if let Some(kind) = schema::kind_of_section(key) {
                if let Some(entries) = self.optional_mapping(node, "a mapping from ids to resources") {
                    self.resources(kind, entries, None);
                }
            } else {
                let nearest = schema::nearest(key, schema::sections());
                self.problems.add(*at, Reason::UnknownSection { name: shown(key), nearest });
            }
        }
    }

    fn version(&mut self, node: &Node) {
        match &node.value {
            Value::Text { text, .. } if text == VERSION => {}
            Value::Text { text, .. } => self.problems.add(node.at, Reason::Version(shown(text))),
            _ => self.expected(node, "the version `v1`"),
        }
    }

    fn connections(&mut self, at: Position, node: &Node) {
        self.read.warnings.add(at, Reason::Connections);
        match &node.value {
            Value::List(items) => {
                for item in items {
                    self.value(item, CONNECTION, "", &mut Places::new());
                }
            }
            _ if node.is_nothing() => {}
            _ => self.expected(node, "a list of connections"),
        }
    }

    /// Reads resources by id.
    fn resources(&mut self, kind: ResourceKind, entries: &[Entry], parent: Option<Parent<'_>>) {
        for entry in entries {
            if let Some(fields) = self.optional_mapping(&entry.node, "the resource's fields") {
                self.resource(kind, entry, fields, parent);
            }
        }
    }

    fn resource(&mut self, kind: ResourceKind, entry: &Entry, entries: &[Entry], parent: Option<Parent<'_>>) {
        if let Err(error) = ResourceId::parse(shown_id(&entry.key)) {
            self.problems.add(entry.at, error);
        }
        let identity = (kind, entry.key.clone());
        if let Some(&first) = self.declared.get(&identity) {
            let resource = ResourceRef::new(kind, shown(&entry.key));
            self.problems.add(entry.at, Reason::DeclaredTwice { resource, first });
        } else {
            self.declared.insert(identity, entry.at);
        }
        let mut draft = Draft {
            kind,
            id: &entry.key,
            at: entry.at,
            name: None,
            labels: Labels::new(),
            places: Places::from([("id".to_owned(), entry.at), ("spec".to_owned(), entry.at)]),
            children: Vec::new(),
        };
        let mut spec = self.fields_of_resource(&mut draft, entries);
        if let Some(parent) = parent {
            self.nest(&mut draft, &mut spec, parent);
        }
        let Draft { name, labels, places, children, .. } = draft;
        let id = entry.key.clone();
        self.read.resources.push(Declared { kind, id, name, labels, spec, at: entry.at });
        self.read.places.push(places);
        for (kind, entries) in children {
            self.resources(kind, entries, Some(Parent { id: &entry.key, at: entry.at }));
        }
    }

    /// The reference that follows from the nesting.
    fn nest(&mut self, draft: &mut Draft<'_>, spec: &mut Map<String, serde_json::Value>, parent: Parent<'_>) {
        let field = schema::parent_field(draft.kind);
        let path = format!("spec.{field}");
        match spec.get(field) {
            Some(written) if written != parent.id => {
                let at = draft.places.get(&path).copied().unwrap_or(draft.at);
                let id = shown(parent.id);
                self.problems.add(at, Reason::OtherId { id, key: parent.at });
            }
            Some(_) => {}
            None => {
                spec.insert(field.to_owned(), parent.id.into());
                draft.places.insert(path, draft.at);
            }
        }
    }

    fn mapping<'n>(&mut self, node: &'n Node, expected: &'static str) -> Option<&'n [Entry]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ => {
                self.expected(node, expected);
                None
            }
        }
    }

    /// A mapping; nothing counts as an empty one.
    fn optional_mapping<'n>(&mut self, node: &'n Node, expected: &'static str) -> Option<&'n [Entry]> {
        if node.is_nothing() { Some(&[]) } else { self.mapping(node, expected) }
    }

    fn expected(&mut self, node: &Node, expected: &'static str) {
        let found = match node.describe() {
            "text" => match &node.value {
                Value::Text { text, .. } => format!("`{}`", shown(text)),
                _ => "text".to_owned(),
            },
            other => other.to_owned(),
        };
        self.problems.add(node.at, Reason::Expected { expected, found });
    }
}

/// An id as it may be judged: no error about it repeats more of the text than a character, so only the length counts.
fn shown_id(text: &str) -> &str {
    let mut end = text.len().min(4 * cm_types::id::ID_LEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
