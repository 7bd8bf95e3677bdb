//! Versions of objects, in buckets that keep them.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use cm_http::{Failure, Params};
use cm_kernel::OpContext;
use cm_kernel::objects::{Removal, Version, VersionName, VersionQuery};
use cm_kernel::policy::{ActionKind, Delete, Permit, Read};
use cm_types::{BucketName, ObjectKey};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::{object_refusal, refusal};
use crate::listing::{Listing, bad_parameter, page_limit};
use crate::objects::{ObjectListParams, bucket_name, describe, object_key};

/// What is known of a version of an object.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// The key.
    pub key: String,
    /// What the version is called: an id, or `null` if it was written while its bucket kept no versions.
    pub version: String,
    /// Whether it is what its key shows.
    pub is_latest: bool,
    /// Whether it marks a deletion, and has no bytes.
    pub is_delete_marker: bool,
    /// Its length in bytes.
    pub size: u64,
    /// The text of its `ETag`, without quotes; none of a mark.
    pub etag: Option<String>,
    /// When it came to be, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

impl VersionView {
    fn of(version: &Version, is_latest: bool) -> Self {
        let (size, etag) = match version {
            Version::Object(info) => (info.size, Some(info.etag())),
            Version::Marker(_) => (0, None),
        };
        Self {
            key: version.key().to_string(),
            version: version.name().to_string(),
            is_latest,
            is_delete_marker: etag.is_none(),
            size,
            etag,
            created_at: version.created_at().to_string(),
        }
    }
}

/// Which version is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VersionPath {
    /// The bucket.
    pub id: String,
    /// What the version is called.
    pub version: String,
    /// The key; slashes need no escaping.
    pub key: String,
}

/// The version that a path names, and the permit to do that to it. Who may not do it to anything of that key hears nothing of
/// how versions are called.
async fn version_for<A: ActionKind>(
    api: &Api,
    op: &OpContext,
    bucket: &BucketName,
    key: &ObjectKey,
    text: &str,
) -> Result<(VersionName, Permit<A>), Failure> {
    let Some(version) = VersionName::parse(text) else {
        api.kernel.look_up_object::<A>(op, bucket, key).await.map_err(refusal)?;
        return Err(bad_parameter("version", "a version is called by an id, or `null`"));
    };
    let permit = api.kernel.look_up_version::<A>(op, bucket, key, version).await.map_err(refusal)?;
    Ok((version, permit))
}

/// Where a page ended: the version, and then the key, which may contain anything.
fn position(after: &str) -> Result<(String, Option<VersionName>), Failure> {
    let (version, key) =
        after.split_once('/').ok_or_else(|| bad_parameter("after", "it is not from this listing"))?;
    let version =
        VersionName::parse(version).ok_or_else(|| bad_parameter("after", "it is not from this listing"))?;
    Ok((key.to_owned(), Some(version)))
}

#[utoipa::path(
    get, path = "/buckets/{id}/versions", operation_id = "list_object_versions", tag = "objects",
    params(("id" = String, Path, description = "The bucket"), ObjectListParams),
    extensions(("x-permission" = json!("bucket:list"))),
    responses((status = 200, description = "One page of versions, ordered by key, then the newest first", body = Vec<VersionView>))
)]
/// Lists versions of objects.
pub async fn list_object_versions(
    State(api): State<Api>,
    Op(op): Op,
    Path(bucket): Path<String>,
    params: Params<ObjectListParams>,
) -> Result<Listing<VersionView>, Failure> {
    let bucket = bucket_name(bucket)?;
    let permit = api.kernel.look_up_versions(&op, &bucket).await.map_err(refusal)?;
    let params = params.decode()?;
    let query = VersionQuery {
        prefix: params.prefix.unwrap_or_default(),
        delimiter: None,
        after: params.after.as_deref().map(position).transpose()?,
        limit: page_limit(params.limit),
    };
    let page = api.kernel.objects().list_versions(&permit, &bucket, query).await.map_err(object_refusal)?;
    let next = page.next.map(|(key, version)| format!("{}/{key}", version.unwrap_or(VersionName::Null)));
    Ok(Listing {
        items: page.items.iter().map(|(version, latest)| VersionView::of(version, *latest)).collect(),
        next,
    })
}

#[utoipa::path(
    get, path = "/buckets/{id}/versions/{version}/{*key}", operation_id = "read_object_version", tag = "objects",
    params(VersionPath),
    extensions(("x-permission" = json!("object:read"))),
    responses((status = 200, description = "The bytes; `x-content-sha256` is their digest", content_type = "application/octet-stream", body = Vec<u8>))
)]
/// Reads a version of an object.
pub async fn read_object_version(
    State(api): State<Api>,
    Op(op): Op,
    Path(path): Path<VersionPath>,
) -> Result<Response, Failure> {
    let (bucket, key) = (bucket_name(path.id)?, object_key(path.key)?);
    let (version, permit) = version_for::<Read>(&api, &op, &bucket, &key, &path.version).await?;
    let read = api.kernel.objects().get_version(&permit, &bucket, &key, Some(version), None).await;
    let read = read.map_err(object_refusal)?;
    let mut answer = Response::new(Body::empty());
    *answer.headers_mut() = describe(&read.info);
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(read.info.size));
    *answer.body_mut() = Body::from_stream(read.body);
    Ok(answer)
}

#[utoipa::path(
    delete, path = "/buckets/{id}/versions/{version}/{*key}", operation_id = "delete_object_version", tag = "objects",
    params(VersionPath),
    extensions(("x-permission" = json!("object:delete"))),
    responses(
        (status = 204, description = "It is gone; if its key showed it, the key shows what was there before"),
        (status = 409, description = "The version is locked", body = ErrorBody),
    )
)]
/// Removes a version of an object for good.
pub async fn delete_object_version(
    State(api): State<Api>,
    Op(op): Op,
    Path(path): Path<VersionPath>,
) -> Result<StatusCode, Failure> {
    let (bucket, key) = (bucket_name(path.id)?, object_key(path.key)?);
    let (version, permit) = version_for::<Delete>(&api, &op, &bucket, &key, &path.version).await?;
    let removal = Removal { version: Some(version), ..Removal::default() };
    let removed =
        api.kernel.objects().remove(&permit, &bucket, &key, removal, Some(op.request.clone())).await;
    removed.map_err(object_refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_object_versions))
        .routes(routes!(read_object_version, delete_object_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_a_version_of_any_key() {
        let found = position("null/a/b").unwrap();
        assert_eq!(found, ("a/b".to_owned(), Some(VersionName::Null)));
        assert!(position("a/b").is_err() && position("null").is_err());
    }
}
