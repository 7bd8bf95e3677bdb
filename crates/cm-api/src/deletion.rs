//! What becomes of the records that depend on one that is deleted.

use cm_kernel::catalog::Dependents;
use cm_kernel::catalog::catalog::Deletion;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How to delete a record.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DeleteParams {
    /// What becomes of the records that depend on it: `refuse`, unless told, `cascade` or `orphan`.
    #[param(inline)]
    pub dependents: Option<DependentsChoice>,
    /// Only say what would go.
    pub dry_run: Option<bool>,
}

/// No parameters at all. Whoever asks for a dry run where there is none must not be taken at their word.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// What becomes of the records that depend on a deleted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DependentsChoice {
    /// Nothing is deleted as long as something refers to the record: 409 that lists it.
    Refuse,
    /// What belongs to the record goes along. What merely uses it still stands against its deletion.
    Cascade,
    /// What refers to the record stays, with a reference that leads nowhere.
    Orphan,
}

impl From<DependentsChoice> for Dependents {
    fn from(choice: DependentsChoice) -> Self {
        match choice {
            DependentsChoice::Refuse => Dependents::Refuse,
            DependentsChoice::Cascade => Dependents::Cascade,
            DependentsChoice::Orphan => Dependents::Orphan,
        }
    }
}

/// What a deletion would come to, as far as the caller may read it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletionPlan {
    /// What would go, `kind/id` each, the record itself first.
    pub goes: Vec<String>,
    /// What stands against it; nothing would go as long as there is any.
    pub refusing: Vec<String>,
    /// What would stay with a reference that leads nowhere.
    pub orphaned: Vec<String>,
}

impl From<Deletion> for DeletionPlan {
    fn from(plan: Deletion) -> Self {
        let texts =
            |resources: Vec<cm_types::ResourceRef>| resources.iter().map(ToString::to_string).collect();
        Self { goes: texts(plan.goes), refusing: texts(plan.refusing), orphaned: texts(plan.orphaned) }
    }
}
