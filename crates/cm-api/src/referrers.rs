//! Who refers to a record: one route for each family, all alike.

use axum::response::{IntoResponse, Response};
use cm_http::{Failure, Params};
use cm_kernel::policy::Read;
use cm_kernel::{Kernel, OpContext};
use cm_types::ResourceKind;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::failure::refusal;
use crate::listing::{Listing, cursor, page_limit};

/// Which part of the list is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReferrersParams {
    /// The most entries to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Where to begin: the `Next-Cursor` of the page before.
    pub after: Option<String>,
}

async fn referrers(
    kernel: &Kernel,
    op: &OpContext,
    kind: ResourceKind,
    id: &str,
    params: Params<ReferrersParams>,
) -> Result<Response, Failure> {
    let (_, permit) = kernel.look_up::<Read>(op, kind, id).await.map_err(refusal)?;
    let ReferrersParams { limit, after } = params.decode()?;
    let page = kernel.referrers(op, &permit, cursor(after), page_limit(limit)).await.map_err(refusal)?;
    Ok(Listing::of(page, |resource| resource.to_string()).into_response())
}

macro_rules! referrer_routes {
    ($($handler:ident = $kind:ident, $permission:literal, $tag:literal;)+) => {
        $(
            #[utoipa::path(
                get, path = concat!("/", $tag, "/{id}/referrers"), tag = $tag,
                summary = concat!("Lists what refers to one of the ", $tag),
                params(("id" = String, Path, description = "The id"), ReferrersParams),
                extensions(("x-permission" = json!($permission))),
                responses((
                    status = 200, body = Vec<String>,
                    description = "What the caller may read of it, `kind/id` each, kind by kind in the order of creation; \
                                   `Next-Cursor` if it is not the last page",
                    headers(("Next-Cursor" = String, description = "Where the next page begins")),
                ))
            )]
            #[doc = concat!("Lists what refers to one of the ", $tag, ".")]
            pub async fn $handler(
                axum::extract::State(api): axum::extract::State<Api>,
                crate::authentication::Op(op): crate::authentication::Op,
                axum::extract::Path(id): axum::extract::Path<String>,
                params: Params<ReferrersParams>,
            ) -> Result<Response, Failure> {
                referrers(&api.kernel, &op, ResourceKind::$kind, &id, params).await
            }
        )+

        /// The routes of this module.
        pub(crate) fn routes() -> OpenApiRouter<Api> {
            OpenApiRouter::new()$(.routes(routes!($handler)))+
        }
    };
}

referrer_routes! {
    list_role_referrers = Role, "role:read", "roles";
    list_security_policy_referrers = SecurityPolicy, "security-policy:read", "security-policies";
    list_service_referrers = Service, "service:read", "services";
    list_microservice_referrers = Microservice, "microservice:read", "microservices";
    list_function_referrers = Function, "function:read", "functions";
    list_active_object_referrers = ActiveObject, "active-object:read", "active-objects";
    list_endpoint_referrers = Endpoint, "endpoint:read", "endpoints";
    list_storage_referrers = Storage, "storage:read", "storages";
    list_bucket_referrers = Bucket, "bucket:read", "buckets";
    list_function_state_referrers = FunctionState, "function-state:read", "function-states";
    list_function_result_referrers = FunctionResult, "function-result:read", "function-results";
    list_endpoint_state_referrers = EndpointState, "endpoint-state:read", "endpoint-states";
    list_instance_referrers = Instance, "instance:read", "instances";
}
