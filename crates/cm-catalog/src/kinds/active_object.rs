//! Active objects.

use cm_axo::{Schema, SourceError};
use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};

use super::refer_optionally;
use crate::record::NAME_LEN_MAX;
use crate::sources::Sources;
use crate::validation::Findings;
use crate::{Fault, FieldError, KindSpec, Limits, OnDelete, Reference};

/// Most modules that an active object may depend on.
const DEPENDENCIES_MAX: usize = 256;
/// Most methods of an active object. Each is a record of its own, written in the transaction that writes the object.
pub const METHODS_MAX: usize = 256;

/// Python code with state. Field names are those of the clients that use it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveObject {
    /// The Python module.
    pub axo_module: String,
    /// The class in the module: the first one that the code declares, whatever was given.
    pub axo_class_name: String,
    /// The microservice that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_microservice_id: Option<ResourceId>,
    /// The endpoint that it lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_endpoint_id: Option<ResourceId>,
    /// Its version.
    #[serde(default)]
    pub axo_version: u32,
    /// Whether its state never changes.
    #[serde(default)]
    pub axo_is_read_only: bool,
    /// What people call it; also the name of a record that is created without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_alias: Option<String>,
    /// What its state is stored under; the first alias unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_key: Option<String>,
    /// The bucket of its state. This and the next two are names and no references: they may be another store's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_bucket_id: Option<String>,
    /// The bucket that its inputs come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_source_bucket_id: Option<String>,
    /// The bucket that its outputs go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_sink_bucket_id: Option<String>,
    /// The modules that it depends on.
    #[serde(default)]
    pub axo_dependencies: Vec<String>,
    /// Where it can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_uri: Option<String>,
    /// Where its state lies within the workload.
    #[serde(default = "data_path")]
    pub path: String,
    /// Where its inputs lie within the workload.
    #[serde(default = "source_path")]
    pub source_path: String,
    /// Where its outputs lie within the workload.
    #[serde(default = "sink_path")]
    pub sink_path: String,
    /// The source code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_code: Option<String>,
    /// What the code declares. It is derived whenever the spec is written; what is given here is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axo_schema: Option<Schema>,
}

fn data_path() -> String {
    "/axo/data".to_owned()
}

fn source_path() -> String {
    "/axo/source".to_owned()
}

fn sink_path() -> String {
    "/axo/sink".to_owned()
}

impl ActiveObject {
    fn names(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let optional = [
            ("spec.axo_key", &self.axo_key),
            ("spec.axo_bucket_id", &self.axo_bucket_id),
            ("spec.axo_source_bucket_id", &self.axo_source_bucket_id),
            ("spec.axo_sink_bucket_id", &self.axo_sink_bucket_id),
        ];
        [("spec.axo_module", &self.axo_module), ("spec.axo_class_name", &self.axo_class_name)]
            .into_iter()
            .chain(optional.into_iter().filter_map(|(path, name)| Some((path, name.as_ref()?))))
    }
}

/// Longest source code, in bytes. Some 25 milliseconds are enough to parse as much as this.
const CODE_BYTES_MAX: usize = 128 * 1024;

impl KindSpec for ActiveObject {
    const KIND: ResourceKind = ResourceKind::ActiveObject;

    fn validate(&self, limits: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        for (path, name) in self.names() {
            findings.name(path, name);
        }
        if let Some(alias) = &self.axo_alias {
            findings.name("spec.axo_alias", alias);
            let max = limits.name_chars_max;
            if alias.chars().count() > max {
                findings.beyond_limit("spec.axo_alias", format!("is longer than {max} characters"));
            }
        }
        if let Some(uri) = &self.axo_uri {
            findings.path("spec.axo_uri", uri);
        }
        for (path, text) in [
            ("spec.path", &self.path),
            ("spec.source_path", &self.source_path),
            ("spec.sink_path", &self.sink_path),
        ] {
            findings.path(path, text);
        }
        findings.count("spec.axo_dependencies", self.axo_dependencies.len(), DEPENDENCIES_MAX);
        for (at, dependency) in self.axo_dependencies.iter().enumerate() {
            findings.name(&format!("spec.axo_dependencies[{at}]"), dependency);
        }
        findings.finish()
    }

    fn complete(&mut self, sources: &Sources) -> Result<(), Vec<FieldError>> {
        if self.axo_code.as_ref().is_some_and(|code| code.len() > CODE_BYTES_MAX) {
            let mut findings = Findings::default();
            findings.beyond_limit("spec.axo_code", format!("is longer than {CODE_BYTES_MAX} bytes"));
            return findings.finish();
        }
        let schema = match &self.axo_code {
            Some(code) => sources.schema(code).map_err(|error| vec![refused(&error)])?,
            None => Schema { class_name: self.axo_class_name.clone(), init: Vec::new(), methods: Vec::new() },
        };
        check_methods(&schema)?;
        self.axo_class_name.clone_from(&schema.class_name);
        self.axo_schema = Some(schema);
        if self.axo_key.is_none() {
            self.axo_key.clone_from(&self.axo_alias);
        }
        Ok(())
    }

    fn references(&self) -> Vec<Reference> {
        let (home, endpoint) = (self.axo_microservice_id.as_ref(), self.axo_endpoint_id.as_ref());
        [
            refer_optionally("axo_microservice_id", ResourceKind::Microservice, home, OnDelete::Part),
            refer_optionally("axo_endpoint_id", ResourceKind::Endpoint, endpoint, OnDelete::Restrict),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn default_name(&self) -> Option<&str> {
        self.axo_alias.as_deref()
    }

    fn methods(&self) -> Vec<String> {
        let methods = self.axo_schema.iter().flat_map(|schema| &schema.methods);
        methods.map(|method| method.name.clone()).collect()
    }
}

/// What is wrong with the code; the message begins with line and column.
fn refused(error: &SourceError) -> FieldError {
    let fault = match error {
        SourceError::TooLong { .. } | SourceError::TooDeep { .. } => Fault::Limit,
        SourceError::Syntax { .. } => Fault::Form,
    };
    FieldError { path: "spec.axo_code".to_owned(), message: error.to_string(), fault }
}

/// Names of methods become names of records. They are the author's and no person's choice for a table, hence only as
/// short as every name.
fn check_methods(schema: &Schema) -> Result<(), Vec<FieldError>> {
    let mut findings = Findings::default();
    let count = schema.methods.len();
    if count > METHODS_MAX {
        findings.beyond_limit("spec.axo_code", format!("declares {count} methods, more than {METHODS_MAX}"));
    }
    if schema.methods.iter().any(|method| method.name.len() > NAME_LEN_MAX) {
        let message = format!("declares a method whose name is longer than {NAME_LEN_MAX} bytes");
        findings.beyond_limit("spec.axo_code", message);
    }
    if schema.class_name.len() > NAME_LEN_MAX {
        let message = format!("declares a class whose name is longer than {NAME_LEN_MAX} bytes");
        findings.beyond_limit("spec.axo_code", message);
    }
    findings.finish()
}
