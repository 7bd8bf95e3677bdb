//! The first start, and what every later start checks.

use cm_crypto::{Secret, secret};
use cm_db::WriteTx;
use cm_policy::ADMIN_ROLE;
use cm_types::{Generation, PrincipalId, ResourceId, TenantId};

use super::{Identity, key_of};
use crate::IdentityError;
use crate::node_keys::recorded_node_key;
use crate::table::{NodeRow, Nodes, PrincipalRow, Principals, THIS_NODE, TenantRow, Tenants};
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
        tx.insert::<Tenants>(&tenant, &TenantRow { created_at: now })?;
        let role = ResourceId::parse(ADMIN_ROLE).expect("the constant is a valid id");
        let row = PrincipalRow {
            display_name: "Administrator".to_owned(),
            roles: vec![role],
            disabled: false,
            generation: Generation::FIRST,
            created_at: now,
            password: None,
            credential_epoch: new_epoch(),
        };
        tx.insert::<Principals>(&key_of(&tenant, &admin), &row)?;
        let node = PrincipalId::node();
        self.record(
            tx,
            Entry::done("principal.created", &tenant, Some(&node), &admin, None)
                .fact("roles", vec![ADMIN_ROLE]),
        )?;
        let (key, _) = self.add_api_key(tx, (&tenant, &admin), Some(&node), "first start", None)?;
        Ok(Some(key))
    }
}

/// A credential epoch that no principal has had before.
pub(super) fn new_epoch() -> String {
    hex::encode(secret::random_bytes::<8>())
}
