//! The tables. Rows are stored promises: change them only as `cm_db::Row` describes.

use cm_crypto::password::PasswordHash;
use cm_db::{Row, Table};
use cm_types::{Generation, PrincipalId, ResourceId, Sha256Digest, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ApiKeyKind;

/// The names of all tables, for the schema.
pub const TABLES: &[&str] = &[
    Nodes::NAME,
    Tenants::NAME,
    Principals::NAME,
    ApiKeys::NAME,
    ApiKeysOfPrincipal::NAME,
    RevokedTokens::NAME,
    RevokedTokensByExpiry::NAME,
    LoginFailures::NAME,
];

macro_rules! tables {
    ($( $(#[doc = $doc:literal])+ $table:ident = $name:literal: $key:ty => $row:ty; )+) => {
        $(
            $(#[doc = $doc])+
            pub(crate) struct $table;

            impl Table for $table {
                const NAME: &'static str = $name;
                type Key = $key;
                type Row = $row;
            }
        )+
    };
}

tables! {
    /// One row, under [`THIS_NODE`]: which keys the data belongs to.
    Nodes = "identity_nodes": String => NodeRow;
    /// The tenants.
    Tenants = "identity_tenants": TenantId => TenantRow;
    /// The principals.
    Principals = "identity_principals": (TenantId, PrincipalId) => PrincipalRow;
    /// API keys under their ids.
    ApiKeys = "identity_api_keys": String => ApiKeyRow;
    /// The ids of a principal's API keys.
    ApiKeysOfPrincipal = "identity_api_keys_of_principal": (TenantId, PrincipalId, String) => Mark;
    /// Revoked tokens under their `jti`, until they expire.
    RevokedTokens = "identity_revoked_tokens": String => RevokedTokenRow;
    /// The same by expiry, to find those that can be forgotten.
    RevokedTokensByExpiry = "identity_revoked_tokens_by_expiry": (Timestamp, String) => Mark;
    /// Failed logins in a row of existing principals.
    LoginFailures = "identity_login_failures": (TenantId, PrincipalId) => crate::lockout::Failures;
}

/// The key of the one row of [`Nodes`].
pub(crate) const THIS_NODE: &str = "this";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeRow {
    pub(crate) signing_key_id: String,
    pub(crate) created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TenantRow {
    pub(crate) created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PrincipalRow {
    pub(crate) display_name: String,
    pub(crate) roles: Vec<ResourceId>,
    pub(crate) disabled: bool,
    pub(crate) generation: Generation,
    pub(crate) created_at: Timestamp,
    pub(crate) password: Option<PasswordHash>,
    /// Random, so that the tokens of a deleted principal do not fit a new one of the same name.
    pub(crate) credential_epoch: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ApiKeyRow {
    pub(crate) tenant: TenantId,
    pub(crate) principal: PrincipalId,
    pub(crate) label: String,
    /// Zero for a key that is never sent along: the digest of nothing that anybody has.
    pub(crate) secret_sha256: Sha256Digest,
    #[serde(default, skip_serializing_if = "is_bearer")]
    pub(crate) kind: ApiKeyKind,
    pub(crate) created_at: Timestamp,
}

fn is_bearer(kind: &ApiKeyKind) -> bool {
    *kind == ApiKeyKind::Bearer
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RevokedTokenRow {
    pub(crate) expires_at: Timestamp,
}

/// Says only that it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {}

impl Row for NodeRow {}
impl Row for TenantRow {}
impl Row for PrincipalRow {}
impl Row for ApiKeyRow {}
impl Row for RevokedTokenRow {}
impl Row for Mark {}
impl Row for crate::lockout::Failures {}

#[cfg(test)]
mod tests;
