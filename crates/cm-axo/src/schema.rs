//! The schema: what clients read as `axo_schema`, and how it is stored.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The name of the class when a source declares none. The earlier implementation said `GenericActiveObject` in the
/// schema and `GenericAO` in the record; here both say the latter.
pub const DEFAULT_CLASS_NAME: &str = "GenericAO";

/// What the first class of a module declares. Its serialised form is a promise to clients and to stored
/// records: `{"class_name": .., "init": [P], "methods": {"name": [P]}}`, methods in the order of the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The class, or [`DEFAULT_CLASS_NAME`].
    pub class_name: String,
    /// The parameters of `__init__`.
    pub init: Vec<Parameter>,
    /// Every other method, each name once. Of a name that is declared twice the last declaration counts, in the
    /// place of the first, as in Python.
    #[serde(serialize_with = "write_methods", deserialize_with = "read_methods")]
    pub methods: Vec<Method>,
}

impl Schema {
    /// The method of a name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }
}

/// A method that can be called on an active object, synchronous or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What a caller passes, without the receiver.
    pub parameters: Vec<Parameter>,
}

/// A positional parameter. Its serialised form is `{name, type, description, required, default}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The annotation if that is a bare name, in the source's words; otherwise `Any`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What the docstring says of it; `null` when it says nothing, as in the earlier implementation always.
    pub description: Option<String>,
    /// Whether there is no default.
    pub required: bool,
    /// The default if JSON can say it: a literal, or tuples, lists, sets and dictionaries (with strings or
    /// integers as keys) of literals. `null` for `None`, for any other expression, and where there is no default.
    pub default: Value,
}

fn write_methods<S: Serializer>(methods: &[Method], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(methods.len()))?;
    for method in methods {
        map.serialize_entry(&method.name, &method.parameters)?;
    }
    map.end()
}

fn read_methods<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Method>, D::Error> {
    struct Methods;

    impl<'de> Visitor<'de> for Methods {
        type Value = Vec<Method>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a map from the names of methods to their parameters")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut methods = Vec::new();
            while let Some((name, parameters)) = map.next_entry()? {
                methods.push(Method { name, parameters });
            }
            Ok(methods)
        }
    }

    deserializer.deserialize_map(Methods)
}
