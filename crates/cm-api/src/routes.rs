//! All routes, each registered together with its description.

use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::any;
use axum::{Extension, Router, middleware};
use cm_door::authenticate;
use cm_http::frame::{unknown_method, unknown_route};
use cm_http::{RequestLimits, Shape, frame};
use tower::ServiceBuilder;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;

use cm_kernel::Access;

use crate::api::{Api, Engines};
use crate::authentication::gate;
use crate::document::{self, PREFIX};
use crate::listing::NEXT_CURSOR;
use crate::verifications::Verifications;
use crate::{
    active_objects, api_keys, auth, buckets, choreography, cold_tier, computations, data_files, decisions,
    earlier_errors, elastic, endpoints, endpoints_deploy, events, functions, hierarchy, history, instances,
    intel, intel_exports, intel_feeds, intel_peers, intel_watch, manifests, measures, mfa, microservices,
    network, node, object_verification, object_versions, objects, packing, passkeys, paths,
    permission_policies, principals, probes, programs, progress_socket, providers, quotas, referrers, roles,
    security_policies, services, signing_keys, storage_network, storages, svids, tenants, threat_collections,
    tokens, trust_domains, uploads, watch,
};

/// Everything that this crate serves, ready for [`cm_http::serve()`].
pub fn router(engines: Engines, limits: RequestLimits) -> Router {
    let api = Api::from(engines);
    let tasks = api.kernel.tasks().clone();
    let (settings, open) = (api.settings.clone(), matches!(api.access, Access::Open(_)));
    let shape: Shape = if open { earlier_errors::shape } else { cm_http::shape };
    let authenticated = middleware::from_fn_with_state(gate(&api), authenticate);
    // The fallbacks come before the layer: unknown paths and methods too are nobody's business who is unknown.
    let v1 = families()
        .split_for_parts()
        .0
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        // One layer, because each boxes every route anew; the first part is the outermost.
        .layer(
            ServiceBuilder::new()
                .layer(authenticated.clone())
                .layer(middleware::from_fn(paths::link_next))
                .layer(Extension(Verifications::default())),
        );
    // Nesting leaves out the prefix with nothing but a slash behind it.
    let bare = Router::new().route(&format!("{PREFIX}/"), any(unknown_route)).layer(authenticated);
    let document = document::served(&settings, open);
    let mut router = probes::routes(document).nest(PREFIX, v1).merge(bare).with_state(api);
    if !settings.cors_origins.is_empty() {
        router = router.layer(cross_origin(&settings.cors_origins));
    }
    paths::tolerant(frame(router, limits, shape, &tasks), &settings.prefix)
}

/// Lets pages of these origins use the API, with a credential that they have themselves: browsers add none.
fn cross_origin(origins: &[HeaderValue]) -> CorsLayer {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
    let sent = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
    ];
    let seen = [
        header::ETAG,
        header::LINK,
        header::LOCATION,
        header::RETRY_AFTER,
        HeaderName::from_static(NEXT_CURSOR),
    ];
    let any = origins.iter().any(|origin| origin == "*");
    let origins = if any { AllowOrigin::any() } else { AllowOrigin::list(origins.to_vec()) };
    CorsLayer::new().allow_origin(origins).allow_methods(methods).allow_headers(sent).expose_headers(seen)
}

/// The API with its description, below its prefix.
pub(crate) fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(document::base()).nest(PREFIX, families())
}

fn families() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(tokens::routes())
        .merge(providers::routes())
        .merge(mfa::routes())
        .merge(passkeys::routes())
        .merge(svids::routes())
        .merge(trust_domains::routes())
        .merge(tenants::routes())
        .merge(signing_keys::routes())
        .merge(principals::routes())
        .merge(api_keys::routes())
        .merge(roles::routes())
        .merge(security_policies::routes())
        .merge(permission_policies::routes())
        .merge(services::routes())
        .merge(microservices::routes())
        .merge(functions::routes())
        .merge(programs::routes())
        .merge(data_files::routes())
        .merge(endpoints::routes())
        .merge(endpoints_deploy::routes())
        .merge(history::routes())
        .merge(storages::routes())
        .merge(active_objects::routes())
        .merge(hierarchy::routes())
        .merge(referrers::routes())
        .merge(choreography::routes())
        .merge(manifests::routes())
        .merge(instances::routes())
        .merge(computations::routes())
        .merge(progress_socket::routes())
        .merge(buckets::routes())
        .merge(objects::routes())
        .merge(object_versions::routes())
        .merge(uploads::routes())
        .merge(object_verification::routes())
        .merge(events::routes())
        .merge(watch::routes())
        .merge(decisions::routes())
        .merge(node::routes())
        .merge(intel::routes())
        .merge(intel_watch::routes())
        .merge(intel_exports::routes())
        .merge(intel_peers::routes())
        .merge(intel_feeds::routes())
        .merge(threat_collections::routes())
        .merge(measures::routes())
        .merge(network::routes())
        .merge(storage_network::routes())
        .merge(packing::routes())
        .merge(elastic::routes())
        .merge(cold_tier::routes())
        .merge(quotas::routes())
}
