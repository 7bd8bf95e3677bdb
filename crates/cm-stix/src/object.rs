//! What every STIX object must be before it is kept: enough to be found again, not more. Whether it is good STIX is its author's affair.

use cm_types::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{StixError, moment};

/// An object that can be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StixObject {
    id: String,
    kind: String,
    spec_version: &'static str,
    version: Option<Timestamp>,
    value: Map<String, Value>,
}

impl StixObject {
    /// Looks at an object.
    ///
    /// # Errors
    /// [`StixError`] for the first thing that is wrong.
    pub fn check(value: Value) -> Result<StixObject, StixError> {
        let Value::Object(value) = value else { return Err(StixError::NoObject) };
        let text = |name: &'static str| match value.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(StixError::Missing(name)),
        };
        let kind = text("type")?.ok_or(StixError::Missing("type"))?;
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        // Two hyphens end the type in an id.
        if !(3..=250).contains(&kind.len()) || !kind.bytes().all(legal) || kind.contains("--") {
            return Err(StixError::Kind(kind.chars().take(64).collect()));
        }
        let id = text("id")?.ok_or(StixError::Missing("id"))?;
        if !is_id(id, kind) {
            return Err(StixError::Id(id.chars().take(300).collect()));
        }
        let created = text("created")?.map(moment::parse).transpose()?;
        let modified = text("modified")?.map(moment::parse).transpose()?;
        if created.zip(modified).is_some_and(|(created, modified)| modified < created) {
            return Err(StixError::Backwards);
        }
        let spec_version = match text("spec_version")? {
            Some("2.1") => "2.1",
            Some("2.0") => "2.0",
            Some(other) => return Err(StixError::SpecVersion(other.chars().take(16).collect())),
            // STIX 2.0 had no such property; its objects with ids say when they were made. Observables of 2.1 do not.
            None if created.is_some() => "2.0",
            None => "2.1",
        };
        let (id, kind, version) = (id.to_owned(), kind.to_owned(), modified.or(created));
        Ok(StixObject { id, kind, spec_version, version, value })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Of which version of STIX it is.
    pub fn spec_version(&self) -> &'static str {
        self.spec_version
    }

    /// Its version: when it was changed last or, if it cannot change, made (TAXII 2.1, section 3.4.1). `None` for observables, which have neither.
    pub fn version(&self) -> Option<Timestamp> {
        self.version
    }

    /// All of it.
    pub fn into_value(self) -> Value {
        Value::Object(self.value)
    }
}

/// Whether this is the id of an object of that type.
fn is_id(id: &str, kind: &str) -> bool {
    let uuid = id.strip_prefix(kind).and_then(|rest| rest.strip_prefix("--"));
    uuid.is_some_and(|uuid| uuid.len() == 36 && Uuid::try_parse(uuid).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UUID: &str = "8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f";

    fn check(given: Value, expected: Result<(&str, Option<&str>), StixError>) {
        let found = StixObject::check(given.clone());
        let found = found.map(|object| (object.spec_version(), object.version().map(moment::text)));
        assert_eq!(
            found,
            expected.map(|(spec, version)| (spec, version.map(str::to_owned))).map(|pair| (pair.0, pair.1)),
            "{given}"
        );
    }

    #[test]
    fn objects_have_a_type_an_id_and_a_version() {
        let id = format!("indicator--{UUID}");
        check(
            json!({"type": "indicator", "id": id, "spec_version": "2.1", "created": "2026-01-01T00:00:00Z", "modified": "2026-01-02T00:00:00Z"}),
            Ok(("2.1", Some("2026-01-02T00:00:00.000000Z"))),
        );
        check(
            json!({"type": "indicator", "id": id, "created": "2026-01-01T00:00:00Z"}),
            Ok(("2.0", Some("2026-01-01T00:00:00.000000Z"))),
        );
        check(
            json!({"type": "ipv4-addr", "id": format!("ipv4-addr--{UUID}"), "value": "198.51.100.1"}),
            Ok(("2.1", None)),
        );
    }

    #[test]
    fn what_cannot_be_found_again_is_refused() {
        let id = format!("indicator--{UUID}");
        check(json!([]), Err(StixError::NoObject));
        check(json!({"id": id}), Err(StixError::Missing("type")));
        check(json!({"type": 7, "id": id}), Err(StixError::Missing("type")));
        check(json!({"type": "indicator"}), Err(StixError::Missing("id")));
        for bad in ["In", "a--b", "a b c"] {
            check(json!({"type": bad, "id": id}), Err(StixError::Kind(bad.into())));
        }
        for bad in [
            "indicator",
            "malware--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
            "indicator--1",
            "indicator--8e2e2d2b17d44cbf938f98ee46b3cd3f",
            "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f'",
        ] {
            check(json!({"type": "indicator", "id": bad}), Err(StixError::Id(bad.into())));
        }
        check(
            json!({"type": "indicator", "id": id, "spec_version": "3.0"}),
            Err(StixError::SpecVersion("3.0".into())),
        );
        check(
            json!({"type": "indicator", "id": id, "modified": "now"}),
            Err(StixError::Moment("now".into())),
        );
        check(
            json!({"type": "indicator", "id": id, "created": "2026-01-02T00:00:00Z", "modified": "2026-01-01T00:00:00Z"}),
            Err(StixError::Backwards),
        );
    }
}
