//! What a request says about itself, for the conditions of policies.

use std::collections::BTreeMap;

/// Values by the names of condition keys, such as `aws:SourceIp` or `s3:prefix`. Names do not depend on case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances(BTreeMap<String, Vec<String>>);

impl Circumstances {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value. A key may have several.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    /// The values of a key; `None` if nothing is known of it.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }
}
