//! TAXII 2.1 (OASIS Standard, 10 June 2021): threat intelligence for platforms that fetch and bring STIX.
//!
//! | address below `/taxii2` | what it is |
//! | --- | --- |
//! | `/` | discovery |
//! | `/cryptomesh/` | the one API root |
//! | `/cryptomesh/collections/`, `…/{id}/` | what the caller may see |
//! | `…/{id}/objects/`, `…/objects/{object}/`, `…/versions/`, `…/manifest/` | STIX objects, page by page |
//! | `/cryptomesh/status/{id}/` | what became of what was put in |
//!
//! **Collections** are records of the catalogue, of the kind `threat-collection`: who may read one may take objects out, who may change it may put them
//! in and delete them. Their objects are on a [shelf](cm_intel::shelf). One collection is always there, `events`: the node's own
//! view of the mesh, in which whoever may list threat events finds them as indicators, identities and sightings, and into which whoever may report some may put signed ones.
//!
//! **Time.** `date_added` is in microseconds, rises with every object and is never given twice, so that a page's last one is where the next begins, whatever is
//! put in meanwhile.
//!
//! **Callers** present a bearer token, or by HTTP Basic a name and password, or any name and an API key (`basic`).
//!
//! What a filter does not know is refused, not ignored: an answer to half a question looks like one to all of it.

mod answer;
mod basic;
mod collections;
mod events;
mod media;
mod objects;
mod params;
mod posting;
mod shape;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use cm_door::Gate;
use cm_http::frame::{unknown_method, unknown_route};
use cm_http::{RequestLimits, frame};
use cm_intel::Intel;
use cm_kernel::{Access, Kernel};
use tower::ServiceExt;

use basic::Basic;
use events::Feed;

pub use params::{Filter, InvalidFilter, parse as parse_filters};

/// Where it begins.
pub const PREFIX: &str = "/taxii2";
/// Longest body that is taken, in bytes.
pub const CONTENT_LENGTH_MAX: usize = 8 << 20;
/// Most objects of one body.
pub const OBJECTS_MAX: usize = 10_000;

/// The engines behind it. Cheap to clone.
#[derive(Clone)]
pub struct Taxii(Arc<Parts>);

struct Parts {
    kernel: Kernel,
    intel: Intel,
    access: Access,
    basic: Basic,
    feed: Feed,
}

impl Taxii {
    /// A server over these engines.
    pub fn new(kernel: Kernel, intel: Intel, access: Access) -> Self {
        Self(Arc::new(Parts { kernel, intel, access, basic: Basic::default(), feed: Feed::default() }))
    }

    fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    fn intel(&self) -> &Intel {
        &self.0.intel
    }
}

/// All routes, with their frame.
pub fn router(taxii: Taxii, limits: RequestLimits) -> Router {
    let tasks = taxii.kernel().tasks().clone();
    let gate = Gate::new(taxii.0.kernel.clone(), taxii.0.access.clone());
    let mut routes = Router::new();
    // The specification writes all addresses with a slash at the end; some clients do not.
    for end in ["", "/"] {
        let at = |path: &str| format!("{PREFIX}{path}{end}");
        routes = routes
            .route(&at(""), get(collections::discovery))
            .route(&at("/cryptomesh"), get(collections::root))
            .route(&at("/cryptomesh/status/{status}"), get(posting::status))
            .route(&at("/cryptomesh/collections"), get(collections::list))
            .route(&at("/cryptomesh/collections/{collection}"), get(collections::read))
            .route(&at("/cryptomesh/collections/{collection}/manifest"), get(objects::manifest))
            .route(&at("/cryptomesh/collections/{collection}/objects"), get(objects::list).post(posting::add))
            .route(
                &at("/cryptomesh/collections/{collection}/objects/{object}"),
                get(objects::read).delete(objects::delete),
            )
            .route(
                &at("/cryptomesh/collections/{collection}/objects/{object}/versions"),
                get(objects::versions),
            );
    }
    let routes = routes
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn(media::acceptable))
        .layer(middleware::from_fn_with_state(gate, cm_door::authenticate))
        .layer(middleware::from_fn_with_state(taxii.clone(), basic::exchanged))
        .with_state(taxii);
    frame(routes, limits, shape::shape, &tasks)
}

/// The server at [`PREFIX`], and everything else as `others` answers it.
pub fn beside(taxii: Taxii, others: Router, limits: RequestLimits) -> Router {
    // Not by routes: what an outer route takes out of an address, an inner one would find there too.
    Router::new().fallback(split).with_state((router(taxii, limits), others))
}

async fn split(State((own, others)): State<(Router, Router)>, request: Request) -> Response {
    let rest = request.uri().path().strip_prefix(PREFIX);
    let is_own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let answered = if is_own { own.oneshot(request) } else { others.oneshot(request) };
    answered.await.unwrap_or_else(|never| match never {})
}
