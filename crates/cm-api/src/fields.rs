//! What a body says of a record: its header, its spec, and what is neither.
//!
//! A record travels flat, header and spec side by side, as clients of the earlier implementation have it.

use cm_http::{Failure, FailureClass};
use cm_types::{Labels, ResourceId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::record::WireSpec;

/// The fields of a body, by name.
pub type Fields = Map<String, Value>;

/// What every record shows and nobody sets. Sent along it is ignored, so that what was read can be sent back.
const READ_ONLY: [&str; 7] =
    ["tenant", "owner", "generation", "created_at", "updated_at", "timestamp", "status"];

/// Longest word that clients may say of a status, in bytes.
const CLAIM_LEN_MAX: usize = 128;

const NO_SUCH_FIELD: &str = "there is no such field";

/// What is done with a field that nothing is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It is refused: it is probably misspelt.
    Refused,
    /// It is ignored, as clients of the earlier implementation expect.
    Ignored,
}

/// A body, taken apart.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The id that the record shall have.
    pub(crate) id: Option<ResourceId>,
    /// Its name.
    pub(crate) name: Option<String>,
    /// Its labels.
    pub(crate) labels: Option<Labels>,
    /// What only a node in open mode lets clients say.
    pub(crate) claims: Fields,
    /// Everything else that may be set.
    pub(crate) spec: Fields,
}

impl Sent {
    /// Takes a body apart.
    ///
    /// # Errors
    /// 422 that names the field of the header that has the wrong shape.
    pub(crate) fn of<S: WireSpec>(mut body: Fields) -> Result<Self, Failure> {
        let id = header::<ResourceId>(&mut body, S::CHOSEN_ID)?;
        let chosen = header::<ResourceId>(&mut body, "id")?;
        let name = header::<String>(&mut body, "name")?;
        let labels = header::<Labels>(&mut body, "labels")?;
        for field in READ_ONLY.iter().chain(S::READ_ONLY) {
            body.remove(*field);
        }
        let claims = S::CLAIMS.iter().filter_map(|name| Some(((*name).to_owned(), body.remove(*name)?)));
        let claims: Fields = claims.filter(|(_, value): &(String, Value)| !value.is_null()).collect();
        // Words of a life, as free as clients of the earlier implementation have them, but words.
        let is_word = |value: &Value| value.as_str().is_some_and(|word| word.len() <= CLAIM_LEN_MAX);
        if let Some((name, _)) = claims.iter().find(|(_, value)| !is_word(value)) {
            return Err(wrong(name, "expected a text of at most 128 bytes"));
        }
        Ok(Self { id: chosen.or(id), name, labels, claims, spec: body })
    }
}

/// A field of the header; absent when it is `null`.
fn header<T: DeserializeOwned>(body: &mut Fields, name: &str) -> Result<Option<T>, Failure> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            serde_json::from_value(value).map(Some).map_err(|error| wrong(name, &error.to_string()))
        }
    }
}

/// Decodes a spec, and what of it was sent: unknown fields are refused or left out.
///
/// `base` is the spec that the record has, whose fields stay unless they were sent.
///
/// # Errors
/// 422 that names the field.
pub(crate) fn decode_spec<S: WireSpec>(
    base: Option<&Value>,
    sent: Fields,
    unknown: Unknown,
) -> Result<(S, Fields), Failure> {
    let merged = match base {
        None => Value::Object(sent.clone()),
        Some(base) => cm_kernel::catalog::SpecChange::Merge(sent.clone()).apply(base),
    };
    // Merged, a `null` is no field any more, known or not.
    if let (Unknown::Refused, Some(known)) = (unknown, field_names::<S>()) {
        let misspelt = sent.iter().find(|(name, value)| value.is_null() && !known.contains(&name.as_str()));
        if let Some((name, _)) = misspelt {
            return Err(wrong(name, NO_SUCH_FIELD));
        }
    }
    let spec: S = decode_known(merged, unknown)?;
    let understood = serde_json::to_value(&spec).expect("specs are plain data with text keys");
    let known = match restricted(Value::Object(sent), &understood) {
        Value::Object(known) => known,
        _ => Fields::new(),
    };
    Ok((spec, known))
}

/// Decodes a value whose unknown fields are refused or left out.
///
/// # Errors
/// 422 that names the field.
pub(crate) fn decode_known<T: DeserializeOwned>(value: Value, unknown: Unknown) -> Result<T, Failure> {
    let mut ignored = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| ignored.push(path.to_string());
    let mut track = serde_path_to_error::Track::new();
    let tracking = serde_path_to_error::Deserializer::new(value, &mut track);
    let decoded = T::deserialize(serde_ignored::Deserializer::new(tracking, &mut note));
    let decoded = decoded.map_err(|error| wrong(&track.path().to_string(), &error.to_string()))?;
    match ignored.first() {
        Some(field) if unknown == Unknown::Refused => Err(wrong(field, NO_SUCH_FIELD)),
        _ => Ok(decoded),
    }
}

/// What was sent, without the fields that were not understood. `null`, which removes a field, stays.
fn restricted(sent: Value, understood: &Value) -> Value {
    match (sent, understood) {
        (Value::Object(sent), Value::Object(understood)) => Value::Object(
            sent.into_iter()
                .filter_map(|(name, value)| match understood.get(&name) {
                    _ if value.is_null() => Some((name, value)),
                    Some(inner) => Some((name, restricted(value, inner))),
                    None => None,
                })
                .collect(),
        ),
        (sent, _) => sent,
    }
}

/// The names of a struct's fields, as bodies have them; `None` for what is no struct.
fn field_names<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut names = None;
    // It tells its fields before it asks for any of them, which is all that is wanted.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

/// A source of nothing that notes which fields it is asked for.
struct FieldNames<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> serde::Deserializer<'de> for FieldNames<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("there is nothing"))
    }

    fn deserialize_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = Some(fields);
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// 422 about one field.
pub(crate) fn wrong(path: &str, reason: &str) -> Failure {
    Failure::new(FailureClass::Invalid, "the body has the wrong shape")
        .with_detail("path", path)
        .with_detail("reason", reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::roles::RoleSpec;

    fn check(sent: Value, unknown: Unknown, expected: Result<Value, &str>) {
        let base = json!({ "description": "old", "permissions": ["role:read"] });
        let fields = sent.as_object().unwrap().clone();
        let found = decode_spec::<RoleSpec>(Some(&base), fields, unknown).map(|(spec, _)| json!(spec));
        let found =
            found.map_err(|failure| failure.details()["path"].as_str().unwrap_or_default().to_owned());
        assert_eq!(found, expected.map_err(str::to_owned), "{sent}");
    }

    #[test]
    fn null_removes_a_field_that_is_known_and_misspelt_ones_are_refused() {
        let without = json!({ "permissions": ["role:read"] });
        check(json!({ "description": null }), Unknown::Refused, Ok(without.clone()));
        check(json!({ "descripton": null }), Unknown::Refused, Err("descripton"));
        check(json!({ "descripton": "x" }), Unknown::Refused, Err("descripton"));
        check(json!({ "description": null, "descripton": null }), Unknown::Ignored, Ok(without));
    }
}
