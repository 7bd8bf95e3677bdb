//! All routes, each registered together with its description.

use axum::routing::any;
use axum::{Extension, Router, middleware};
use cm_http::frame::{unknown_method, unknown_route};
use cm_http::{RequestLimits, frame};
use utoipa_axum::router::OpenApiRouter;

use crate::api::Api;
use crate::authentication::authenticate;
use crate::document::{self, PREFIX};
use crate::verifications::Verifications;
use crate::{
    api_keys, auth, buckets, data_files, decisions, endpoints, events, functions, history, instances,
    microservices, node, object_verification, objects, principals, probes, programs, roles,
    security_policies, services, storages, watch,
};

/// Everything that this crate serves, ready for [`cm_http::serve()`].
pub fn router(api: Api, limits: RequestLimits) -> Router {
    let tasks = api.kernel.tasks().clone();
    let authenticated = middleware::from_fn_with_state(api.clone(), authenticate);
    // The fallbacks come before the layer: unknown paths and methods too are nobody's business who is unknown.
    let v1 = families()
        .split_for_parts()
        .0
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(Extension(Verifications::default()))
        .layer(authenticated.clone());
    // Nesting leaves out the prefix with nothing but a slash behind it.
    let bare = Router::new().route(&format!("{PREFIX}/"), any(unknown_route)).layer(authenticated);
    let router = probes::routes(document::openapi_text()).nest(PREFIX, v1).merge(bare).with_state(api);
    frame(router, limits, &tasks)
}

/// The API with its description, below its prefix.
pub(crate) fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(document::base()).nest(PREFIX, families())
}

fn families() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(principals::routes())
        .merge(api_keys::routes())
        .merge(roles::routes())
        .merge(security_policies::routes())
        .merge(services::routes())
        .merge(microservices::routes())
        .merge(functions::routes())
        .merge(programs::routes())
        .merge(data_files::routes())
        .merge(endpoints::routes())
        .merge(history::routes())
        .merge(storages::routes())
        .merge(instances::routes())
        .merge(buckets::routes())
        .merge(objects::routes())
        .merge(object_verification::routes())
        .merge(events::routes())
        .merge(watch::routes())
        .merge(decisions::routes())
        .merge(node::routes())
}
