//! What the specs of several kinds have in common. Where a field has several forms, the catalogue chooses between them
//! and says what is wrong with the chosen one; here they are only described.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a component may use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Resources {
    /// CPU cores; digits in a text are understood too.
    #[schema(value_type = Cores)]
    pub cpu: Value,
    /// Memory, with its unit.
    #[schema(example = "2GB")]
    pub ram: String,
}

/// A number of CPU cores.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Cores {
    /// As a number.
    Number(u32),
    /// As its digits.
    Digits(String),
}

/// A security policy by its id, or one of the record's own.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SecurityPolicyChoice {
    /// The id of a security policy.
    Policy(String),
    /// A policy of the record's own.
    Own(OwnSecurityPolicy),
}

/// A security policy within the record that it guards.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OwnSecurityPolicy {
    /// What its author calls it. Nothing is looked up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sp_id: Option<String>,
    /// The ids of roles of which a user must hold one; any user will do without any.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Whether anonymous callers are refused.
    #[serde(default = "demanding")]
    pub requires_authentication: bool,
}

fn demanding() -> bool {
    true
}

/// A storage by its id, or places of the function's own.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum StorageChoice {
    /// The id of a storage.
    Storage(String),
    /// Places of the function's own.
    Own(Box<OwnStorage>),
}

/// A storage within the function that uses it. Its places are written as two paths, or as a source and a sink.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OwnStorage {
    /// What its author calls it. Nothing is looked up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_id: Option<String>,
    /// How much it may hold, with its unit.
    #[schema(example = "10GB")]
    pub capacity: String,
    /// Where inputs come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    /// Where outputs go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink_path: Option<String>,
    /// Where inputs come from, in more detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Place>,
    /// Where outputs go, in more detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Place>,
}

/// One place of data.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// A path within the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_id: Option<String>,
    /// An object within the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}
