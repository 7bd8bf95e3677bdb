//! Peers with which reports of threats are shared, as operators add them.

use cm_kernel::Part;
use cm_kernel::catalog::Record;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::family::record_routes;
use crate::record::WireSpec;

/// What such a peer is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IntelPeerSpec {
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Host and port.
    #[schema(example = "192.0.2.7:9001")]
    pub address: String,
    /// The key by which it is known on encrypted links, 64 hexadecimal digits. Without one it is spoken to in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What such a peer shows besides: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct IntelPeerExtra {}

impl WireSpec for IntelPeerSpec {
    const KIND: ResourceKind = ResourceKind::IntelPeer;
    type Extra = IntelPeerExtra;
    const READ_ONLY: &'static [&'static str] = &[];

    fn extra(_: &Record, _: Vec<Part>) -> IntelPeerExtra {
        IntelPeerExtra {}
    }
}

record_routes!(
    IntelPeerRecord = IntelPeerSpec, IntelPeerExtra; IntelPeerBody; "intel-peers", "intel-peer", "/intel-peers", "/intel-peers/{id}",
    list_intel_peers, create_intel_peer, read_intel_peer, change_intel_peer, delete_intel_peer
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_intel_peers, create_intel_peer)).routes(routes!(
        read_intel_peer,
        change_intel_peer,
        delete_intel_peer
    ))
}
