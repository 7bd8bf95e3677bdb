//! The fields of a form, by names that do not depend on case.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// What is said in a form before its file.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<String, String>);

/// Fields that are headers of the same name.
const HEADERS: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

impl Fields {
    /// Keeps a field.
    pub fn insert(&mut self, name: &str, value: String) {
        self.0.insert(name.to_ascii_lowercase(), value);
    }

    /// A field, by its name in lower case.
    pub fn get(&self, name: &str) -> Option<&String> {
        self.0.get(name)
    }

    /// The names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A field that no object from a form can be given.
    pub fn untaken(&self) -> Option<&str> {
        self.names().find(|name| !is_taken(name))
    }

    /// What the form says of the object, as the headers that would say it. `None` if a value cannot be a header.
    pub fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            let header = match name.as_str() {
                "acl" => "x-amz-acl",
                name if HEADERS.contains(&name) || is_of_object(name) => name,
                _ => continue,
            };
            let header = HeaderName::from_bytes(header.as_bytes()).ok()?;
            headers.insert(header, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
        Some(headers)
    }
}

const PROOF: [&str; 5] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token"];

fn is_of_object(name: &str) -> bool {
    name.starts_with("x-amz-") && !PROOF.contains(&name)
}

/// Whether the field says something that objects from forms can be given: what is dropped would be taken for done. Tags are
/// the field `tagging`.
fn is_taken(name: &str) -> bool {
    const TAKEN: [&str; 8] = [
        "x-amz-acl",
        "x-amz-content-sha256",
        "x-amz-expected-bucket-owner",
        "x-amz-object-lock-mode",
        "x-amz-object-lock-retain-until-date",
        "x-amz-object-lock-legal-hold",
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
    ];
    const BEGINNINGS: [&str; 5] = [
        "x-amz-meta-",
        "x-amz-grant-",
        "x-amz-checksum-",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-server-side-encryption",
    ];
    !is_of_object(name)
        || TAKEN.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_objects_are_headers() {
        let mut fields = Fields::default();
        for (name, value) in [
            ("AcL", "private"),
            ("Content-Type", "text/plain"),
            ("x-amz-meta-Foo", "bar"),
            ("x-amz-date", "20300101T000000Z"),
            ("policy", "e30="),
            ("key", "k"),
        ] {
            fields.insert(name, value.to_owned());
        }
        let headers = fields.headers().unwrap();
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["x-amz-acl"], "private");
        assert_eq!(headers["x-amz-meta-foo"], "bar");
        assert_eq!(fields.untaken(), None);
        fields.insert("X-Amz-Object-Lock-Mode", "GOVERNANCE".to_owned());
        assert_eq!(fields.untaken(), None);
        let mut other = fields.clone();
        for name in ["x-amz-tagging", "x-amz-copy-source", "x-amz-write-offset-bytes"] {
            other.insert(name, String::new());
            assert!(other.untaken().is_some(), "{name}");
            other = fields.clone();
        }
        fields.insert("x-amz-meta-bad", "a\nb".to_owned());
        assert!(fields.headers().is_none());
    }
}
