//! Whether every stored object is what was written.

use axum::extract::State;
use axum::{Extension, Json};
use cm_http::{Deadline, Failure};
use cm_kernel::objects::Damage;
use cm_kernel::policy::List;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;
use crate::verifications::Verifications;

/// What came of reading and checking the stored objects of the caller's tenant, or of all tenants for who may list those.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ObjectVerification {
    /// Whether every object is as it was written.
    pub intact: bool,
    /// How many objects were checked.
    pub objects: u64,
    /// How many chunks were checked, as often as objects use them.
    pub chunks: u64,
    /// How many bytes were found good.
    pub bytes: u64,
    /// How many places are damaged; the first hundred are described.
    pub damaged: u64,
    /// The damaged places.
    pub findings: Vec<DamagedPlace>,
}

/// One place where an object is not what was written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DamagedPlace {
    /// The tenant of the object.
    pub tenant: String,
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Which chunk, counted from zero; `null` if it is the list of chunks.
    pub chunk: Option<u64>,
    /// The digest that it should have.
    pub digest: String,
    /// What is wrong, for people.
    pub flaw: String,
}

impl From<Damage> for DamagedPlace {
    fn from(damage: Damage) -> Self {
        Self {
            tenant: damage.tenant.to_string(),
            bucket: damage.bucket.to_string(),
            key: damage.key.to_string(),
            chunk: damage.chunk,
            digest: damage.digest.to_string(),
            flaw: damage.flaw.to_string(),
        }
    }
}

#[utoipa::path(
    post, path = "/objects/verify", operation_id = "verify_objects", tag = "objects",
    extensions(("x-permission" = json!("object:list"))),
    responses(
        (status = 200, description = "What came of it, also when something is wrong", body = ObjectVerification),
        (status = 429, description = "Another verification is under way", body = ErrorBody),
    )
)]
/// Reads and checks every stored object of the caller's tenant; of all tenants, for who may list those.
pub async fn verify_objects(
    State(api): State<Api>,
    Op(op): Op,
    Extension(verifications): Extension<Verifications>,
    deadline: Deadline,
) -> Result<Json<ObjectVerification>, Failure> {
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Object).await.map_err(refusal)?;
    let _turn = verifications.objects()?;
    deadline.lift();
    let (totals, damages) = api.kernel.verify_objects(&op, &permit).await.map_err(refusal)?;
    Ok(Json(ObjectVerification {
        intact: totals.damaged == 0,
        objects: totals.objects,
        chunks: totals.chunks,
        bytes: totals.bytes,
        damaged: totals.damaged,
        findings: damages.into_iter().map(DamagedPlace::from).collect(),
    }))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(verify_objects))
}
