//! Objects: bytes of any size, streamed both ways and verified on the way.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_door::{Caller, confirmed};
use cm_http::etag::{Freshness, Tags};
use cm_http::{ETag, Failure, Params, Preconditions, RangeRequest, Upload};
use cm_kernel::objects::{
    ByteRange, Condition, DeleteObject, ListQuery, NewObject, ObjectInfo, ObjectRead, PutAction,
};
use cm_kernel::policy::{Create, Delete, List, Permit, Read, Update};
use cm_types::{BucketName, ObjectKey, ResourceKind, Sha256Digest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::{object_refusal, refusal};
use crate::listing::{Listing, bad_parameter, cursor, page_limit};

/// The digest of the whole object, 64 hexadecimal digits, in answers.
pub const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-content-sha256");
/// The digest that an upload must have.
pub const EXPECTED_SHA256: HeaderName = HeaderName::from_static("x-expected-sha256");
/// Begins the names of headers that carry an object's free metadata.
pub const METADATA_PREFIX: &str = "x-object-meta-";

const OCTET_STREAM: &str = "application/octet-stream";

/// What is known of an object.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ObjectView {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes.
    #[schema(value_type = String)]
    pub sha256: Sha256Digest,
    /// The text of its `ETag`, without quotes.
    pub etag: String,
    /// Names this version of it.
    pub version: String,
    /// Its media type, as its writer said.
    pub content_type: Option<String>,
    /// Free pairs of names and values.
    pub metadata: BTreeMap<String, String>,
    /// When this version became visible, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

impl From<ObjectInfo> for ObjectView {
    fn from(info: ObjectInfo) -> Self {
        let etag = info.etag();
        Self {
            key: info.key.to_string(),
            size: info.size,
            sha256: info.sha256,
            etag,
            version: info.version.to_string(),
            content_type: info.content_type,
            metadata: info.metadata,
            created_at: info.created_at.to_string(),
        }
    }
}

/// Which part of a bucket is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ObjectListParams {
    /// Only keys that begin so.
    pub prefix: Option<String>,
    /// The most objects to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Where to begin: `next` of the page before.
    pub after: Option<String>,
}

#[utoipa::path(
    get, path = "/buckets/{id}/objects", operation_id = "list_objects", tag = "objects",
    params(("id" = String, Path, description = "The bucket"), ObjectListParams),
    extensions(("x-permission" = json!("bucket:list"))),
    responses((status = 200, description = "One page of the bucket's objects, ordered by key", body = Vec<ObjectView>))
)]
/// Lists objects.
pub async fn list_objects(
    State(api): State<Api>,
    Op(op): Op,
    Path(bucket): Path<String>,
    params: Params<ObjectListParams>,
) -> Result<Listing<ObjectView>, Failure> {
    let bucket = bucket_name(bucket)?;
    let (_, permit) =
        api.kernel.look_up::<List>(&op, ResourceKind::Bucket, bucket.as_str()).await.map_err(refusal)?;
    let params = params.decode()?;
    let query = ListQuery {
        prefix: params.prefix.unwrap_or_default(),
        after: cursor(params.after),
        limit: page_limit(params.limit),
        ..ListQuery::default()
    };
    let page = api.kernel.objects().list(&permit, &bucket, query).await.map_err(object_refusal)?;
    Ok(Listing {
        items: page.items.into_iter().map(ObjectView::from).collect(),
        next: page.next.map(|cursor| cursor.0),
    })
}

#[utoipa::path(
    put, path = "/buckets/{id}/objects/{*key}", operation_id = "write_object", tag = "objects",
    params(
        ("id" = String, Path, description = "The bucket"),
        ("key" = String, Path, description = "The key; slashes need no escaping"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such object; asks for `object:create`. Tags: only if the object has none of them"),
        ("If-Match" = Option<String>, Header, description = "Only if the object has one of these tags; `*`: if there is one"),
        ("x-expected-sha256" = Option<String>, Header, description = "The digest that the body must have"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The bytes, of any media type"),
    extensions(("x-permission" = json!("object:update"))),
    responses(
        (status = 200, description = "Durable and visible", body = ObjectView),
        (status = 412, description = "A condition does not hold", body = ErrorBody),
        (status = 422, description = "The body has another digest than expected", body = ErrorBody),
    )
)]
/// Writes an object: all of it, or nothing.
pub async fn write_object(
    State(api): State<Api>,
    Op(op): Op,
    Path((bucket, key)): Path<(String, String)>,
    body: Upload,
) -> Result<Response, Failure> {
    let (bucket, key) = (bucket_name(bucket)?, object_key(key)?);
    // A condition that is not understood must not decide which permission is asked for, hence the fallback.
    let conditions = Preconditions::from_headers(body.headers());
    match conditions.as_ref().is_ok_and(Preconditions::only_if_absent) {
        true => write::<Create>(api, op, bucket, key, body).await,
        false => write::<Update>(api, op, bucket, key, body).await,
    }
}

async fn write<A: PutAction>(
    api: Api,
    op: Caller,
    bucket: BucketName,
    key: ObjectKey,
    body: Upload,
) -> Result<Response, Failure> {
    let permit = api.kernel.look_up_object::<A>(&op, &bucket, &key).await.map_err(refusal)?;
    let conditions = conditions(body.headers())?;
    let new = new_object(&op, &body)?;
    let still_permitted = async {
        let op = op.again(&api.kernel).await?;
        api.kernel.look_up_object::<A>(&op, &bucket, &key).await.map(drop).map_err(refusal)
    };
    let body = confirmed(body.into_stream(), still_permitted);
    let put = api.kernel.objects().put_if(&permit, &bucket, &key, new, conditions, body).await;
    put.map(written).map_err(object_refusal)
}

/// What the headers demand of the object. The engine judges it in the transaction of the change.
pub(crate) fn conditions(headers: &HeaderMap) -> Result<Vec<Condition>, Failure> {
    let preconditions = Preconditions::from_headers(headers)?;
    let if_match = preconditions.if_match().map(|tags| match tags {
        Tags::Any => Condition::Present,
        Tags::These { strong, .. } => Condition::OneOf(strong.clone()),
    });
    let if_none_match = preconditions.if_none_match().map(|tags| match tags {
        Tags::Any => Condition::Absent,
        Tags::These { strong, weak } => Condition::NoneOf([&strong[..], weak].concat()),
    });
    Ok(if_match.into_iter().chain(if_none_match).collect())
}

pub(crate) fn written(info: ObjectInfo) -> Response {
    let headers = [(header::ETAG, etag(&info).header()), (CONTENT_SHA256, digest(&info))];
    (headers, Json(ObjectView::from(info))).into_response()
}

#[utoipa::path(
    get, path = "/buckets/{id}/objects/{*key}", operation_id = "read_object", tag = "objects",
    params(
        ("id" = String, Path, description = "The bucket"),
        ("key" = String, Path, description = "The key"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    extensions(("x-permission" = json!("object:read"))),
    responses(
        (status = 200, description = "The bytes; `x-content-sha256` is the digest of all of them", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, description = "The bytes of the range", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 304, description = "The version named by `If-None-Match`"),
        (status = 416, description = "No byte lies in the range", body = ErrorBody),
    )
)]
/// Reads an object, or a range of it.
pub async fn read_object(
    State(api): State<Api>,
    Op(op): Op,
    Path((bucket, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let (bucket, key) = (bucket_name(bucket)?, object_key(key)?);
    let permit = api.kernel.look_up_object::<Read>(&op, &bucket, &key).await.map_err(refusal)?;
    let conditions = Preconditions::from_headers(&headers)?;
    let wanted = wanted(&api, &permit, &bucket, &key, &headers, &conditions).await?;
    let (read, is_part) = open(&api, &permit, &bucket, &key, &headers, wanted).await?;
    let etag = etag(&read.info);
    if conditions.check_read(&etag)? == Freshness::NotModified {
        return Ok(not_modified(&etag));
    }
    let mut answer = Response::new(Body::empty());
    *answer.headers_mut() = describe(&read.info);
    let length = read.range.end - read.range.start;
    if is_part {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {}-{}/{}", read.range.start, read.range.end - 1, read.info.size);
        answer.headers_mut().insert(header::CONTENT_RANGE, text_header(part));
    }
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *answer.body_mut() = Body::from_stream(read.body);
    Ok(answer)
}

/// The part that the headers ask for; all of it if the request has no range, or names another version, or is not
/// going to be answered with bytes. Conditions are judged before the range is, as RFC 9110, section 13.2.2, demands.
async fn wanted(
    api: &Api,
    permit: &Permit<Read>,
    bucket: &BucketName,
    key: &ObjectKey,
    headers: &HeaderMap,
    conditions: &Preconditions,
) -> Result<Option<ByteRange>, Failure> {
    if !headers.contains_key(header::RANGE) {
        return Ok(None);
    }
    let info = api.kernel.objects().head(permit, bucket, key).await.map_err(object_refusal)?;
    let etag = etag(&info);
    match conditions.check_read(&etag)? {
        Freshness::NotModified => Ok(None),
        Freshness::Send => Ok(engine_range(RangeRequest::from_headers(headers, &etag))),
    }
}

/// Opens that part, and says whether it is one. The size and the tag are those of the version that is opened: if it
/// has come since the part was chosen, the client is given all of it in case that it has parts of another.
async fn open(
    api: &Api,
    permit: &Permit<Read>,
    bucket: &BucketName,
    key: &ObjectKey,
    headers: &HeaderMap,
    range: Option<ByteRange>,
) -> Result<(ObjectRead, bool), Failure> {
    let objects = api.kernel.objects();
    let read = objects.get(permit, bucket, key, range).await.map_err(object_refusal)?;
    let is_stale = RangeRequest::from_headers(headers, &etag(&read.info)) == RangeRequest::Whole;
    match range {
        Some(_) if is_stale => {
            let whole = objects.get(permit, bucket, key, None).await.map_err(object_refusal)?;
            Ok((whole, false))
        }
        range => Ok((read, range.is_some())),
    }
}

fn not_modified(etag: &ETag) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, etag.header())]).into_response()
}

#[utoipa::path(
    head, path = "/buckets/{id}/objects/{*key}", operation_id = "describe_object", tag = "objects",
    params(("id" = String, Path, description = "The bucket"), ("key" = String, Path, description = "The key")),
    extensions(("x-permission" = json!("object:read"))),
    responses(
        (status = 200, description = "The headers of a read"),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Describes an object in headers.
pub async fn describe_object(
    State(api): State<Api>,
    Op(op): Op,
    Path((bucket, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let (bucket, key) = (bucket_name(bucket)?, object_key(key)?);
    let permit = api.kernel.look_up_object::<Read>(&op, &bucket, &key).await.map_err(refusal)?;
    let conditions = Preconditions::from_headers(&headers)?;
    let info = api.kernel.objects().head(&permit, &bucket, &key).await.map_err(object_refusal)?;
    if conditions.check_read(&etag(&info))? == Freshness::NotModified {
        return Ok(not_modified(&etag(&info)));
    }
    let mut headers = describe(&info);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(info.size));
    Ok((headers, Body::empty()).into_response())
}

#[utoipa::path(
    delete, path = "/buckets/{id}/objects/{*key}", operation_id = "delete_object", tag = "objects",
    params(
        ("id" = String, Path, description = "The bucket"),
        ("key" = String, Path, description = "The key"),
        ("If-Match" = Option<String>, Header, description = "Only if the object has one of these tags; `*`: if there is one"),
    ),
    extensions(("x-permission" = json!("object:delete"))),
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "A condition does not hold", body = ErrorBody),
    )
)]
/// Removes an object.
pub async fn delete_object(
    State(api): State<Api>,
    Op(op): Op,
    Path((bucket, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let (bucket, key) = (bucket_name(bucket)?, object_key(key)?);
    let permit = api.kernel.look_up_object::<Delete>(&op, &bucket, &key).await.map_err(refusal)?;
    let deletion = DeleteObject { if_match: None, request: Some(op.request.clone()) };
    let conditions = conditions(&headers)?;
    let deleted = api.kernel.objects().delete_if(&permit, &bucket, &key, deletion, conditions).await;
    deleted.map_err(object_refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

fn new_object(op: &cm_kernel::OpContext, body: &Upload) -> Result<NewObject, Failure> {
    let headers = body.headers();
    Ok(NewObject {
        content_type: body.content_type().map(str::to_owned),
        metadata: metadata(headers)?,
        expected_sha256: expected_sha256(headers)?,
        request: Some(op.request.clone()),
        ..NewObject::default()
    })
}

/// The digest that the headers say the body must have.
pub(crate) fn expected_sha256(headers: &HeaderMap) -> Result<Option<Sha256Digest>, Failure> {
    let expected = headers.get(EXPECTED_SHA256).map(|value| {
        let text = value.to_str().unwrap_or_default();
        text.parse().map_err(|error: cm_types::digest::InvalidDigest| {
            bad_parameter(EXPECTED_SHA256.as_str(), &error.to_string())
        })
    });
    expected.transpose()
}

pub(crate) fn metadata(headers: &HeaderMap) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    for (name, value) in headers {
        if let Some(pair) = name.as_str().strip_prefix(METADATA_PREFIX) {
            let value = value.to_str().map_err(|error| bad_parameter(name.as_str(), &error.to_string()))?;
            pairs.insert(pair.to_owned(), value.to_owned());
        }
    }
    Ok(pairs)
}

pub(crate) fn describe(info: &ObjectInfo) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let media_type = info.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static(OCTET_STREAM)));
    headers.insert(header::ETAG, etag(info).header());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_SHA256, digest(info));
    for (name, value) in &info.metadata {
        let name = HeaderName::try_from(format!("{METADATA_PREFIX}{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    headers
}

fn etag(info: &ObjectInfo) -> ETag {
    ETag::strong(info.etag()).expect("hexadecimal digits make a tag")
}

fn digest(info: &ObjectInfo) -> HeaderValue {
    text_header(info.sha256.to_string())
}

fn text_header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and punctuation make a header value")
}

fn engine_range(wanted: RangeRequest) -> Option<ByteRange> {
    match wanted {
        RangeRequest::Whole => None,
        RangeRequest::From { first, last: None } => Some(ByteRange::From(first)),
        RangeRequest::From { first, last: Some(last) } => Some(ByteRange::Inclusive(first, last)),
        RangeRequest::Suffix { len } => Some(ByteRange::Suffix(len)),
    }
}

/// A name that no bucket can have names nothing.
pub(crate) fn bucket_name(text: String) -> Result<BucketName, Failure> {
    BucketName::parse(text).map_err(|_| Failure::not_found())
}

pub(crate) fn object_key(text: String) -> Result<ObjectKey, Failure> {
    ObjectKey::parse(text).map_err(|_| Failure::not_found())
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_objects)).routes(routes!(
        read_object,
        describe_object,
        write_object,
        delete_object
    ))
}
