//! Services with all that belongs to them.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cm_http::{Failure, Params};
use cm_kernel::hierarchy::{ActiveObjectTree, MicroserviceTree, ServiceTree};
use cm_kernel::policy::List;
use cm_types::{PageLimit, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::active_objects::{Parameter, methods};
use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;
use crate::listing::{Listing, cursor};

/// Which services are wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HierarchyParams {
    /// The most services to answer with, 1 to 1000; without it as many as there are, with up to 10000 records in all.
    pub limit: Option<usize>,
    /// Where to begin: the `Next-Cursor` of the page before.
    pub after: Option<String>,
}

/// A service with what belongs to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceNode {
    /// Its id.
    pub service_id: String,
    /// Its name.
    pub service_name: String,
    /// Its microservices.
    pub microservices: Vec<MicroserviceNode>,
    /// Present if it has more than 10000 records, and the rest is left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub truncated: bool,
}

/// A microservice with what belongs to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MicroserviceNode {
    /// Its id.
    pub microservice_id: String,
    /// Its name.
    pub microservice_name: String,
    /// Its active objects.
    pub active_objects: Vec<ActiveObjectNode>,
    /// Its functions that are no methods of these.
    pub functions: Vec<FunctionNode>,
}

/// An active object with its methods.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveObjectNode {
    /// Its id.
    pub active_object_id: String,
    /// Its class.
    pub object_name: String,
    /// What people call it.
    #[schema(required)]
    pub alias: Option<String>,
    /// Its version.
    pub version: u64,
    /// Its methods.
    pub functions: Vec<MethodNode>,
    /// The bucket of its state.
    #[schema(required)]
    pub axo_bucket_id: Option<String>,
    /// The bucket that its inputs come from.
    #[schema(required)]
    pub axo_source_bucket_id: Option<String>,
    /// The bucket that its outputs go to.
    #[schema(required)]
    pub axo_sink_bucket_id: Option<String>,
    /// The endpoint that it lives on.
    #[schema(required)]
    pub axo_endpoint_id: Option<String>,
}

/// A method.
#[derive(Debug, Serialize, ToSchema)]
pub struct MethodNode {
    /// The function that it is.
    pub function_id: String,
    /// Its name.
    pub name: String,
    /// What the constructor of its object takes.
    #[schema(value_type = Vec<Parameter>)]
    pub init_params: Value,
    /// What it takes itself.
    #[schema(value_type = Vec<Parameter>)]
    pub call_params: Value,
}

/// A function that is no method.
#[derive(Debug, Serialize, ToSchema)]
pub struct FunctionNode {
    /// Its id.
    pub function_id: String,
    /// Its name.
    pub name: String,
}

impl From<ServiceTree> for ServiceNode {
    fn from(tree: ServiceTree) -> Self {
        let header = tree.service.header;
        Self {
            service_id: header.id.into(),
            service_name: header.name,
            microservices: tree.microservices.into_iter().map(MicroserviceNode::from).collect(),
            truncated: tree.truncated,
        }
    }
}

impl From<MicroserviceTree> for MicroserviceNode {
    fn from(tree: MicroserviceTree) -> Self {
        let header = tree.microservice.header;
        let functions = tree.functions.into_iter();
        Self {
            microservice_id: header.id.into(),
            microservice_name: header.name,
            active_objects: tree.active_objects.into_iter().map(ActiveObjectNode::from).collect(),
            functions: functions
                .map(|function| FunctionNode { function_id: function.id.into(), name: function.name })
                .collect(),
        }
    }
}

impl From<ActiveObjectTree> for ActiveObjectNode {
    fn from(tree: ActiveObjectTree) -> Self {
        let functions = methods(&tree.object, tree.functions).into_iter().map(|method| MethodNode {
            function_id: method.function_id,
            name: method.name,
            init_params: method.init_params,
            call_params: method.call_params,
        });
        let text = |field: &str| Some(tree.object.spec.get(field)?.as_str()?.to_owned());
        Self {
            active_object_id: tree.object.header.id.to_string(),
            object_name: text("axo_class_name").unwrap_or_default(),
            alias: text("axo_alias"),
            version: tree.object.spec.get("axo_version").and_then(Value::as_u64).unwrap_or_default(),
            functions: functions.collect(),
            axo_bucket_id: text("axo_bucket_id"),
            axo_source_bucket_id: text("axo_source_bucket_id"),
            axo_sink_bucket_id: text("axo_sink_bucket_id"),
            axo_endpoint_id: text("axo_endpoint_id"),
        }
    }
}

#[utoipa::path(
    get, path = "/hierarchy", tag = "services", summary = "Shows services with all that belongs to them",
    params(HierarchyParams),
    extensions(("x-permission" = json!("service:list"))),
    responses((
        status = 200, body = Vec<ServiceNode>,
        description = "What the caller may read, as it was at one moment; `Next-Cursor` if there are more services",
        headers(("Next-Cursor" = String, description = "Where the next page begins")),
    ))
)]
/// Shows services with all that belongs to them.
pub async fn read_hierarchy(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<HierarchyParams>,
) -> Result<Response, Failure> {
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Service).await.map_err(refusal)?;
    let HierarchyParams { limit, after } = params.decode()?;
    let limit = limit.map(PageLimit::clamped);
    let page = api.kernel.hierarchy(&op, &permit, cursor(after), limit).await.map_err(refusal)?;
    Ok(Listing::of(page, ServiceNode::from).into_response())
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read_hierarchy))
}
