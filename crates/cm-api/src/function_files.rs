//! What programs and data files of functions share on the wire.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_door::Caller;
use cm_functions::FileView;
use cm_http::etag::Freshness;
use cm_http::{ETag, Failure, Preconditions};
use cm_kernel::objects::{ObjectInfo, ObjectRead};
use cm_kernel::policy::Update;
use cm_types::{ResourceKind, Sha256Digest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Api;
use crate::failure::refusal;
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

/// Whether the caller may, when the body has arrived, still change the function.
pub(crate) async fn still_permitted(api: Api, op: Caller, function: String) -> Result<(), Failure> {
    let op = op.again(&api.kernel).await?;
    let kind = ResourceKind::Function;
    api.kernel.look_up::<Update>(&op, kind, &function).await.map(drop).map_err(refusal)
}

/// The bytes of a file, or 304.
pub(crate) fn download(
    read: ObjectRead,
    media_type: &'static str,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
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
