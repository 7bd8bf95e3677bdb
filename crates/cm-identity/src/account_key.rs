//! Keys of applications: `XOLO_<id>_<secret>`.
//!
//! Such a key is an application's own, not a person's. It belongs to a tenant, and what it opens is said by its
//! [scopes](AccountScope), each of which stands for some of the permissions that a role could hold. Only a digest of
//! the secret is kept. It opens the Xolo dialect and nothing else.

use cm_crypto::{Secret, secret};
use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_policy::{ActionKind, Grant, Permission, Permit, RoleFacts};
use cm_types::{RequestId, ResourceId, ResourceKind, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::principal::check_text;
use crate::secret_digest::SecretDigest;
use crate::table::{AccountKeyRow, AccountKeys, AccountKeysOfTenant, Mark};
use crate::trail::Entry;
use crate::{CredentialProblem, Identity, IdentityError, InvalidInput};

/// Most keys of one tenant.
pub const KEYS_MAX: usize = 256;
/// Longest name of a key, in bytes.
pub const NAME_LEN_MAX: usize = 128;
const PREFIX: &str = "XOLO_";
const ID_BYTES: usize = 10;
/// Characters of a key's text that are shown in lists.
const SHOWN: usize = PREFIX.len() + 8;

/// What a key of an application opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountScope {
    /// Signing up, logging in and removing users.
    Users,
    /// Lists of grants.
    Acl,
    /// Roles.
    Rbac,
    /// Rules about attributes.
    Abac,
    /// Attribute graphs.
    Ngac,
    /// Policies of events.
    Policies,
    /// Scopes of users.
    Scopes,
    /// Licences of users.
    Licenses,
    /// Everything.
    All,
}

impl AccountScope {
    fn permissions(self) -> &'static [&'static str] {
        match self {
            AccountScope::Users => &[
                "principal:create",
                "principal:read",
                "principal:list",
                "principal:update",
                "principal:delete",
                "principal:grant",
            ],
            AccountScope::Rbac | AccountScope::Scopes | AccountScope::Licenses => {
                &["role:read", "role:list", "role:create", "role:update", "role:delete"]
            }
            AccountScope::Acl | AccountScope::Abac | AccountScope::Ngac | AccountScope::Policies => &[
                "security-policy:read",
                "security-policy:list",
                "security-policy:create",
                "security-policy:update",
                "security-policy:delete",
            ],
            AccountScope::All => &["principal:*", "role:*", "security-policy:*"],
        }
    }
}

/// A key without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKeyInfo {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// What it opens.
    pub scopes: Vec<AccountScope>,
    /// How its text begins.
    pub prefix: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
}

impl AccountKeyInfo {
    /// Whether it opens what belongs to the scope.
    pub fn opens(&self, scope: AccountScope) -> bool {
        self.scopes.iter().any(|held| *held == AccountScope::All || *held == scope)
    }

    /// The role that the key amounts to: what its scopes permit, and nothing else.
    pub fn role(&self) -> RoleFacts {
        let texts = self.scopes.iter().flat_map(|scope| scope.permissions());
        let permissions: Vec<Permission> = texts
            .map(|text| text.parse().expect("the permissions of scopes are constants of the language"))
            .collect();
        let id = ResourceId::parse(format!("key:{}", self.id)).expect("ids of keys are hexadecimal digits");
        RoleFacts { name: format!("key `{}`", self.name), id, permissions }
    }
}

fn info(id: String, row: AccountKeyRow) -> AccountKeyInfo {
    let AccountKeyRow { tenant, name, scopes, prefix, created_at, expires_at, .. } = row;
    AccountKeyInfo { id, tenant, name, scopes, prefix, created_at, expires_at }
}

impl Identity {
    /// Makes a key for an application of the permit's tenant. Its text is returned this once.
    ///
    /// The permit is for the collection of principals. Errors: `Invalid` for the name, `TooManyAccountKeys`, `WrongPermit`.
    pub fn create_account_key(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Grant>,
        (name, scopes, expires_at): (&str, Vec<AccountScope>, Option<Timestamp>),
        request: Option<&RequestId>,
    ) -> Result<(Secret<String>, AccountKeyInfo), IdentityError> {
        require(permit)?;
        let tenant = permit.tenant();
        let max = NAME_LEN_MAX;
        check_text(name, max, InvalidInput::Text { field: "name", max })?;
        if key_ids(tx, tenant)?.len() >= KEYS_MAX {
            return Err(IdentityError::TooManyAccountKeys { max: KEYS_MAX });
        }
        let id = hex::encode(secret::random_bytes::<ID_BYTES>());
        let (text, secret_sha256, prefix) = new_text(&id);
        let row = AccountKeyRow {
            tenant: tenant.clone(),
            name: name.to_owned(),
            scopes,
            secret_sha256,
            prefix,
            created_at: self.now(),
            expires_at,
        };
        tx.insert::<AccountKeys>(&id, &row)?;
        tx.insert::<AccountKeysOfTenant>(&(tenant.clone(), id.clone()), &Mark {})?;
        self.told(tx, "account-key.created", permit, &id, request)?;
        Ok((text, info(id, row)))
    }

    /// Gives a key another secret; the one before opens nothing any more.
    ///
    /// Errors: `NoSuchAccountKey`, `WrongPermit`.
    pub fn rotate_account_key(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Grant>,
        id: &str,
        request: Option<&RequestId>,
    ) -> Result<(Secret<String>, AccountKeyInfo), IdentityError> {
        require(permit)?;
        let mut row = own_row(tx, permit.tenant(), id)?;
        let (text, secret_sha256, prefix) = new_text(id);
        (row.secret_sha256, row.prefix) = (secret_sha256, prefix);
        tx.put::<AccountKeys>(&id.to_owned(), &row)?;
        self.told(tx, "account-key.rotated", permit, id, request)?;
        Ok((text, info(id.to_owned(), row)))
    }

    /// Revokes a key.
    ///
    /// Errors: `NoSuchAccountKey`, also if it is another tenant's; `WrongPermit`.
    pub fn revoke_account_key(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Grant>,
        id: &str,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        require(permit)?;
        own_row(tx, permit.tenant(), id)?;
        tx.delete::<AccountKeys>(&id.to_owned())?;
        tx.delete::<AccountKeysOfTenant>(&(permit.tenant().clone(), id.to_owned()))?;
        self.told(tx, "account-key.revoked", permit, id, request)
    }

    /// A tenant's keys, without their secrets.
    pub fn list_account_keys(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
    ) -> Result<Vec<AccountKeyInfo>, IdentityError> {
        let mut keys = Vec::new();
        for id in key_ids(tx, tenant)? {
            if let Some(row) = tx.get::<AccountKeys>(&id)? {
                keys.push(info(id, row));
            }
        }
        keys.sort_by_key(|key| key.created_at);
        Ok(keys)
    }

    /// Whose key this text is.
    ///
    /// Errors: `InvalidCredential`.
    pub fn account_key(&self, tx: &ReadTx<'_>, text: &str) -> Result<AccountKeyInfo, IdentityError> {
        let parts = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
        let (id, _) = parts.filter(|(id, _)| id.len() == 2 * ID_BYTES).ok_or(CredentialProblem::Malformed)?;
        let row = tx.get::<AccountKeys>(&id.to_owned())?;
        // An unknown id is compared as well.
        let stored = row.as_ref().map_or(SecretDigest::of_nothing(), |row| row.secret_sha256);
        let same = stored.matches(&SecretDigest::of(text.as_bytes()));
        let row = row.filter(|_| same).ok_or(CredentialProblem::UnknownKey)?;
        if row.expires_at.is_some_and(|end| end <= self.now()) {
            return Err(CredentialProblem::Expired.into());
        }
        crate::identity::require_open_doors(tx, &row.tenant)?;
        Ok(info(id.to_owned(), row))
    }

    fn told(
        &self,
        tx: &mut WriteTx<'_>,
        verb: &'static str,
        permit: &Permit<Grant>,
        id: &str,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let node = cm_types::PrincipalId::node();
        let actor = permit.principal().unwrap_or(&node);
        let entry = Entry::done(verb, permit.tenant(), Some(actor), actor, request);
        self.record(tx, entry.fact("account_key", id))
    }
}

fn new_text(id: &str) -> (Secret<String>, SecretDigest, String) {
    let text = Secret::new(format!("{PREFIX}{id}_{}", secret::random_token().expose()));
    let digest = SecretDigest::of(text.expose().as_bytes());
    let prefix = text.expose()[..SHOWN].to_owned();
    (text, digest, prefix)
}

fn require<A: ActionKind>(permit: &Permit<A>) -> Result<(), IdentityError> {
    match permit.covers_collection(permit.tenant(), ResourceKind::Principal) {
        true => Ok(()),
        false => Err(IdentityError::WrongPermit),
    }
}

fn own_row(tx: &ReadTx<'_>, tenant: &TenantId, id: &str) -> Result<AccountKeyRow, IdentityError> {
    let row = tx.get::<AccountKeys>(&id.to_owned())?.filter(|row| row.tenant == *tenant);
    row.ok_or(IdentityError::NoSuchAccountKey)
}

fn key_ids(tx: &ReadTx<'_>, tenant: &TenantId) -> Result<Vec<String>, IdentityError> {
    let prefix = KeyPrefix::new().part(tenant);
    let entries = tx.prefix::<AccountKeysOfTenant>(&prefix, None, KEYS_MAX)?;
    Ok(entries.into_iter().map(|((_, id), _)| id).collect())
}
