//! Buckets: containers of objects.

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
use crate::parts::SecurityPolicyChoice;
use crate::record::WireSpec;

/// What a bucket is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BucketSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The security policy that guards it and its objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecurityPolicyChoice>)]
    pub security_policy: Option<Value>,
}

/// What a bucket shows besides: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct BucketExtra {}

impl WireSpec for BucketSpec {
    const KIND: ResourceKind = ResourceKind::Bucket;
    type Extra = BucketExtra;
    const READ_ONLY: &'static [&'static str] = &[];

    fn extra(_: &Record, _: Vec<Part>) -> BucketExtra {
        BucketExtra {}
    }
}

record_routes!(
    BucketRecord = BucketSpec, BucketExtra; BucketBody; "buckets", "bucket", "/buckets", "/buckets/{id}",
    list_buckets, create_bucket, read_bucket, change_bucket, delete_bucket
);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_buckets, create_bucket)).routes(routes!(
        read_bucket,
        change_bucket,
        delete_bucket
    ))
}
