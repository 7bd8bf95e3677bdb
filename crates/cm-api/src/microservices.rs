//! Microservices: groups of functions within a service.

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
use crate::parts::{Resources, SecurityPolicyChoice};
use crate::record::WireSpec;

/// What a microservice is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MicroserviceSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The service that it belongs to.
    pub service_id: String,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The security policy that guards it; without one, that of its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecurityPolicyChoice>)]
    pub security_policy: Option<Value>,
    /// The policy file that declares it, as its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

/// What a microservice shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct MicroserviceExtra {
    /// The id, as clients of the earlier implementation call it.
    pub microservice_id: String,
    /// The functions that belong to it, the first thousand of them.
    pub functions: Vec<String>,
}

impl WireSpec for MicroserviceSpec {
    const KIND: ResourceKind = ResourceKind::Microservice;
    type Extra = MicroserviceExtra;
    const READ_ONLY: &'static [&'static str] = &["microservice_id", "functions"];
    const INDEXED: &'static [(&'static str, ResourceKind)] = &[("service_id", ResourceKind::Service)];
    const PARTS: Option<ResourceKind> = Some(ResourceKind::Function);

    fn extra(record: &Record, parts: Vec<Part>) -> MicroserviceExtra {
        let functions = parts.into_iter().map(|part| part.id.into()).collect();
        MicroserviceExtra { microservice_id: record.header.id.to_string(), functions }
    }
}

record_routes!(
    MicroserviceRecord = MicroserviceSpec, MicroserviceExtra; MicroserviceBody; "microservices", "microservice", "/microservices", "/microservices/{id}",
    list_microservices, create_microservice, read_microservice, change_microservice, delete_microservice
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_microservices, create_microservice)).routes(routes!(
        read_microservice,
        change_microservice,
        delete_microservice
    ))
}
