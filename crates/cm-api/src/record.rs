//! What all catalogue records share on the wire, and the five things that are done to them.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_http::etag::Freshness;
use cm_http::{ETag, Failure, JsonBody, Params, Preconditions};
use cm_kernel::catalog::{Change, NewRecord, Query, Record};
use cm_kernel::policy::{Create, Delete, List, Read, Update};
use cm_kernel::{Kernel, OpContext};
use cm_types::{Action, Generation, Labels, ResourceId, ResourceKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::authentication::Caller;
use crate::document::PREFIX;
use crate::failure::refusal;
use crate::listing::{FILTER, ListParams, Listing, cursor, filters, page_limit, selector};

/// A kind's spec as it travels.
pub trait WireSpec: Serialize + DeserializeOwned + Send + 'static {
    /// The kind.
    const KIND: ResourceKind;

    /// Checks what the catalogue cannot: settings that only an engine understands.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// One record of the catalogue.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordView<S> {
    /// Unique within tenant and kind.
    #[schema(value_type = String)]
    pub id: ResourceId,
    /// What people call it.
    pub name: String,
    /// The tenant that it belongs to.
    pub tenant: String,
    /// The principal that owns it.
    pub owner: String,
    /// What people and policies select it by.
    pub labels: BTreeMap<String, String>,
    /// Counts its versions from 1; also the `ETag`.
    pub generation: u64,
    /// When it was created, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// When it was last changed, RFC 3339.
    #[schema(format = "date-time")]
    pub updated_at: String,
    /// What its owner wants.
    pub spec: S,
    /// What the platform found; `null` until it found something.
    pub status: Value,
}

/// A record to be created.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordCreation<S> {
    /// The id; chosen by the node without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<ResourceId>,
    /// The name.
    pub name: String,
    /// Labels.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// What its owner wants.
    pub spec: S,
}

/// What replaces a record's name, labels and spec.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordReplacement<S> {
    /// The name; stays without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All labels; stay without any given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub labels: Option<Labels>,
    /// All of the spec.
    pub spec: S,
}

impl<S: WireSpec> RecordView<S> {
    /// The record as it travels.
    ///
    /// # Errors
    /// 500 when what is stored is not what this version of the API describes: our mistake.
    pub fn of(record: Record) -> Result<Self, Failure> {
        let header = record.header;
        Ok(Self {
            id: header.id,
            name: header.name,
            tenant: header.tenant.to_string(),
            owner: header.owner.to_string(),
            labels: header.labels.into(),
            generation: header.generation.0,
            created_at: header.created_at.to_string(),
            updated_at: header.updated_at.to_string(),
            spec: serde_json::from_value(record.spec).map_err(Failure::internal)?,
            status: record.status,
        })
    }
}

/// A spec in the engine's form.
pub(crate) fn spec_value<S: WireSpec>(spec: &S) -> Value {
    serde_json::to_value(spec).expect("specs are plain data with text keys")
}

/// Creates a record: 201 with its place.
pub(crate) async fn create<S: WireSpec>(
    kernel: &Kernel,
    op: Caller,
    body: JsonBody<RecordCreation<S>>,
) -> Result<Response, Failure> {
    require_some_creation(kernel, &op, S::KIND).await?;
    let body = body.decode().await?;
    body.spec.check()?;
    let op = op.again(kernel).await?;
    let permit = kernel.authorize_labelled::<Create>(&op, S::KIND, &body.labels).await.map_err(refusal)?;
    let new = NewRecord {
        kind: S::KIND,
        id: body.id,
        name: body.name,
        owner: None,
        labels: body.labels,
        spec: spec_value(&body.spec),
    };
    let record = kernel.create_record(&op, &permit, new).await.map_err(refusal)?;
    created::<S>(record)
}

/// Refuses those who may create nothing of the kind. Whoever may, under certain labels perhaps, is judged by the
/// labels of the new record, once the body is decoded.
pub(crate) async fn require_some_creation(
    kernel: &Kernel,
    op: &OpContext,
    kind: ResourceKind,
) -> Result<(), Failure> {
    if op.subject().holds_some(kind, Action::Create) {
        return Ok(());
    }
    kernel.authorize::<Create>(op, kind).await.map(drop).map_err(refusal)
}

/// One page of the records that the caller may read.
pub(crate) async fn list<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    params: Params<ListParams>,
) -> Result<Json<Listing<RecordView<S>>>, Failure> {
    let permit = kernel.authorize::<List>(op, S::KIND).await.map_err(refusal)?;
    let (params, terms) = params.decode_with_repeated(FILTER)?;
    let query = Query {
        selector: selector(params.selector.as_deref())?,
        filters: filters(terms)?,
        after: cursor(params.after),
        limit: page_limit(params.limit),
        ..Query::of(S::KIND)
    };
    let page = kernel.list_records(op, &permit, query).await.map_err(refusal)?;
    listing(page)
}

/// A page of records as it travels.
pub(crate) fn listing<S: WireSpec>(
    page: cm_types::Page<Record>,
) -> Result<Json<Listing<RecordView<S>>>, Failure> {
    let items = page.items.into_iter().map(RecordView::of).collect::<Result<_, _>>()?;
    Ok(Json(Listing { items, next: page.next.map(|cursor| cursor.0) }))
}

/// One record, or 304 if the client has this version.
pub(crate) async fn read<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    id: &str,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let (record, _permit) = kernel.look_up::<Read>(op, S::KIND, id).await.map_err(refusal)?;
    let etag = ETag::version(record.header.generation.0);
    match Preconditions::from_headers(headers)?.check_read(&etag)? {
        Freshness::NotModified => {
            Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag.header())]).into_response())
        }
        Freshness::Send => {
            Ok(([(header::ETAG, etag.header())], Json(RecordView::<S>::of(record)?)).into_response())
        }
    }
}

/// Replaces a record's name, labels and spec.
pub(crate) async fn replace<S: WireSpec>(
    kernel: &Kernel,
    op: Caller,
    id: &str,
    headers: &HeaderMap,
    body: JsonBody<RecordReplacement<S>>,
) -> Result<Response, Failure> {
    let (record, _permit) = kernel.look_up::<Update>(&op, S::KIND, id).await.map_err(refusal)?;
    expected_generation(headers, record.header.generation)?;
    let body = body.decode().await?;
    body.spec.check()?;
    let op = op.again(kernel).await?;
    let (record, permit) = kernel.look_up::<Update>(&op, S::KIND, id).await.map_err(refusal)?;
    let expected = expected_generation(headers, record.header.generation)?;
    let change =
        Change { expected, name: body.name, labels: body.labels, spec: Some(spec_value(&body.spec)) };
    let record = kernel.update_record(&op, &permit, &record.header.id, change).await.map_err(refusal)?;
    let etag = ETag::version(record.header.generation.0);
    Ok(([(header::ETAG, etag.header())], Json(RecordView::<S>::of(record)?)).into_response())
}

/// Removes a record: 204.
pub(crate) async fn delete(
    kernel: &Kernel,
    op: &OpContext,
    kind: ResourceKind,
    id: &str,
    headers: &HeaderMap,
) -> Result<StatusCode, Failure> {
    let (record, permit) = kernel.look_up::<Delete>(op, kind, id).await.map_err(refusal)?;
    let expected = expected_generation(headers, record.header.generation)?;
    kernel.delete_record(op, &permit, &record.header.id, expected).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The generation that a change insists on: the one just read, if the request names it among others or at all.
///
/// # Errors
/// 412 when the request names other versions only.
pub(crate) fn expected_generation(
    headers: &HeaderMap,
    current: Generation,
) -> Result<Option<Generation>, Failure> {
    let preconditions = Preconditions::from_headers(headers)?;
    preconditions.check_change(Some(&ETag::version(current.0)))?;
    // The engine compares again, in the transaction of the change.
    Ok(preconditions.names_a_version().then_some(current))
}

/// 201 with place, tag and body.
pub(crate) fn created<S: WireSpec>(record: Record) -> Result<Response, Failure> {
    let place = place(&format!("{}/{}", S::KIND.plural(), record.header.id))?;
    let etag = ETag::version(record.header.generation.0);
    let headers = [(header::LOCATION, place), (header::ETAG, etag.header())];
    Ok((StatusCode::CREATED, headers, Json(RecordView::<S>::of(record)?)).into_response())
}

/// The value of `Location` for a path below `/api/v1` whose segments need no escaping.
pub(crate) fn place(path: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(format!("{PREFIX}/{path}")).map_err(Failure::internal)
}
