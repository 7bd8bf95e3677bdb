//! API keys: `cmk_<id>_<secret>`, and the pairs of id and secret that requests of S3 are signed with.

use cm_crypto::{Secret, secret};
use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_types::{PrincipalId, RequestId, TenantId};

use super::principals::{is_administrator, require_another_administrator, require_right};
use super::{Identity, existing, require_not_vouched};
use crate::principal::check_text;
use crate::secret_digest::SecretDigest;
use crate::table::{ApiKeyRow, ApiKeys, ApiKeysOfPrincipal, Mark};
use crate::trail::Entry;
use crate::{ApiKeyInfo, ApiKeyKind, CredentialProblem, CredentialRight, IdentityError, InvalidInput};

/// Most API keys of one principal.
pub const API_KEYS_MAX: usize = 64;
/// Longest label of an API key, in bytes.
pub const LABEL_LEN_MAX: usize = 128;
/// What every API key begins with, for people and for tools that look for leaked secrets.
pub(super) const API_KEY_PREFIX: &str = "cmk_";
/// Random bytes in the id of a key.
const ID_BYTES: usize = 10;
/// What the id of every S3 key begins with. Ids of S3 have 20 characters, and no client checks which.
const S3_ID_PREFIX: &str = "CMS3";
/// Random bytes in the id of an S3 key.
const S3_ID_BYTES: usize = 8;

impl Identity {
    /// Creates an API key. Its text is returned this once; only a digest of the secret is kept.
    ///
    /// Errors: `NoSuchPrincipal`, `Invalid` for the label, `TooManyApiKeys`, `WrongPermit`; `Vouched` for whom a provider vouches for.
    pub fn create_api_key(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        principal: &PrincipalId,
        label: &str,
        request: Option<&RequestId>,
    ) -> Result<(Secret<String>, ApiKeyInfo), IdentityError> {
        require_right(right, principal)?;
        let max = LABEL_LEN_MAX;
        check_text(label, max, InvalidInput::Text { field: "label", max })?;
        existing(tx, right.tenant(), principal)?;
        require_not_vouched(tx, right.tenant(), principal)?;
        self.add_api_key(tx, (right.tenant(), principal), right.actor(), label, request)
    }

    /// Creates a key to sign requests of S3 with: its secret, and as its id the access key id. It counts as one of the
    /// principal's API keys, and is listed and revoked as they are, but nobody logs in with it.
    ///
    /// Errors: those of [`Identity::create_api_key`].
    pub fn create_s3_key(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        principal: &PrincipalId,
        label: &str,
        request: Option<&RequestId>,
    ) -> Result<(Secret<String>, ApiKeyInfo), IdentityError> {
        require_right(right, principal)?;
        let max = LABEL_LEN_MAX;
        check_text(label, max, InvalidInput::Text { field: "label", max })?;
        existing(tx, right.tenant(), principal)?;
        require_not_vouched(tx, right.tenant(), principal)?;
        let id = format!("{S3_ID_PREFIX}{}", hex::encode_upper(secret::random_bytes::<S3_ID_BYTES>()));
        let (secret, nobody) = (self.keys().s3_secret(&id), SecretDigest::of_nothing());
        let holder = (right.tenant(), principal);
        let info =
            self.insert_key(tx, holder, right.actor(), (id, ApiKeyKind::S3, nobody), label, request)?;
        Ok((secret, info))
    }

    /// The secret of an S3 key, to check a signature with.
    ///
    /// Errors: `InvalidCredential`.
    pub fn s3_secret(&self, tx: &ReadTx<'_>, id: &str) -> Result<Secret<String>, IdentityError> {
        s3_key(tx, id)?;
        Ok(self.s3_secret_of_known(id))
    }

    /// The same, of a key that is known to be there.
    pub fn s3_secret_of_known(&self, id: &str) -> Secret<String> {
        self.keys().s3_secret(id)
    }

    pub(super) fn add_api_key(
        &self,
        tx: &mut WriteTx<'_>,
        (tenant, principal): (&TenantId, &PrincipalId),
        actor: Option<&PrincipalId>,
        label: &str,
        request: Option<&RequestId>,
    ) -> Result<(Secret<String>, ApiKeyInfo), IdentityError> {
        let id = hex::encode(secret::random_bytes::<ID_BYTES>());
        let token = secret::random_token();
        let text = Secret::new(format!("{API_KEY_PREFIX}{id}_{}", token.expose()));
        let key = (id, ApiKeyKind::Bearer, SecretDigest::of(token.expose().as_bytes()));
        Ok((text, self.insert_key(tx, (tenant, principal), actor, key, label, request)?))
    }

    fn insert_key(
        &self,
        tx: &mut WriteTx<'_>,
        (tenant, principal): (&TenantId, &PrincipalId),
        actor: Option<&PrincipalId>,
        (id, kind, secret_sha256): (String, ApiKeyKind, SecretDigest),
        label: &str,
        request: Option<&RequestId>,
    ) -> Result<ApiKeyInfo, IdentityError> {
        if api_key_ids(tx, tenant, principal)?.len() >= API_KEYS_MAX {
            return Err(IdentityError::TooManyApiKeys { max: API_KEYS_MAX });
        }
        let row = ApiKeyRow {
            tenant: tenant.clone(),
            principal: principal.clone(),
            label: label.to_owned(),
            secret_sha256,
            kind,
            created_at: self.now(),
        };
        tx.insert::<ApiKeys>(&id, &row)?;
        tx.insert::<ApiKeysOfPrincipal>(&(tenant.clone(), principal.clone(), id.clone()), &Mark {})?;
        let entry = Entry::done("api-key.created", tenant, actor, principal, request);
        self.record(tx, entry.fact("api_key", id.as_str()).fact("label", label))?;
        Ok(info(id, row))
    }

    /// Revokes an API key, and with it all tokens that were made with it.
    ///
    /// Errors: `NoSuchApiKey`, also if it is another principal's; `LastAdministrator` if nobody else could come in
    /// as administrator afterwards; `WrongPermit`.
    pub fn revoke_api_key(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        principal: &PrincipalId,
        id: &str,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        require_right(right, principal)?;
        let tenant = right.tenant();
        let row = existing(tx, tenant, principal)?;
        let was_administrator = is_administrator(tx, tenant, principal, &row)?;
        let index_key = (tenant.clone(), principal.clone(), id.to_owned());
        if !tx.delete::<ApiKeysOfPrincipal>(&index_key)? {
            return Err(IdentityError::NoSuchApiKey);
        }
        tx.delete::<ApiKeys>(&index_key.2)?;
        if was_administrator && !is_administrator(tx, tenant, principal, &row)? {
            require_another_administrator(tx, tenant, principal)?;
        }
        let entry = Entry::done("api-key.revoked", tenant, right.actor(), principal, request);
        self.record(tx, entry.fact("api_key", id))
    }

    /// The principal's API keys, by id, without secrets; at most [`API_KEYS_MAX`].
    pub fn list_api_keys(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        principal: &PrincipalId,
    ) -> Result<Vec<ApiKeyInfo>, IdentityError> {
        existing(tx, tenant, principal)?;
        let mut keys = Vec::new();
        for id in api_key_ids(tx, tenant, principal)? {
            if let Some(row) = tx.get::<ApiKeys>(&id)? {
                keys.push(info(id, row));
            }
        }
        Ok(keys)
    }

    /// Makes room for one more key, by removing the oldest if there are as many as there may be.
    pub(super) fn make_room_for_key(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        principal: &PrincipalId,
    ) -> Result<(), IdentityError> {
        let keys = self.list_api_keys(tx, tenant, principal)?;
        let full = keys.len() >= API_KEYS_MAX;
        if let Some(oldest) = keys.into_iter().min_by_key(|key| key.created_at).filter(|_| full) {
            tx.delete::<ApiKeys>(&oldest.id)?;
            tx.delete::<ApiKeysOfPrincipal>(&(tenant.clone(), principal.clone(), oldest.id))?;
        }
        Ok(())
    }

    /// Removes all keys of a principal.
    pub(crate) fn delete_api_keys(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        principal: &PrincipalId,
    ) -> Result<(), IdentityError> {
        for id in api_key_ids(tx, tenant, principal)? {
            tx.delete::<ApiKeys>(&id)?;
            tx.delete::<ApiKeysOfPrincipal>(&(tenant.clone(), principal.clone(), id))?;
        }
        Ok(())
    }
}

fn info(id: String, row: ApiKeyRow) -> ApiKeyInfo {
    ApiKeyInfo { id, kind: row.kind, label: row.label, created_at: row.created_at }
}

/// Whether the principal has a key to come in by; one of S3 is none.
pub(super) fn has_api_key(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    principal: &PrincipalId,
) -> Result<bool, IdentityError> {
    for id in api_key_ids(tx, tenant, principal)? {
        if tx.get::<ApiKeys>(&id)?.is_some_and(|row| row.kind == ApiKeyKind::Bearer) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The row of an S3 key.
pub(super) fn s3_key(tx: &ReadTx<'_>, id: &str) -> Result<ApiKeyRow, IdentityError> {
    let key = tx.get::<ApiKeys>(&id.to_owned())?.filter(|key| key.kind == ApiKeyKind::S3);
    key.ok_or(CredentialProblem::UnknownKey.into())
}

fn api_key_ids(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    principal: &PrincipalId,
) -> Result<Vec<String>, IdentityError> {
    let prefix = KeyPrefix::new().part(tenant).part(principal);
    let entries = tx.prefix::<ApiKeysOfPrincipal>(&prefix, None, API_KEYS_MAX)?;
    Ok(entries.into_iter().map(|((_, _, id), _)| id).collect())
}

/// The id and the secret of an API key's text; `None` if it is not one in form.
pub(super) fn parse_api_key(bearer: &str) -> Option<(&str, &str)> {
    let (id, secret) = bearer.strip_prefix(API_KEY_PREFIX)?.split_once('_')?;
    let id_ok = id.len() == 2 * ID_BYTES && id.bytes().all(|b| b.is_ascii_hexdigit());
    (id_ok && !secret.is_empty()).then_some((id, secret))
}

#[cfg(test)]
mod tests {
    use super::parse_api_key;

    #[test]
    fn only_the_form_is_taken_apart() {
        let id = "0123456789abcdef0123";
        assert_eq!(parse_api_key(&format!("cmk_{id}_a_b-c")), Some((id, "a_b-c")));
        for bad in [
            "",
            "cmk_",
            "cmk__x",
            "cmk_0123_x",
            &format!("cmk_{id}"),
            &format!("cmk_{id}_"),
            &format!("xmk_{id}_x"),
        ] {
            assert_eq!(parse_api_key(bad), None, "{bad}");
        }
    }
}
