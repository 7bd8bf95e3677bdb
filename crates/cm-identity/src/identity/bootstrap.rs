//! The first start, what every later start checks, and the way back in.

use cm_crypto::{Secret, secret};
use cm_db::WriteTx;
use cm_policy::ADMIN_ROLE;
use cm_types::{Generation, PrincipalId, ResourceId, TenantId, Timestamp};

use super::{Identity, key_of};
use crate::IdentityError;
use crate::node_keys::recorded_node_key;
use crate::principal::ROLES_MAX;
use crate::table::{LoginFailures, NodeRow, Nodes, PrincipalRow, Principals, THIS_NODE, TenantRow, Tenants};
use crate::trail::Entry;

impl Identity {
    /// On the first start creates the tenant `default` and in it the principal `admin`, who holds the role
    /// `admin`, and returns the text of its API key, once. On later starts changes nothing and returns
    /// `None`, after checking that the data belongs to the node's keys.
    ///
    /// The role itself is a catalogue record, which the caller creates in the same transaction.
    pub fn bootstrap(&self, tx: &mut WriteTx<'_>) -> Result<Option<Secret<String>>, IdentityError> {
        if let Some(expected) = recorded_node_key(tx)? {
            self.keys().check(&expected)?;
            return Ok(None);
        }
        let now = self.now();
        let node = NodeRow { signing_key_id: self.keys().key_id(), created_at: now };
        tx.insert::<Nodes>(&THIS_NODE.to_owned(), &node)?;
        let (tenant, admin) = (TenantId::default_tenant(), PrincipalId::admin());
        tx.insert::<Tenants>(
            &tenant,
            &TenantRow { created_at: now, name: None, open: false, leaving: false },
        )?;
        tx.insert::<Principals>(&key_of(&tenant, &admin), &administrator(now))?;
        let node = PrincipalId::node();
        self.record(
            tx,
            Entry::done("principal.created", &tenant, Some(&node), &admin, None)
                .fact("roles", vec![ADMIN_ROLE]),
        )?;
        let (key, _) = self.add_api_key(tx, (&tenant, &admin), Some(&node), "first start", None)?;
        Ok(Some(key))
    }

    /// Lets the owner of the machine in again: makes a new API key for the principal `admin` of the tenant
    /// `default`, which is created if it is gone, enabled if it is disabled, given back the role `admin` if it has
    /// lost it, and freed of a lock after failed logins. Its other credentials stay; if it has as many API keys as
    /// one may have, the oldest goes.
    ///
    /// There is no permit to ask for: whoever calls this must be as trusted as who can read the node's keys.
    pub fn recover_admin(&self, tx: &mut WriteTx<'_>) -> Result<Secret<String>, IdentityError> {
        let (tenant, admin, node) = (TenantId::default_tenant(), PrincipalId::admin(), PrincipalId::node());
        let key = key_of(&tenant, &admin);
        let row = match tx.get::<Principals>(&key)? {
            None => administrator(self.now()),
            Some(mut row) => {
                row.disabled = false;
                row.generation = row.generation.next();
                let role = admin_role();
                if !row.roles.contains(&role) {
                    row.roles.truncate(ROLES_MAX - 1);
                    row.roles.push(role);
                }
                row
            }
        };
        tx.put::<Principals>(&key, &row)?;
        tx.delete::<LoginFailures>(&key)?;
        self.record(tx, Entry::done("principal.recovered", &tenant, Some(&node), &admin, None))?;
        self.make_room_for_key(tx, &tenant, &admin)?;
        let (text, _) = self.add_api_key(tx, (&tenant, &admin), Some(&node), "recovery", None)?;
        Ok(text)
    }
}

fn admin_role() -> ResourceId {
    ResourceId::parse(ADMIN_ROLE).expect("the constant is a valid id")
}

pub(super) fn administrator(now: Timestamp) -> PrincipalRow {
    PrincipalRow {
        display_name: "Administrator".to_owned(),
        roles: vec![admin_role()],
        disabled: false,
        generation: Generation::FIRST,
        created_at: now,
        password: None,
        credential_epoch: new_epoch(),
    }
}

/// A credential epoch that no principal has had before.
pub(crate) fn new_epoch() -> String {
    hex::encode(secret::random_bytes::<8>())
}
