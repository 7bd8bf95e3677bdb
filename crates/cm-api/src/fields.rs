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
        Some(field) if unknown == Unknown::Refused => Err(wrong(field, "there is no such field")),
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

/// 422 about one field.
pub(crate) fn wrong(path: &str, reason: &str) -> Failure {
    Failure::new(FailureClass::Invalid, "the body has the wrong shape")
        .with_detail("path", path)
        .with_detail("reason", reason)
}
