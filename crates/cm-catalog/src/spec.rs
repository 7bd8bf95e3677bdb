//! A spec as it is kept: JSON that is taken apart when somebody looks into it, and not before.
//!
//! Most records that are read are sent on, or are looked into for one field that they do not have. Making a tree of a
//! spec, with an allocation for each of its texts, costs more than everything else that is done with such a record.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// What the owner of a record wants. It reads like the [`Value`] that it is.
#[derive(Clone)]
pub struct Spec {
    /// As it was stored; absent once it was changed, and where there is a value from the start.
    text: Option<Box<RawValue>>,
    value: OnceLock<Value>,
}

impl Spec {
    /// The field of this name, if the spec is an object that has one.
    pub fn get(&self, field: &str) -> Option<&Value> {
        if self.value.get().is_none() && !self.mentions(field) {
            return None;
        }
        self.tree().get(field)
    }

    /// The spec, typed.
    ///
    /// # Errors
    /// It is no such spec.
    pub fn decode<S: DeserializeOwned>(&self) -> Result<S, serde_json::Error> {
        match &self.text {
            Some(text) => serde_json::from_str(text.get()),
            None => S::deserialize(self.tree()),
        }
    }

    /// Its length as text, in bytes.
    pub fn text_len(&self) -> usize {
        match &self.text {
            Some(text) => text.get().len(),
            None => self.tree().to_string().len(),
        }
    }

    /// The tree.
    pub fn into_value(mut self) -> Value {
        std::mem::take(&mut *self)
    }

    fn tree(&self) -> &Value {
        self.value.get_or_init(|| match &self.text {
            Some(text) => serde_json::from_str(text.get()).expect("the text was written from such a tree"),
            None => Value::Null,
        })
    }

    /// Whether the text may have a field of this name. What is stored was written by this crate, which escapes no
    /// letter, digit or `_`, and fields have no others in their names.
    fn mentions(&self, field: &str) -> bool {
        let quoted = |text: &str| {
            let at = |(at, _): (usize, &str)| {
                text[..at].ends_with('"') && text[at + field.len()..].starts_with('"')
            };
            text.match_indices(field).any(at)
        };
        self.text.as_ref().is_none_or(|text| quoted(text.get()))
    }
}

impl Deref for Spec {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.tree()
    }
}

impl DerefMut for Spec {
    fn deref_mut(&mut self) -> &mut Value {
        self.tree();
        self.text = None;
        self.value.get_mut().expect("it was just filled")
    }
}

impl From<Value> for Spec {
    fn from(value: Value) -> Self {
        Self { text: None, value: OnceLock::from(value) }
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree().fmt(f)
    }
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.tree() == other.tree()
    }
}

impl PartialEq<Value> for Spec {
    fn eq(&self, other: &Value) -> bool {
        self.tree() == other
    }
}

impl Serialize for Spec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.text {
            Some(text) => text.serialize(serializer),
            None => self.tree().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Spec {
    /// Only from JSON text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { text: Some(Box::deserialize(deserializer)?), value: OnceLock::new() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(value: &Value) -> Spec {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    #[test]
    fn a_stored_spec_is_the_tree_that_it_was_written_from() {
        let tree = json!({"name": "a \"quoted\" word", "list": [1, 2.5, null], "inner": {"name_too": true}});
        let spec = stored(&tree);
        assert_eq!(spec.get("list"), tree.get("list"));
        assert_eq!(spec, tree);
        assert_eq!(spec, Spec::from(tree.clone()));
        assert_eq!(serde_json::to_value(&spec).unwrap(), tree);
        assert_eq!(spec.into_value(), tree);
    }

    #[test]
    fn fields_are_found_without_a_tree_only_if_there_may_be_one() {
        let spec =
            stored(&json!({"security_policy_id": "security_policy of somebody", "inner": {"deep": 1}}));
        assert_eq!(spec.get("security_policy"), None);
        assert!(spec.value.get().is_none(), "nothing was taken apart");
        assert_eq!(spec.get("deep"), None, "only fields of the spec itself are found");
        assert_eq!(spec.get("inner"), Some(&json!({"deep": 1})));
        assert_eq!(stored(&json!("security_policy")).get("security_policy"), None);
        assert_eq!(stored(&Value::Null).get("security_policy"), None);
    }

    #[test]
    fn a_changed_spec_forgets_its_text() {
        let mut spec = stored(&json!({"a": 1}));
        spec["b"] = json!(2);
        assert_eq!(serde_json::to_string(&spec).unwrap(), r#"{"a":1,"b":2}"#);
        assert_eq!(spec.decode::<std::collections::BTreeMap<String, u32>>().unwrap().len(), 2);
    }
}
