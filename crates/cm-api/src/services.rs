//! Services: groups of microservices.

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

/// What a service is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The security policy that guards it, and all microservices and functions without their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecurityPolicyChoice>)]
    pub security_policy: Option<Value>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The policy file that declares it, as its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

/// What a service shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceExtra {
    /// The id, as clients of the earlier implementation call it.
    pub service_id: String,
    /// The microservices that belong to it, the first thousand of them.
    pub microservices: Vec<String>,
}

impl WireSpec for ServiceSpec {
    const KIND: ResourceKind = ResourceKind::Service;
    type Extra = ServiceExtra;
    const READ_ONLY: &'static [&'static str] = &["service_id", "microservices"];
    const PARTS: Option<ResourceKind> = Some(ResourceKind::Microservice);

    fn extra(record: &Record, parts: Vec<Part>) -> ServiceExtra {
        let microservices = parts.into_iter().map(|part| part.id.into()).collect();
        ServiceExtra { service_id: record.header.id.to_string(), microservices }
    }
}

record_routes!(
    ServiceRecord = ServiceSpec, ServiceExtra; ServiceBody; "services", "service", "/services", "/services/{id}",
    list_services, create_service, read_service, change_service, delete_service
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_services, create_service)).routes(routes!(
        read_service,
        change_service,
        delete_service
    ))
}
