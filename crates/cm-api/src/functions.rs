//! Functions: what can be computed.

use cm_http::Failure;
use cm_kernel::Part;
use cm_kernel::catalog::Record;
use cm_kernel::catalog::lifecycle::DEPLOYMENT_INITIATED;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::failure::function_refusal;
use crate::family::record_routes;
use crate::parts::{Resources, SecurityPolicyChoice, StorageChoice};
use crate::record::WireSpec;

/// What a function is. Its programs are uploaded separately.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FunctionSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How its data is protected while it runs: `confidential`.
    #[serde(default = "confidential")]
    #[schema(example = "confidential")]
    pub executor: String,
    /// The container image, where the executor uses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The microservice that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microservice_id: Option<String>,
    /// The endpoint that it is deployed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// Where its inputs come from and its outputs go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StorageChoice>)]
    pub storage: Option<Value>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The security policy that guards it; without one, that of its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecurityPolicyChoice>)]
    pub security_policy: Option<Value>,
    /// The settings of the executor `confidential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidential: Option<Confidential>,
    /// The active object whose method it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_object_id: Option<String>,
    /// The policy file that declares it, as its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

fn confidential() -> String {
    "confidential".to_owned()
}

/// The settings of a confidential function.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Confidential {
    /// The program policy: JSON text, kept exactly as sent, for its bytes are what evidence speaks of.
    pub policy: String,
}

/// What a function shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct FunctionExtra {
    /// The id, as clients of the earlier implementation call it.
    pub function_id: String,
    /// How far its deployment is: `initiated`, `deploying`, `completed` or `failed`. The platform writes it; on a node in
    /// open mode clients may.
    pub deployment_status: String,
}

impl WireSpec for FunctionSpec {
    const KIND: ResourceKind = ResourceKind::Function;
    type Extra = FunctionExtra;
    const READ_ONLY: &'static [&'static str] = &["function_id"];
    const INDEXED: &'static [(&'static str, ResourceKind)] = &[
        ("microservice_id", ResourceKind::Microservice),
        ("endpoint_id", ResourceKind::Endpoint),
        ("active_object_id", ResourceKind::ActiveObject),
    ];
    const CLAIMS: &'static [&'static str] = &["deployment_status"];

    fn extra(record: &Record, _: Vec<Part>) -> FunctionExtra {
        let status = record.status.get("deployment_status").and_then(|status| status.as_str());
        FunctionExtra {
            function_id: record.header.id.to_string(),
            deployment_status: status.unwrap_or(DEPLOYMENT_INITIATED).to_owned(),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        match &self.confidential {
            Some(confidential) => cm_functions::check_policy(&confidential.policy).map_err(function_refusal),
            None => Ok(()),
        }
    }
}

record_routes!(
    FunctionRecord = FunctionSpec, FunctionExtra; FunctionBody; "functions", "function", "/functions", "/functions/{id}",
    list_functions, create_function, read_function, change_function, delete_function
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_functions, create_function)).routes(routes!(
        read_function,
        change_function,
        delete_function
    ))
}
