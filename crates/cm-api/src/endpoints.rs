//! Endpoints: servers that functions are deployed on.

use cm_http::Failure;
use cm_kernel::catalog::lifecycle::ENDPOINT_COLD;
use cm_kernel::catalog::{Dependents, Record};
use cm_kernel::policy::{Delete, Permit};
use cm_kernel::{OpContext, Part};
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::endpoints_deploy;
use crate::family::record_routes;
use crate::parts::{Resources, SecurityPolicyChoice};
use crate::record::WireSpec;

/// What an endpoint is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The container image.
    pub image: String,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The security policy that guards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecurityPolicyChoice>)]
    pub security_policy: Option<Value>,
    /// The policy file that declares it, as its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

/// What an endpoint shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointExtra {
    /// The id, as clients of the earlier implementation call it.
    pub endpoint_id: String,
    /// How far it is in its life: `cold`, `warming`, `warm` or `draining`.
    pub state: String,
    /// The TCP port for publishing and subscribing, while it is deployed.
    #[schema(required)]
    pub pubsub_port: Option<u16>,
    /// The TCP port for requests and responses, while it is deployed.
    #[schema(required)]
    pub req_res_port: Option<u16>,
}

impl WireSpec for EndpointSpec {
    const KIND: ResourceKind = ResourceKind::Endpoint;
    type Extra = EndpointExtra;
    const READ_ONLY: &'static [&'static str] = &["endpoint_id", "state", "pubsub_port", "req_res_port"];

    const RESERVED_IDS: &'static [&'static str] = &["deploy", "detach"];

    async fn end(
        api: &Api,
        op: &OpContext,
        record: Record,
        permit: &Permit<Delete>,
        dependents: Dependents,
    ) -> Result<Record, Failure> {
        endpoints_deploy::end(api, op, record, permit, dependents).await
    }

    fn extra(record: &Record, _: Vec<Part>) -> EndpointExtra {
        let port = |name| record.status.get(name).and_then(|port| u16::try_from(port.as_u64()?).ok());
        let state = record.status.get("state").and_then(|state| state.as_str());
        EndpointExtra {
            endpoint_id: record.header.id.to_string(),
            state: state.unwrap_or(ENDPOINT_COLD).to_owned(),
            pubsub_port: port("pubsub_port"),
            req_res_port: port("req_res_port"),
        }
    }
}

record_routes!(
    EndpointRecord = EndpointSpec, EndpointExtra; EndpointBody; "endpoints", "endpoint", "/endpoints", "/endpoints/{id}",
    list_endpoints, create_endpoint, read_endpoint, change_endpoint, delete_endpoint
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_endpoints, create_endpoint)).routes(routes!(
        read_endpoint,
        change_endpoint,
        delete_endpoint
    ))
}
