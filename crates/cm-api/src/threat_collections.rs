//! Collections of threat intelligence: STIX objects that others put in and take out by TAXII.

use cm_kernel::Part;
use cm_kernel::catalog::Record;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::family::record_routes;
use crate::parts::SecurityPolicyChoice;
use crate::record::WireSpec;

/// What a collection is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ThreatCollectionSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The security policy that guards it and its objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecurityPolicyChoice>)]
    pub security_policy: Option<Value>,
}

/// What a collection shows besides: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreatCollectionExtra {}

impl WireSpec for ThreatCollectionSpec {
    const KIND: ResourceKind = ResourceKind::ThreatCollection;
    type Extra = ThreatCollectionExtra;
    const READ_ONLY: &'static [&'static str] = &[];

    fn extra(_: &Record, _: Vec<Part>) -> ThreatCollectionExtra {
        ThreatCollectionExtra {}
    }
}

record_routes!(
    ThreatCollectionRecord = ThreatCollectionSpec, ThreatCollectionExtra; ThreatCollectionBody; "threat-collections", "threat-collection",
    "/threat-collections", "/threat-collections/{id}",
    list_threat_collections, create_threat_collection, read_threat_collection, change_threat_collection, delete_threat_collection
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_threat_collections, create_threat_collection)).routes(routes!(
        read_threat_collection,
        change_threat_collection,
        delete_threat_collection
    ))
}
