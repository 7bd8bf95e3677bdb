//! The tables. Rows are stored promises: change them only as `cm_db::Row` describes.

use std::collections::BTreeMap;

use cm_crypto::password::PasswordHash;
use cm_db::{Row, Table};
use cm_types::{Generation, PrincipalId, ResourceId, TenantId, Timestamp, TrustDomain};
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{Passkey, Uuid};

use crate::secret_digest::SecretDigest;
use crate::{ApiKeyKind, Provider, TrustedDomain};

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
    SigningKeys::NAME,
    Sessions::NAME,
    SessionsByExpiry::NAME,
    SessionsOfPrincipal::NAME,
    Profiles::NAME,
    AccountKeys::NAME,
    AccountKeysOfTenant::NAME,
    Providers::NAME,
    Externals::NAME,
    SecondFactors::NAME,
    Workloads::NAME,
    TrustDomains::NAME,
    Passkeys::NAME,
    PasskeyOwners::NAME,
    SpentChallenges::NAME,
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
    /// What is remembered about the logins of existing principals.
    LoginFailures = "identity_login_failures": (TenantId, PrincipalId) => crate::lockout::Attempts;
    /// Signing keys under their purpose and id.
    SigningKeys = "identity_signing_keys": (String, String) => SigningKeyRow;
    /// Sessions under their ids.
    Sessions = "identity_sessions": String => SessionRow;
    /// The same by their ends, to find those that can be forgotten.
    SessionsByExpiry = "identity_sessions_by_expiry": (Timestamp, String) => Mark;
    /// A principal's sessions by what they are for: kind and label, then id.
    SessionsOfPrincipal = "identity_sessions_of_principal": (TenantId, PrincipalId, String, String) => Mark;
    /// What a principal says of itself.
    Profiles = "identity_profiles": (TenantId, PrincipalId) => crate::profile::Profile;
    /// Keys of applications under their ids.
    AccountKeys = "identity_account_keys": String => AccountKeyRow;
    /// The ids of a tenant's keys of applications.
    AccountKeysOfTenant = "identity_account_keys_of_tenant": (TenantId, String) => Mark;
    /// Identity providers that tenants trust, by what those call them.
    Providers = "identity_providers": (TenantId, ResourceId) => ProviderRow;
    /// Principals whom a provider vouches for.
    Externals = "identity_externals": (TenantId, PrincipalId) => ExternalRow;
    /// Second factors of passwords.
    SecondFactors = "identity_second_factors": (TenantId, PrincipalId) => SecondFactorRow;
    /// Principals that are workloads.
    Workloads = "identity_workloads": (TenantId, PrincipalId) => WorkloadRow;
    /// Trust domains of others, by their names.
    TrustDomains = "identity_trust_domains": String => TrustDomainRow;
    /// A principal's passkeys under their ids.
    Passkeys = "identity_passkeys": (TenantId, PrincipalId, String) => PasskeyRow;
    /// Whose a passkey is.
    PasskeyOwners = "identity_passkey_owners": String => PasskeyOwnerRow;
    /// Challenges of passkeys that were used: until when that is remembered, and their ids.
    SpentChallenges = "identity_spent_challenges": (Timestamp, String) => Mark;
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
    /// What people call it; its id, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Whether anybody may sign up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) open: bool,
    /// Whether it is being removed: nobody gets in any more, and what is left of it goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) leaving: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SigningKeyRow {
    pub(crate) created_at: Timestamp,
    pub(crate) retired_at: Option<Timestamp>,
    pub(crate) ends_at: Option<Timestamp>,
    /// Of an authority: its certificate in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// The private key, sealed, in base64.
    pub(crate) sealed: String,
    /// The name of the master key.
    pub(crate) master: String,
}

impl SigningKeyRow {
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) tenant: TenantId,
    pub(crate) principal: PrincipalId,
    pub(crate) kind: crate::session::SessionKind,
    /// What it is for: a scope of the dialect; empty for the native API.
    pub(crate) label: String,
    /// The principal's credential epoch.
    pub(crate) epoch: String,
    pub(crate) created_at: Timestamp,
    /// When the session ends, refreshed or not.
    pub(crate) ends_at: Timestamp,
    /// How often it was refreshed.
    pub(crate) turn: u64,
    /// The one token that is live.
    pub(crate) jti: String,
    pub(crate) issued_at: Timestamp,
    pub(crate) token_ends_at: Timestamp,
    /// The key that signed it.
    pub(crate) key_id: String,
    /// The API key by which somebody authenticated; the session ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
    /// The passkey by which somebody authenticated; the session ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) passkey: Option<String>,
    /// Whether a second factor was shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) second_factor: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AccountKeyRow {
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    pub(crate) scopes: Vec<crate::account_key::AccountScope>,
    pub(crate) secret_sha256: SecretDigest,
    /// How its text begins.
    pub(crate) prefix: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
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
    pub(crate) secret_sha256: SecretDigest,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProviderRow {
    pub(crate) id: ResourceId,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) algorithms: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys_url: Option<String>,
    pub(crate) claim: String,
    pub(crate) roles: BTreeMap<String, Vec<ResourceId>>,
    /// Random, so that tokens made by an earlier trust do not fit a later one. Empty in rows of before there was one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) epoch: String,
}

impl ProviderRow {
    pub(crate) fn of(provider: Provider, epoch: String) -> Self {
        let Provider { id, issuer, audience, algorithms, keys_url, claim, roles } = provider;
        Self { id, issuer, audience, algorithms, keys_url, claim, roles, epoch }
    }

    pub(crate) fn provider(self) -> Provider {
        let Self { id, issuer, audience, algorithms, keys_url, claim, roles, epoch: _ } = self;
        Provider { id, issuer, audience, algorithms, keys_url, claim, roles }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExternalRow {
    /// The provider that vouched last.
    pub(crate) provider: ResourceId,
    pub(crate) subject: String,
    /// The roles that it gave last, besides those that people gave.
    pub(crate) roles: Vec<ResourceId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SecondFactorRow {
    /// The secret of the device, sealed, in base64.
    pub(crate) sealed: String,
    /// The name of the master key.
    pub(crate) master: String,
    pub(crate) confirmed: bool,
    pub(crate) created_at: Timestamp,
    /// The step of the last code that was taken.
    pub(crate) last_step: u64,
    /// Digests of the recovery codes that are left.
    pub(crate) recovery: Vec<SecretDigest>,
    /// Wrong codes in a row by which the factor was to be taken away.
    pub(crate) wrong: u32,
    pub(crate) wait_until: Option<Timestamp>,
    /// Wrong codes in a row of logins with the right password, from wherever.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) login_wrong: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login_wait_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkloadRow {
    /// The longest that its documents live, in seconds.
    pub(crate) ttl_max_secs: u64,
    pub(crate) created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrustDomainRow {
    /// The document.
    pub(crate) bundle: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// Certificates in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_certificates: Option<String>,
    pub(crate) refreshed_at: Timestamp,
}

impl TrustDomainRow {
    pub(crate) fn of(trusted: &TrustedDomain, refreshed_at: Timestamp) -> Self {
        let TrustedDomain { bundle, endpoint, endpoint_certificates, .. } = trusted.clone();
        Self { bundle, endpoint, endpoint_certificates, refreshed_at }
    }

    pub(crate) fn domain(self, domain: TrustDomain) -> TrustedDomain {
        let Self { bundle, endpoint, endpoint_certificates, refreshed_at } = self;
        TrustedDomain { domain, bundle, endpoint, endpoint_certificates, refreshed_at }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PasskeyRow {
    pub(crate) label: String,
    pub(crate) created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<Timestamp>,
    /// Whether the password was changed since by itself, without a factor: it logs in no more, and guards the account all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) closed: bool,
    /// What its device knows the account by.
    pub(crate) handle: Uuid,
    /// The public key, its id and its counter, as the library writes them.
    pub(crate) passkey: Passkey,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PasskeyOwnerRow {
    pub(crate) tenant: TenantId,
    pub(crate) principal: PrincipalId,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
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
impl Row for SigningKeyRow {}
impl Row for SessionRow {}
impl Row for AccountKeyRow {}
impl Row for ProviderRow {}
impl Row for ExternalRow {}
impl Row for SecondFactorRow {}
impl Row for WorkloadRow {}
impl Row for TrustDomainRow {}
impl Row for PasskeyRow {}
impl Row for PasskeyOwnerRow {}

#[cfg(test)]
mod tests;
