//! Deleting entries: what would go, and what becomes of those that depend on them.

use cm_types::ResourceKind;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::resources::item;
use crate::{Api, ClientError};

/// What becomes of the entries that depend on a deleted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// Nothing is deleted as long as something refers to it.
    Refuse,
    /// What belongs to it goes along. What merely uses it still stands against its deletion.
    Cascade,
    /// What refers to it stays, with a reference that leads nowhere.
    Orphan,
}

impl Dependents {
    /// The name of the choice in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Dependents::Refuse => "refuse",
            Dependents::Cascade => "cascade",
            Dependents::Orphan => "orphan",
        }
    }
}

/// What a deletion would come to, as far as the caller may read it. Each is `kind/id`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct DeletionPlan {
    /// What would go, the entry itself first.
    pub goes: Vec<String>,
    /// What stands against it; nothing would go as long as there is any.
    pub refusing: Vec<String>,
    /// What would stay with a reference that leads nowhere.
    pub orphaned: Vec<String>,
}

/// Whether the node can say what a deletion would come to. Of other kinds it would not read the question, and delete.
fn is_plannable(kind: ResourceKind) -> bool {
    !matches!(
        kind,
        ResourceKind::Tenant
            | ResourceKind::Principal
            | ResourceKind::Instance
            | ResourceKind::Computation
            | ResourceKind::Object
            | ResourceKind::Event
    )
}

impl Api {
    /// What a deletion would come to, without doing it. Without a choice it is the node's: to refuse, or in open mode to
    /// orphan.
    ///
    /// # Errors
    /// [`ClientError::Unplannable`] of principals and instances, before anything is sent.
    pub async fn plan_removal(
        &self,
        kind: ResourceKind,
        id: &str,
        dependents: Option<Dependents>,
    ) -> Result<DeletionPlan, ClientError> {
        if !is_plannable(kind) {
            return Err(ClientError::Unplannable(kind));
        }
        let mut query = vec![("dry_run", "true")];
        query.extend(dependents.map(|dependents| ("dependents", dependents.as_str())));
        let response = self.send(self.request(Method::DELETE, &item(kind, id))?.query(&query)).await?;
        self.json(response).await
    }

    /// Removes an entry, and deals as told with what depends on it.
    pub async fn remove_with(
        &self,
        kind: ResourceKind,
        id: &str,
        dependents: Dependents,
    ) -> Result<(), ClientError> {
        let query = [("dependents", dependents.as_str())];
        self.send(self.request(Method::DELETE, &item(kind, id))?.query(&query)).await.map(drop)
    }
}
