//! Collects everything that is wrong, so that a caller can repair it in one go.

use std::collections::BTreeMap;

use crate::record::NAME_LEN_MAX;
use crate::{CatalogError, Fault, FieldError};

/// Longest description, in bytes.
const DESCRIPTION_LEN_MAX: usize = 4096;
/// Longest path or image name, in bytes: the limit of most file systems' paths.
const PATH_LEN_MAX: usize = 4096;
/// Most entries of one state's or result's metadata.
const METADATA_ENTRIES_MAX: usize = 256;
/// Longest value in metadata, in bytes; what is larger is an object.
const METADATA_VALUE_LEN_MAX: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Findings(Vec<FieldError>);

impl Findings {
    pub(crate) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError::form(path, message));
    }

    /// Something of the right form, but beyond what this node allows.
    pub(crate) fn beyond_limit(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { path: path.into(), message: message.into(), fault: Fault::Limit });
    }

    pub(crate) fn finish(self) -> Result<(), Vec<FieldError>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }

    pub(crate) fn name(&mut self, path: &str, name: &str) {
        self.text(path, name, 1, NAME_LEN_MAX, false);
    }

    pub(crate) fn description(&mut self, description: Option<&str>) {
        if let Some(text) = description {
            self.text("spec.description", text, 0, DESCRIPTION_LEN_MAX, true);
        }
    }

    pub(crate) fn policy_id(&mut self, policy: Option<&str>) {
        if let Some(text) = policy {
            self.text("spec.policy_id", text, 0, NAME_LEN_MAX, false);
        }
    }

    /// A path inside a workload, or the name of an image.
    pub(crate) fn path(&mut self, path: &str, text: &str) {
        self.text(path, text, 1, PATH_LEN_MAX, false);
    }

    pub(crate) fn metadata(&mut self, metadata: &BTreeMap<String, String>) {
        if metadata.len() > METADATA_ENTRIES_MAX {
            self.add("spec.metadata", format!("has more than {METADATA_ENTRIES_MAX} entries"));
            return;
        }
        for (key, value) in metadata {
            let path = format!("spec.metadata.{key}");
            self.text(&path, key, 1, NAME_LEN_MAX, false);
            if value.len() > METADATA_VALUE_LEN_MAX {
                self.add(path, format!("is longer than {METADATA_VALUE_LEN_MAX} bytes"));
            }
        }
    }

    pub(crate) fn text(&mut self, path: &str, text: &str, min: usize, max: usize, lines: bool) {
        if text.len() < min {
            self.add(path, "must not be empty");
        }
        if text.len() > max {
            self.add(path, format!("is longer than {max} bytes"));
        }
        if text.chars().any(|c| c.is_control() && !(lines && matches!(c, '\n' | '\t' | '\r'))) {
            self.add(path, "contains a control character");
        }
    }

    pub(crate) fn count(&mut self, path: &str, count: usize, max: usize) {
        if count > max {
            self.add(path, format!("has more than {max} entries"));
        }
    }
}

impl From<Vec<FieldError>> for CatalogError {
    fn from(errors: Vec<FieldError>) -> Self {
        CatalogError::Invalid(errors)
    }
}
