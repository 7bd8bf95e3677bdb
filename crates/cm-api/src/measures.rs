//! Measures: what is done about sources and principals that threaten.

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

/// What is done about a network or a principal, and until when. Either of the two is given.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MeasureSpec {
    /// The network, an address or `ADDRESS/BITS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "198.51.100.0/24")]
    pub source: Option<String>,
    /// The id of the principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// `deny`: its requests are refused. `challenge`: only those with a valid credential are served, even where none is asked for
    /// otherwise. `allow`: no other measure concerns it, and reports of it count against whoever makes them.
    #[schema(example = "deny")]
    pub effect: String,
    /// Until when, RFC 3339; for good unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub until: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a measure shows besides: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeasureExtra {}

impl WireSpec for MeasureSpec {
    const KIND: ResourceKind = ResourceKind::Measure;
    type Extra = MeasureExtra;
    const READ_ONLY: &'static [&'static str] = &[];

    fn extra(_: &Record, _: Vec<Part>) -> MeasureExtra {
        MeasureExtra {}
    }
}

record_routes!(
    MeasureRecord = MeasureSpec, MeasureExtra; MeasureBody; "measures", "measure", "/measures", "/measures/{id}",
    list_measures, create_measure, read_measure, change_measure, delete_measure
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_measures, create_measure)).routes(routes!(
        read_measure,
        change_measure,
        delete_measure
    ))
}
