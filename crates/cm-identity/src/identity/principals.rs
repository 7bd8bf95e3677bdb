//! Principals: creating, reading, changing, deleting, and their passwords.

use cm_crypto::Secret;
use cm_crypto::password::PasswordHash;
use cm_db::{DbError, KeyPrefix, ReadTx, WriteTx};
use cm_policy::{ADMIN_ROLE, ActionKind, Create, Delete, Grant, Permit, Update};
use cm_types::{
    Cursor, Generation, Page, PageLimit, PrincipalId, RequestId, ResourceId, ResourceKind, TenantId,
};

use super::api_keys::has_api_key;
use super::bootstrap::new_epoch;
use super::{Identity, existing, key_of, require_not_vouched, require_tenant};
use crate::principal::{check_display_name, check_roles};
use crate::provider::EXTERNAL_PREFIX;
use crate::table::{Externals, LoginFailures, PrincipalRow, Principals, Profiles, SecondFactors, Workloads};
use crate::trail::Entry;
use crate::{CredentialRight, IdentityError, InvalidInput, NewPrincipal, Principal, PrincipalChange};

/// Fewest bytes of a password (NIST SP 800-63B section 5.1.1.2).
pub const PASSWORD_LEN_MIN: usize = 8;
/// Shortest password of somebody who signs up through an application, in bytes: they have no roles here, and the users that such applications have
/// already must not be turned away.
pub const SIGN_UP_PASSWORD_LEN_MIN: usize = 6;
/// Most bytes of a password: room for any passphrase, bounded work for the hash.
pub const PASSWORD_LEN_MAX: usize = 1024;
/// Principals that one step of a scan holds in memory.
const SCAN_STEP: usize = 1000;

impl Identity {
    /// Creates a principal in the permit's tenant. It has no credentials yet.
    ///
    /// Giving it roles takes `grant`, for the collection of principals or for this one; that the roles
    /// exist, and that the giver holds what they permit, is for the caller to check.
    ///
    /// Errors: `Exists`, `NoSuchTenant`, `Invalid`, `RolesNeedGrant`, `WrongPermit`.
    pub fn create_principal(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Create>,
        grant: Option<&Permit<Grant>>,
        new: NewPrincipal,
        request: Option<&RequestId>,
    ) -> Result<Principal, IdentityError> {
        let tenant = permit.tenant();
        require_cover(permit, tenant, &new.id)?;
        require_tenant(tx, tenant)?;
        if new.id == PrincipalId::node() || new.id.as_str().starts_with(EXTERNAL_PREFIX) {
            return Err(InvalidInput::ReservedId.into());
        }
        let display_name = new.display_name.unwrap_or_else(|| new.id.to_string());
        check_display_name(&display_name)?;
        check_roles(&new.roles)?;
        if !new.roles.is_empty() {
            require_grant(grant, tenant, &new.id)?;
        }
        let row = PrincipalRow {
            display_name,
            roles: new.roles,
            disabled: false,
            generation: Generation::FIRST,
            created_at: self.now(),
            password: None,
            credential_epoch: new_epoch(),
        };
        tx.insert::<Principals>(&key_of(tenant, &new.id), &row).map_err(|error| match error {
            DbError::Exists { .. } => IdentityError::Exists,
            other => IdentityError::Db(other),
        })?;
        let entry = Entry::done("principal.created", tenant, permit.principal(), &new.id, request);
        self.record(tx, entry.fact("roles", texts(&row.roles)))?;
        Ok(Principal::from_row(tenant, &new.id, &row))
    }

    /// The principal, if there is one.
    pub fn get_principal(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<Option<Principal>, IdentityError> {
        let row = tx.get::<Principals>(&key_of(tenant, id))?;
        Ok(row.map(|row| Principal::from_row(tenant, id, &row)))
    }

    /// The tenant's principals in the order of their ids.
    ///
    /// Errors: `Invalid` for a cursor that no page returned.
    pub fn list_principals(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        after: Option<&Cursor>,
        limit: PageLimit,
    ) -> Result<Page<Principal>, IdentityError> {
        let after = after
            .map(|cursor| PrincipalId::parse(cursor.0.as_str()).map_err(|_| InvalidInput::Cursor))
            .transpose()?
            .map(|id| key_of(tenant, &id));
        let prefix = KeyPrefix::new().part(tenant);
        let mut rows = tx.prefix::<Principals>(&prefix, after.as_ref(), limit.get() + 1)?;
        let more = rows.len() > limit.get();
        rows.truncate(limit.get());
        let items: Vec<Principal> =
            rows.iter().map(|((tenant, id), row)| Principal::from_row(tenant, id, row)).collect();
        let next = items.last().filter(|_| more).map(|last| Cursor(last.id.to_string()));
        Ok(Page { items, next })
    }

    /// Changes a principal. Disabling it ends all its tokens.
    ///
    /// Changing roles takes `grant`. Errors: `NoSuchPrincipal`, `Stale`, `Invalid`, `RolesNeedGrant`,
    /// `LastAdministrator`, `WrongPermit`.
    pub fn update_principal(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        grant: Option<&Permit<Grant>>,
        id: &PrincipalId,
        change: PrincipalChange,
        request: Option<&RequestId>,
    ) -> Result<Principal, IdentityError> {
        let tenant = permit.tenant();
        require_one(permit, tenant, id)?;
        let before = existing(tx, tenant, id)?;
        require_generation(&before, change.expected)?;
        let mut row = before.clone();
        let mut entry = Entry::done("principal.updated", tenant, permit.principal(), id, request);
        if let Some(display_name) = change.display_name {
            check_display_name(&display_name)?;
            row.display_name = display_name;
        }
        if let Some(roles) = change.roles {
            check_roles(&roles)?;
            require_grant(grant, tenant, id)?;
            entry = entry.fact("roles", texts(&roles));
            row.roles = roles;
        }
        if let Some(disabled) = change.disabled {
            entry = entry.fact("disabled", disabled);
            if disabled && !row.disabled {
                row.credential_epoch = new_epoch();
            }
            row.disabled = disabled;
        }
        if is_administrator(tx, tenant, id, &before)? && !is_administrator(tx, tenant, id, &row)? {
            require_another_administrator(tx, tenant, id)?;
        }
        row.generation = row.generation.next();
        tx.put::<Principals>(&key_of(tenant, id), &row)?;
        self.record(tx, entry)?;
        Ok(Principal::from_row(tenant, id, &row))
    }

    /// Deletes a principal with all its credentials.
    ///
    /// Errors: `NoSuchPrincipal`, `Stale`, `LastAdministrator`, `WrongPermit`.
    pub fn delete_principal(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Delete>,
        id: &PrincipalId,
        expected: Option<Generation>,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let tenant = permit.tenant();
        require_one(permit, tenant, id)?;
        let row = existing(tx, tenant, id)?;
        require_generation(&row, expected)?;
        if is_administrator(tx, tenant, id, &row)? {
            require_another_administrator(tx, tenant, id)?;
        }
        self.forget_principal(tx, tenant, id)?;
        self.record(tx, Entry::done("principal.deleted", tenant, permit.principal(), id, request))
    }

    /// Removes the rows of a principal and of all its credentials.
    pub(super) fn forget_principal(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<(), IdentityError> {
        self.delete_api_keys(tx, tenant, id)?;
        self.delete_sessions(tx, tenant, id)?;
        tx.delete::<Externals>(&key_of(tenant, id))?;
        self.forget_passkeys(tx, tenant, id)?;
        tx.delete::<SecondFactors>(&key_of(tenant, id))?;
        tx.delete::<Workloads>(&key_of(tenant, id))?;
        tx.delete::<Profiles>(&key_of(tenant, id))?;
        tx.delete::<LoginFailures>(&key_of(tenant, id))?;
        tx.delete::<Principals>(&key_of(tenant, id))?;
        Ok(())
    }

    /// Hashes a password for [`Identity::set_password`], off the runtime. Cancel-safe.
    ///
    /// Errors: `Invalid` for its length, `Busy` when too many wait.
    pub async fn hash_password(&self, password: Secret<String>) -> Result<PasswordHash, IdentityError> {
        self.hash_password_from(PASSWORD_LEN_MIN, password).await
    }

    /// The same for somebody who signs up by an application's own rules: at least [`SIGN_UP_PASSWORD_LEN_MIN`] bytes.
    pub async fn hash_sign_up_password(
        &self,
        password: Secret<String>,
    ) -> Result<PasswordHash, IdentityError> {
        self.hash_password_from(SIGN_UP_PASSWORD_LEN_MIN, password).await
    }

    async fn hash_password_from(
        &self,
        min: usize,
        password: Secret<String>,
    ) -> Result<PasswordHash, IdentityError> {
        if !(min..=PASSWORD_LEN_MAX).contains(&password.expose().len()) {
            return Err(InvalidInput::PasswordLength { min, max: PASSWORD_LEN_MAX }.into());
        }
        self.0.hashing.hash(password).await
    }

    /// Sets or replaces a password. Ends all the principal's tokens and its lock; API keys stay.
    ///
    /// Errors: `NoSuchPrincipal`, `WrongPermit`; `Vouched` for whom a provider vouches for.
    pub fn set_password(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        id: &PrincipalId,
        hash: PasswordHash,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        require_right(right, id)?;
        let tenant = right.tenant();
        let mut row = existing(tx, tenant, id)?;
        require_not_vouched(tx, tenant, id)?;
        row.password = Some(hash);
        row.credential_epoch = new_epoch();
        row.generation = row.generation.next();
        tx.put::<Principals>(&key_of(tenant, id), &row)?;
        tx.delete::<LoginFailures>(&key_of(tenant, id))?;
        self.record(tx, Entry::done("password.changed", tenant, right.actor(), id, request))
    }
}

fn texts(roles: &[ResourceId]) -> Vec<String> {
    roles.iter().map(ToString::to_string).collect()
}

fn require_generation(row: &PrincipalRow, expected: Option<Generation>) -> Result<(), IdentityError> {
    match expected {
        Some(expected) if expected != row.generation => {
            Err(IdentityError::Stale { expected, found: row.generation })
        }
        _ => Ok(()),
    }
}

/// Whether somebody can act as administrator: enabled, of the role, and with a password or an API key to come in by.
pub(super) fn is_administrator(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
    row: &PrincipalRow,
) -> Result<bool, IdentityError> {
    let of_the_role = !row.disabled && row.roles.iter().any(|role| role.as_str() == ADMIN_ROLE);
    Ok(of_the_role && (row.password.is_some() || has_api_key(tx, tenant, id)?))
}

/// The permit must be for this principal.
pub(crate) fn require_one<A: ActionKind>(
    permit: &Permit<A>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<(), IdentityError> {
    if permit.covers(tenant, ResourceKind::Principal, id.as_str()) {
        Ok(())
    } else {
        Err(IdentityError::WrongPermit)
    }
}

/// The permit must be for the collection of principals, or for this one.
pub(crate) fn require_cover<A: ActionKind>(
    permit: &Permit<A>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<(), IdentityError> {
    if permit.covers_collection(tenant, ResourceKind::Principal) {
        Ok(())
    } else {
        require_one(permit, tenant, id)
    }
}

fn require_grant(
    grant: Option<&Permit<Grant>>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<(), IdentityError> {
    require_cover(grant.ok_or(IdentityError::RolesNeedGrant)?, tenant, id)
}

/// The right must be about this principal's credentials.
pub(crate) fn require_right(right: CredentialRight<'_>, id: &PrincipalId) -> Result<(), IdentityError> {
    match right {
        CredentialRight::Own(permit) if permit.principal() == Some(id) => {
            require_one(permit, permit.tenant(), id)
        }
        CredentialRight::Own(_) => Err(IdentityError::WrongPermit),
        CredentialRight::Granted(permit) => require_cover(permit, permit.tenant(), id),
    }
}

pub(super) fn require_another_administrator(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<(), IdentityError> {
    let prefix = KeyPrefix::new().part(tenant);
    let mut after = None;
    loop {
        let rows = tx.prefix::<Principals>(&prefix, after.as_ref(), SCAN_STEP)?;
        for ((_, other), row) in &rows {
            if other != id && is_administrator(tx, tenant, other, row)? {
                return Ok(());
            }
        }
        match rows.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Err(IdentityError::LastAdministrator),
        }
    }
}
