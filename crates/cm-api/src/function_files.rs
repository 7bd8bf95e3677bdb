//! What programs and data files of functions share on the wire.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_door::{Caller, confirmed};
use cm_functions::{FileKind, FileView};
use cm_http::etag::Freshness;
use cm_http::{ETag, Failure, Preconditions, Upload};
use cm_kernel::objects::{ObjectInfo, ObjectRead};
use cm_kernel::policy::{Read, Update};
use cm_types::{ResourceKind, Sha256Digest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Api;
use crate::failure::{function_refusal, refusal};
use crate::listing::Listing;
use crate::objects::CONTENT_SHA256;

/// A file that a function's policy names.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FunctionFile {
    /// Its name, as the policy writes it.
    pub name: String,
    /// The digest that the policy demands.
    #[schema(value_type = String)]
    pub sha256: Sha256Digest,
    /// Its length in bytes; `null` as long as it has not been uploaded.
    pub size: Option<u64>,
}

impl From<FileView> for FunctionFile {
    fn from(file: FileView) -> Self {
        Self { name: file.name, sha256: file.expected, size: file.size }
    }
}

impl FunctionFile {
    /// A file that is there, under the name that the request gave it.
    pub(crate) fn stored(name: &str, info: &ObjectInfo) -> Self {
        Self { name: name.to_owned(), sha256: info.sha256, size: Some(info.size) }
    }
}

/// Lists the files of a kind that a function's policy names.
pub(crate) async fn list(
    api: &Api,
    op: &Caller,
    function: &str,
    kind: FileKind,
) -> Result<Listing<FunctionFile>, Failure> {
    let (function, permit) =
        api.kernel.look_up::<Read>(op, ResourceKind::Function, function).await.map_err(refusal)?;
    let files = api.functions.list_files(op, &function, &permit, kind).await.map_err(function_refusal)?;
    Ok(Listing { items: files.into_iter().map(FunctionFile::from).collect(), next: None })
}

/// Takes a file's bytes. Repeating it with the same bytes changes nothing.
pub(crate) async fn write(
    api: Api,
    op: Caller,
    (function, name): (String, String),
    kind: FileKind,
    body: Upload,
) -> Result<Json<FunctionFile>, Failure> {
    let (record, permit) =
        api.kernel.look_up::<Update>(&op, ResourceKind::Function, &function).await.map_err(refusal)?;
    let body = confirmed(body.into_stream(), still_permitted(api.clone(), op.clone(), function));
    let put = api.functions.put_file(&op, &record, &permit, kind, &name, body).await;
    Ok(Json(FunctionFile::stored(&name, &put.map_err(function_refusal)?)))
}

/// Hands a file's bytes out.
pub(crate) async fn read(
    api: &Api,
    op: &Caller,
    (function, name): (String, String),
    kind: FileKind,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let (function, permit) =
        api.kernel.look_up::<Read>(op, ResourceKind::Function, &function).await.map_err(refusal)?;
    let read = api.functions.get_file(op, &function, &permit, kind, &name).await.map_err(function_refusal)?;
    let media_type = match kind {
        FileKind::Program => "application/wasm",
        FileKind::DataFile => "application/octet-stream",
    };
    download(read, media_type, headers)
}

/// Removes a file.
pub(crate) async fn delete(
    api: &Api,
    op: &Caller,
    (function, name): (String, String),
    kind: FileKind,
) -> Result<StatusCode, Failure> {
    let (function, permit) =
        api.kernel.look_up::<Update>(op, ResourceKind::Function, &function).await.map_err(refusal)?;
    match api.functions.delete_file(op, &function, &permit, kind, &name).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Failure::not_found()),
        Err(error) => Err(function_refusal(error)),
    }
}

/// Whether the caller may, when the body has arrived, still change the function.
async fn still_permitted(api: Api, op: Caller, function: String) -> Result<(), Failure> {
    let op = op.again(&api.kernel).await?;
    let kind = ResourceKind::Function;
    api.kernel.look_up::<Update>(&op, kind, &function).await.map(drop).map_err(refusal)
}

/// The bytes of a file, or 304.
fn download(read: ObjectRead, media_type: &'static str, headers: &HeaderMap) -> Result<Response, Failure> {
    let etag = ETag::strong(read.info.etag()).expect("hexadecimal digits make a tag");
    let conditions = Preconditions::from_headers(headers)?;
    if conditions.check_read(&etag)? == Freshness::NotModified {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag.header())]).into_response());
    }
    let digest = HeaderValue::try_from(read.info.sha256.to_string()).map_err(Failure::internal)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_LENGTH, HeaderValue::from(read.info.size)),
        (header::ETAG, etag.header()),
        (CONTENT_SHA256, digest),
    ];
    Ok((headers, Body::from_stream(read.body)).into_response())
}
