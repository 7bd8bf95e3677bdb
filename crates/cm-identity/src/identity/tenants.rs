//! Tenants: creating, reading, removing.

use cm_crypto::Secret;
use cm_db::{DbError, Direction, KeyPrefix, KeyRange, ReadTx, WriteTx};
use cm_policy::{Create, Delete, Permit};
use cm_types::{PrincipalId, RequestId, ResourceKind, TenantId};

use super::bootstrap::administrator;
use super::{Identity, key_of};
use crate::table::{AccountKeys, AccountKeysOfTenant, Principals, Providers, TenantRow, Tenants};
use crate::tenant::check_name;
use crate::trail::Entry;
use crate::{IdentityError, InvalidInput, NewTenant, Tenant};

/// Tenants that one list holds.
pub const TENANTS_MAX: usize = 10_000;

impl Identity {
    /// Creates a tenant; with an administrator, the text of its API key, once. Roles are catalogue records, which the caller
    /// creates in the same transaction.
    ///
    /// The permit is for the collection of tenants. Errors: `TenantExists`, `Invalid`, `WrongPermit`.
    pub fn create_tenant(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Create>,
        new: NewTenant,
        request: Option<&RequestId>,
    ) -> Result<(Tenant, Option<Secret<String>>), IdentityError> {
        if !permit.covers_collection(&TenantId::default_tenant(), ResourceKind::Tenant) {
            return Err(IdentityError::WrongPermit);
        }
        check_name(new.name.as_deref())?;
        let row = TenantRow { created_at: self.now(), name: new.name, open: new.open, leaving: false };
        tx.insert::<Tenants>(&new.id, &row).map_err(|error| match error {
            DbError::Exists { .. } => IdentityError::TenantExists,
            other => IdentityError::Db(other),
        })?;
        let node = PrincipalId::node();
        let actor = permit.principal().unwrap_or(&node);
        // Twice: those who keep the tenants see it, and the tenant knows its own beginning.
        let entry = Entry::done("tenant.created", permit.tenant(), Some(actor), actor, request);
        self.record(tx, entry.fact("tenant", new.id.as_str()).fact("open", new.open))?;
        let entry = Entry::done("tenant.created", &new.id, Some(&node), &node, request);
        self.record(tx, entry.fact("tenant", new.id.as_str()))?;
        let key = match &new.administrator {
            None => None,
            Some(id) if *id == node => return Err(InvalidInput::ReservedId.into()),
            Some(id) => {
                tx.insert::<Principals>(&key_of(&new.id, id), &administrator(self.now()))?;
                let entry = Entry::done("principal.created", &new.id, Some(&node), id, request);
                self.record(tx, entry.fact("roles", vec![cm_policy::ADMIN_ROLE]))?;
                Some(self.add_api_key(tx, (&new.id, id), Some(&node), "first key", request)?.0)
            }
        };
        Ok((Tenant::from_row(&new.id, &row), key))
    }

    /// The tenant, if there is one.
    pub fn get_tenant(&self, tx: &ReadTx<'_>, id: &TenantId) -> Result<Option<Tenant>, IdentityError> {
        Ok(tx.get::<Tenants>(id)?.map(|row| Tenant::from_row(id, &row)))
    }

    /// All tenants in the order of their ids, at most [`TENANTS_MAX`].
    pub fn list_tenants(&self, tx: &ReadTx<'_>) -> Result<Vec<Tenant>, IdentityError> {
        let rows = tx.range::<Tenants>(KeyRange::all(), Direction::Forward, TENANTS_MAX)?;
        Ok(rows.iter().map(|(id, row)| Tenant::from_row(id, row)).collect())
    }

    /// The ids of a tenant's principals that come after one, or from the first on; at most `max`.
    pub fn principals_of(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        after: Option<&PrincipalId>,
        max: usize,
    ) -> Result<Vec<PrincipalId>, IdentityError> {
        let prefix = KeyPrefix::new().part(tenant);
        let after = after.map(|id| key_of(tenant, id));
        let rows = tx.prefix::<Principals>(&prefix, after.as_ref(), max)?;
        Ok(rows.into_iter().map(|((_, id), _)| id).collect())
    }

    /// Says that a tenant is being removed, or that it stays after all. While it is, no credential of it proves anything and
    /// nobody is made in it, so that what was found about it holds until it is gone, however long that takes.
    ///
    /// The permit is for the tenants. Errors: `NoSuchTenant`, `TenantInUse` for the first one, `WrongPermit`. Events:
    /// `tenant.closed`, `tenant.reopened`.
    pub fn set_leaving(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Delete>,
        id: &TenantId,
        leaving: bool,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        if !permit.covers_collection(&TenantId::default_tenant(), ResourceKind::Tenant) {
            return Err(IdentityError::WrongPermit);
        }
        if *id == TenantId::default_tenant() {
            return Err(IdentityError::TenantInUse(id.clone()));
        }
        let row = tx.get::<Tenants>(id)?.ok_or(IdentityError::NoSuchTenant)?;
        if row.leaving == leaving {
            return Ok(());
        }
        tx.put::<Tenants>(id, &TenantRow { leaving, ..row })?;
        let node = PrincipalId::node();
        let actor = permit.principal().unwrap_or(&node);
        let verb = if leaving { "tenant.closed" } else { "tenant.reopened" };
        let entry = Entry::done(verb, permit.tenant(), Some(actor), actor, request);
        self.record(tx, entry.fact("tenant", id.as_str()))
    }

    /// Removes a tenant with its keys of applications. Its principals must be gone; its records are the caller's business.
    ///
    /// The permit is for the tenant. Errors: `NoSuchTenant`, `TenantInUse`, `WrongPermit`.
    pub fn delete_tenant(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Delete>,
        id: &TenantId,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        if !permit.covers_collection(&TenantId::default_tenant(), ResourceKind::Tenant) {
            return Err(IdentityError::WrongPermit);
        }
        if *id == TenantId::default_tenant() || !self.principals_of(tx, id, None, 1)?.is_empty() {
            return Err(IdentityError::TenantInUse(id.clone()));
        }
        if !tx.delete::<Tenants>(id)? {
            return Err(IdentityError::NoSuchTenant);
        }
        let prefix = KeyPrefix::new().part(id);
        for (key, _) in tx.prefix::<AccountKeysOfTenant>(&prefix, None, crate::account_key::KEYS_MAX)? {
            tx.delete::<AccountKeys>(&key.1)?;
            tx.delete::<AccountKeysOfTenant>(&key)?;
        }
        for (key, _) in tx.prefix::<Providers>(&prefix, None, crate::provider::PROVIDERS_MAX)? {
            tx.delete::<Providers>(&key)?;
        }
        let node = PrincipalId::node();
        let actor = permit.principal().unwrap_or(&node);
        let entry = Entry::done("tenant.deleted", permit.tenant(), Some(actor), actor, request);
        self.record(tx, entry.fact("tenant", id.as_str()))
    }

    /// Removes a principal of a tenant that is being deleted, whatever it holds.
    pub fn remove_principal_of_deleted_tenant(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Delete>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<(), IdentityError> {
        let of_tenants = permit.covers_collection(&TenantId::default_tenant(), ResourceKind::Tenant);
        if !of_tenants || *tenant == TenantId::default_tenant() {
            return Err(IdentityError::WrongPermit);
        }
        self.forget_principal(tx, tenant, id)?;
        let node = PrincipalId::node();
        self.record(tx, Entry::done("principal.deleted", tenant, Some(&node), id, None))
    }
}
