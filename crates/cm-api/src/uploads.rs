//! Uploads in parts: what is interrupted goes on with the parts that are missing.
//!
//! An upload is begun for a key, takes parts in any order and several at once, and is completed to an object or aborted. Its parts
//! are seen by nobody who may not write that key. One that nobody completes is taken back when it expires.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_door::confirmed;
use cm_http::{Deadline, Failure, JsonBody, Params, Upload};
use cm_kernel::OpContext;
use cm_kernel::objects::{
    Completion, Contents, NewPart, NewUpload, Objects, PART_NUMBER_MAX, PartInfo, UploadInfo, UploadRef,
};
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{Permit, Update};
use cm_types::{BucketName, ObjectKey, ResourceKind, Sha256Digest};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::{object_refusal, refusal};
use crate::listing::{Listing, bad_parameter, page_limit};
use crate::objects::{
    ObjectListParams, ObjectView, bucket_name, conditions, expected_sha256, metadata, object_key, written,
};

/// An upload that is under way.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UploadView {
    /// Names it.
    pub id: String,
    /// The key of the object that it is going to be.
    pub key: String,
    /// Who began it, if that is known.
    pub owner: Option<String>,
    /// When it was begun, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// When it is taken back if nobody has completed it, RFC 3339.
    #[schema(format = "date-time")]
    pub expires_at: String,
}

impl UploadView {
    fn of(objects: &Objects, info: UploadInfo) -> Self {
        Self {
            id: info.upload.id.to_string(),
            key: info.upload.key.to_string(),
            owner: info.owner.map(|owner| owner.to_string()),
            created_at: info.created_at.to_string(),
            expires_at: objects.upload_expires_at(info.created_at).to_string(),
        }
    }
}

/// A part of an upload, durable.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PartView {
    /// Its number; the object is made of the parts in the order of their numbers.
    pub number: u16,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes.
    #[schema(value_type = String)]
    pub sha256: Sha256Digest,
    /// What tells it apart from others of its number; completing the upload names it.
    pub etag: String,
    /// When it was uploaded, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

impl From<PartInfo> for PartView {
    fn from(info: PartInfo) -> Self {
        Self {
            number: info.number,
            size: info.size,
            sha256: info.sha256,
            etag: info.tag,
            created_at: info.created_at.to_string(),
        }
    }
}

/// What an upload is to become.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct NewUploadParams {
    /// The key of the object.
    pub key: String,
}

/// Which part is sent.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PartParams {
    /// Its number, 1 to 10000. A part of the same number is replaced.
    #[param(minimum = 1, maximum = 10000)]
    pub part: u16,
}

/// Which parts are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PartListParams {
    /// The most parts to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Where to begin: the `Next-Cursor` of the page before, the number of its last part.
    pub after: Option<u16>,
}

/// Which upload is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct UploadPath {
    /// The bucket.
    pub id: String,
    /// The upload.
    pub upload: String,
    /// The key that it was begun for; slashes need no escaping.
    pub key: String,
}

/// Of which parts the object is made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionBody {
    /// The parts in the order of their numbers, up to 10000; each but the last has at least 5 MiB.
    pub parts: Vec<PartName>,
    /// The digest that the whole object must have.
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Sha256Digest>,
}

/// A part as its upload was answered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartName {
    /// Its number.
    pub number: u16,
    /// Its tag.
    pub etag: String,
}

/// The upload that a path names, and the permit to use it so. Who may not hears nothing of uploads.
async fn upload_for(
    api: &Api,
    op: &OpContext,
    path: UploadPath,
    used: Use,
) -> Result<(UploadRef, Permit<Update>), Failure> {
    let (bucket, key) = (bucket_name(path.id)?, object_key(path.key)?);
    let permit = api.kernel.look_up_upload(op, &bucket, &key, used).await.map_err(refusal)?;
    let id = Uuid::try_parse(&path.upload).map_err(|_| Failure::not_found())?;
    Ok((UploadRef { bucket, key, id }, permit))
}

#[utoipa::path(
    post, path = "/buckets/{id}/uploads", operation_id = "begin_upload", tag = "objects",
    params(
        ("id" = String, Path, description = "The bucket"),
        NewUploadParams,
        ("Content-Type" = Option<String>, Header, description = "The media type of the object"),
    ),
    extensions(("x-permission" = json!("object:update"))),
    responses(
        (status = 201, description = "It is under way; nothing is visible until it is completed", body = UploadView),
        (status = 429, description = "Too many uploads are under way in the bucket", body = ErrorBody),
    )
)]
/// Begins an upload in parts. Free metadata of the object are headers, as when an object is written at once.
pub async fn begin_upload(
    State(api): State<Api>,
    Op(op): Op,
    Path(bucket): Path<String>,
    params: Params<NewUploadParams>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let bucket = bucket_name(bucket)?;
    let key = match params.decode() {
        Ok(params) => ObjectKey::parse(params.key).map_err(|error| bad_parameter("key", &error.to_string())),
        Err(failure) => Err(failure),
    };
    // Who may write nothing hears nothing of keys either.
    let key = match key {
        Ok(key) => key,
        Err(failure) => {
            api.kernel.authorize::<Update>(&op, ResourceKind::Object).await.map_err(refusal)?;
            return Err(failure);
        }
    };
    let permit = api.kernel.look_up_object::<Update>(&op, &bucket, &key).await.map_err(refusal)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let new = NewUpload {
        content_type: content_type.map(str::to_owned),
        metadata: metadata(&headers)?,
        ..NewUpload::default()
    };
    let objects = api.kernel.objects();
    let begun = objects.begin_upload(&permit, &bucket, &key, new).await.map_err(object_refusal)?;
    Ok((StatusCode::CREATED, Json(UploadView::of(objects, begun))).into_response())
}

#[utoipa::path(
    get, path = "/buckets/{id}/uploads", operation_id = "list_uploads", tag = "objects",
    params(("id" = String, Path, description = "The bucket"), ObjectListParams),
    extensions(("x-permission" = json!("bucket:list"))),
    responses((status = 200, description = "One page of uploads that are under way, ordered by key", body = Vec<UploadView>))
)]
/// Lists the uploads that are under way in a bucket.
pub async fn list_uploads(
    State(api): State<Api>,
    Op(op): Op,
    Path(bucket): Path<String>,
    params: Params<ObjectListParams>,
) -> Result<Listing<UploadView>, Failure> {
    let bucket = bucket_name(bucket)?;
    let permit = api.kernel.look_up_uploads(&op, &bucket).await.map_err(refusal)?;
    let params = params.decode()?;
    let after = params.after.as_deref().map(position).transpose()?;
    let (prefix, limit) = (params.prefix.unwrap_or_default(), page_limit(params.limit));
    let objects = api.kernel.objects();
    let page = objects.list_uploads(&permit, &bucket, prefix, after, limit).await.map_err(object_refusal)?;
    let last = page.items.last().filter(|_| page.more);
    let next = last.map(|info| format!("{}/{}", info.upload.id, info.upload.key));
    Ok(Listing { items: page.items.into_iter().map(|info| UploadView::of(objects, info)).collect(), next })
}

/// Where a page ended: the upload, and then the key, which may contain anything.
fn position(after: &str) -> Result<(String, Option<Uuid>), Failure> {
    let found = after.split_once('/').and_then(|(id, key)| Some((key, Uuid::try_parse(id).ok()?)));
    let (key, id) = found.ok_or_else(|| bad_parameter("after", "it is not from this listing"))?;
    Ok((key.to_owned(), Some(id)))
}

#[utoipa::path(
    get, path = "/buckets/{id}/uploads/{upload}/{*key}", operation_id = "list_upload_parts", tag = "objects",
    params(UploadPath, PartListParams),
    extensions(("x-permission" = json!("object:update"))),
    responses((status = 200, description = "One page of the parts that are there, by number", body = Vec<PartView>))
)]
/// Lists the parts of an upload.
pub async fn list_upload_parts(
    State(api): State<Api>,
    Op(op): Op,
    Path(path): Path<UploadPath>,
    params: Params<PartListParams>,
) -> Result<Listing<PartView>, Failure> {
    let (upload, permit) = upload_for(&api, &op, path, Use::ListMultipartUploadParts).await?;
    let params = params.decode()?;
    let (after, limit) = (params.after.unwrap_or(0), page_limit(params.limit));
    let listed = api.kernel.objects().list_parts(&permit, &upload, after, limit).await;
    let (_, parts, more) = listed.map_err(object_refusal)?;
    let next = parts.last().filter(|_| more).map(|part| part.number.to_string());
    Ok(Listing { items: parts.into_iter().map(PartView::from).collect(), next })
}

#[utoipa::path(
    put, path = "/buckets/{id}/uploads/{upload}/{*key}", operation_id = "write_upload_part", tag = "objects",
    params(
        UploadPath,
        PartParams,
        ("x-expected-sha256" = Option<String>, Header, description = "The digest that the body must have"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The bytes of the part"),
    extensions(("x-permission" = json!("object:update"))),
    responses(
        (status = 200, description = "The part is durable", body = PartView),
        (status = 422, description = "The body has another digest than expected", body = ErrorBody),
    )
)]
/// Sends a part of an upload, or replaces it.
pub async fn write_upload_part(
    State(api): State<Api>,
    Op(op): Op,
    Path(path): Path<UploadPath>,
    params: Params<PartParams>,
    body: Upload,
) -> Result<Json<PartView>, Failure> {
    let (upload, permit) = upload_for(&api, &op, path, Use::PutObject).await?;
    let number = params.decode()?.part;
    if !(1..=PART_NUMBER_MAX).contains(&number) {
        return Err(bad_parameter("part", "a part has a number from 1 to 10000"));
    }
    let new = NewPart { expected_sha256: expected_sha256(body.headers())?, ..NewPart::default() };
    let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
    let body = confirmed(body.into_stream(), still_permitted(&api, op, &bucket, &key));
    let part = api.kernel.objects().put_part(&permit, &upload, number, new, body).await;
    Ok(Json(part.map_err(object_refusal)?.into()))
}

/// Whether the caller may still write that key, now that all of a body is there.
async fn still_permitted(
    api: &Api,
    op: cm_door::Caller,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<(), Failure> {
    let op = op.again(&api.kernel).await?;
    api.kernel.look_up_object::<Update>(&op, bucket, key).await.map(drop).map_err(refusal)
}

#[utoipa::path(
    post, path = "/buckets/{id}/uploads/{upload}/{*key}", operation_id = "complete_upload", tag = "objects",
    params(
        UploadPath,
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such object. Tags: only if the object has none of them"),
        ("If-Match" = Option<String>, Header, description = "Only if the object has one of these tags; `*`: if there is one"),
    ),
    request_body = CompletionBody,
    extensions(("x-permission" = json!("object:update"))),
    responses(
        (status = 200, description = "The object is durable and visible, and the upload has ended", body = ObjectView),
        (status = 412, description = "A condition does not hold; the upload goes on", body = ErrorBody),
        (status = 422, description = "The parts do not make such an object; the upload goes on", body = ErrorBody),
    )
)]
/// Makes an object of parts. Every part is read and verified, so this takes as long as reading the object does. Asked again with the same
/// parts, while the object is the current one, it answers as before: the first answer may have been lost.
pub async fn complete_upload(
    State(api): State<Api>,
    Op(op): Op,
    Path(path): Path<UploadPath>,
    headers: HeaderMap,
    deadline: Deadline,
    body: JsonBody<CompletionBody>,
) -> Result<Response, Failure> {
    let (upload, _) = upload_for(&api, &op, path, Use::PutObject).await?;
    let conditions = conditions(&headers)?;
    let body = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
    let permit = api.kernel.look_up_object::<Update>(&op, &bucket, &key).await.map_err(refusal)?;
    let completion = Completion {
        parts: body.parts.into_iter().map(|part| (part.number, part.etag)).collect(),
        conditions,
        expected_sha256: body.sha256,
        request: Some(op.request.clone()),
        ..Completion::default()
    };
    deadline.lift();
    let again = api.clone();
    let still = async move { still_permitted(&again, op, &bucket, &key).await };
    let through = |contents: Contents| confirmed(contents, still).boxed();
    let completed = api.kernel.objects().complete_upload(&permit, &upload, completion, through).await;
    completed.map(written).map_err(object_refusal)
}

#[utoipa::path(
    delete, path = "/buckets/{id}/uploads/{upload}/{*key}", operation_id = "abort_upload", tag = "objects",
    params(UploadPath),
    extensions(("x-permission" = json!("object:update"))),
    responses((status = 204, description = "It has ended, and its parts are taken back"))
)]
/// Ends an upload without an object.
pub async fn abort_upload(
    State(api): State<Api>,
    Op(op): Op,
    Path(path): Path<UploadPath>,
) -> Result<StatusCode, Failure> {
    let (upload, permit) = upload_for(&api, &op, path, Use::AbortMultipartUpload).await?;
    api.kernel.objects().abort_upload(&permit, &upload).await.map_err(object_refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(begin_upload, list_uploads)).routes(routes!(
        list_upload_parts,
        write_upload_part,
        complete_upload,
        abort_upload
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_an_upload_of_any_key() {
        let id = Uuid::from_u128(7);
        assert_eq!(position(&format!("{id}/a/b")).unwrap(), ("a/b".to_owned(), Some(id)));
        assert!(position("a/b").is_err() && position(&id.to_string()).is_err());
    }
}
