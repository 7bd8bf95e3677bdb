//! The storage network: chunks of objects on several nodes that share this catalogue.

use cm_events::{EventVerb, NewEvent, Outcome};
use cm_identity::IdentityError;
use cm_objects::{ColdStatus, Peering, Quota, StorageStatus, Usage};
use cm_policy::{List, Permit, Update};
use cm_types::{PeerId, TenantId};
use serde_json::{Map, Value};

use crate::{Kernel, KernelError, OpContext};

pub use cm_objects::network::{Domain, PeerState, StorageChange};

impl Kernel {
    /// Makes this node a peer of the storage network, once, before it serves anybody.
    pub async fn connect_storage(&self, peering: Peering) -> Result<(), KernelError> {
        Ok(self.objects().connect(peering).await?)
    }

    /// The state of the storage network; `None` on a node that keeps its objects alone.
    pub async fn storage_status(&self, _permit: &Permit<List>) -> Result<Option<StorageStatus>, KernelError> {
        Ok(self.objects().storage_status().await?)
    }

    /// The state of the cold tier.
    pub async fn cold_status(&self, _permit: &Permit<List>) -> Result<ColdStatus, KernelError> {
        Ok(self.objects().cold_status().await?)
    }

    /// Changes who takes part in the storage network, and answers with the new epoch. Data moves afterwards.
    ///
    /// # Errors
    /// [`KernelError::Objects`]: there is no storage network, or the layout cannot be changed like this.
    pub async fn change_storage(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        changes: Vec<StorageChange>,
    ) -> Result<u64, KernelError> {
        self.require_storage()?;
        let described: Vec<Value> = changes.iter().map(|change| Value::from(told(change))).collect();
        let mut event = self.storage_event(op, permit, "storage.layout-changed");
        event.facts.insert("changes".to_owned(), described.into());
        let (objects, events) = (self.objects().clone(), self.events().clone());
        self.db()
            .write(move |tx| {
                let epoch = objects.change_layout(tx, &changes)?.0;
                event.facts.insert("epoch".to_owned(), epoch.into());
                events.append(tx, event)?;
                Ok(epoch)
            })
            .await
    }

    /// Has every chunk of the storage network looked at, and mended where it lacks something.
    ///
    /// # Errors
    /// [`KernelError::Objects`]: there is no storage network.
    pub async fn repair_storage(&self, op: &OpContext, permit: &Permit<Update>) -> Result<(), KernelError> {
        self.require_storage()?;
        self.objects().survey_now().await?;
        self.record_event(self.storage_event(op, permit, "storage.repair-asked")).await.map(drop)
    }

    /// Has every node of the storage network read all that it keeps, and what is damaged made anew.
    ///
    /// # Errors
    /// [`KernelError::Objects`]: there is no storage network.
    pub async fn scrub_storage(&self, op: &OpContext, permit: &Permit<Update>) -> Result<(), KernelError> {
        self.require_storage()?;
        self.objects().scrub_now().await?;
        self.record_event(self.storage_event(op, permit, "storage.scrub-asked")).await.map(drop)
    }

    /// Whether a node may leave: nothing that only it has is left on it, as far as the layout says.
    pub async fn may_leave_storage(&self, peer: &PeerId) -> Result<bool, KernelError> {
        Ok(self.objects().may_leave(peer).await?)
    }

    /// How much a tenant may keep in all its buckets, and how much it does. The permit is one of [`Kernel::authorize_of_node`].
    ///
    /// # Errors
    /// There must be such a tenant.
    pub async fn tenant_quota(
        &self,
        _permit: &Permit<List>,
        tenant: &TenantId,
    ) -> Result<(Quota, Option<Usage>), KernelError> {
        self.tenant(tenant).await?.ok_or(IdentityError::NoSuchTenant)?;
        Ok(self.objects().tenant_quota(tenant).await?)
    }

    /// Says how much a tenant may keep in all its buckets, and answers with how much it does. The permit is one of
    /// [`Kernel::authorize_of_node`].
    ///
    /// # Errors
    /// There must be such a tenant.
    pub async fn set_tenant_quota(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        tenant: &TenantId,
        quota: Quota,
    ) -> Result<Usage, KernelError> {
        self.tenant(tenant).await?.ok_or(IdentityError::NoSuchTenant)?;
        Ok(self.objects().set_tenant_quota(permit, tenant, quota, Some(op.request.clone())).await?)
    }

    fn require_storage(&self) -> Result<(), KernelError> {
        match self.objects().is_connected() {
            true => Ok(()),
            false => Err(cm_objects::ObjectError::NotConnected.into()),
        }
    }

    fn storage_event(&self, op: &OpContext, permit: &Permit<Update>, verb: &'static str) -> NewEvent {
        NewEvent {
            tenant: TenantId::default_tenant(),
            actor: permit.principal().cloned(),
            verb: EventVerb::fixed(verb),
            resource: None,
            request: Some(op.request.clone()),
            outcome: Outcome::Allowed,
            facts: Map::new(),
        }
    }
}

/// A change as the log tells it.
fn told(change: &StorageChange) -> String {
    match change {
        StorageChange::Add { peer, capacity_bytes, domain } => {
            format!("add {peer} with {capacity_bytes} bytes in {domain}")
        }
        StorageChange::Resize { peer, capacity_bytes } => format!("resize {peer} to {capacity_bytes} bytes"),
        StorageChange::Relocate { peer, domain } => format!("relocate {peer} to {domain}"),
        StorageChange::Drain(peer) => format!("drain {peer}"),
        StorageChange::Activate(peer) => format!("activate {peer}"),
        StorageChange::DeclareGone(peer) => format!("declare {peer} gone"),
        StorageChange::Remove(peer) => format!("remove {peer}"),
    }
}
