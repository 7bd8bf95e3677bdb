//! Storages: where inputs of functions come from and their outputs go.

use cm_kernel::Part;
use cm_kernel::catalog::Record;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::family::record_routes;
use crate::record::WireSpec;

/// What a storage is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StorageSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How much it may hold, with its unit.
    #[schema(example = "10GB")]
    pub capacity: String,
    /// Where inputs come from.
    pub source_path: String,
    /// Where outputs go.
    pub sink_path: String,
}

/// What a storage shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct StorageExtra {
    /// The id, as clients of the earlier implementation call it.
    pub storage_id: String,
}

impl WireSpec for StorageSpec {
    const KIND: ResourceKind = ResourceKind::Storage;
    type Extra = StorageExtra;
    const READ_ONLY: &'static [&'static str] = &["storage_id"];

    fn extra(record: &Record, _: Vec<Part>) -> StorageExtra {
        StorageExtra { storage_id: record.header.id.to_string() }
    }
}

record_routes!(
    StorageRecord = StorageSpec, StorageExtra; StorageBody; "storages", "storage", "/storages", "/storages/{id}",
    list_storages, create_storage, read_storage, change_storage, delete_storage
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_storages, create_storage)).routes(routes!(
        read_storage,
        change_storage,
        delete_storage
    ))
}
