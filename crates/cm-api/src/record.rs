//! What all catalogue records share on the wire, and the five things that are done to them.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_door::Caller;
use cm_http::etag::Freshness;
use cm_http::{ETag, Failure, FailureClass, JsonBody, Params, Preconditions};
use cm_kernel::catalog::{Change, Dependents, Integrity, NewRecord, Query, Record, SpecChange};
use cm_kernel::idempotency::IdempotencyKey;
use cm_kernel::policy::{Create, Delete, List, Permit, Read, Update};
use cm_kernel::{Kernel, OpContext, Part};
use cm_types::{Action, Generation, PageLimit, ResourceId, ResourceKind, ResourceRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::Api;
use crate::deletion::{self, DeleteParams};
use crate::document::PREFIX;
use crate::expand::{ExpandParams, expanded};
use crate::failure::refusal;
use crate::fields::{Fields, Sent, Unknown, decode_spec, wrong};
use crate::listing::{FILTER, ListParams, Listing, cursor, filters, page_limit, selector};
use crate::{listing, record_watch, stream};

/// A kind's spec as it travels.
pub trait WireSpec: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind.
    const KIND: ResourceKind;
    /// What a record of the kind shows besides its header and its spec.
    type Extra: Serialize + Send + 'static;
    /// The names of those, and of others that clients send though they cannot be set. They are ignored.
    const READ_ONLY: &'static [&'static str];
    /// What else than `id` chooses the id of a new record.
    const CHOSEN_ID: &'static str = "id";
    /// What of the status clients may say, on a node in open mode.
    const CLAIMS: &'static [&'static str] = &[];
    /// Whether the platform writes the records, and clients only on a node in open mode.
    const PLATFORM_WRITTEN: bool = false;
    /// Fields that refer to a record of this kind: a list filtered by one looks nowhere else.
    const INDEXED: &'static [(&'static str, ResourceKind)] = &[];
    /// The kind of records that belong to one of this kind and are listed by it.
    const PARTS: Option<ResourceKind> = None;

    /// Ids that no record of the kind can have, because they are parts of its paths.
    const RESERVED_IDS: &'static [&'static str] = &[];

    /// What the record shows besides. `parts` are the records that belong to it.
    fn extra(record: &Record, parts: Vec<Part>) -> Self::Extra;

    /// Checks what the catalogue cannot: settings that only an engine understands.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Ends what stands behind a record that is about to be deleted, such as a process, and returns the record as it
    /// is then.
    fn end(
        _api: &Api,
        _op: &OpContext,
        record: Record,
        _permit: &Permit<Delete>,
        _dependents: Dependents,
    ) -> impl Future<Output = Result<Record, Failure>> + Send {
        std::future::ready(Ok(record))
    }
}

/// One record of the catalogue: its header, its spec and what it shows besides, side by side.
#[derive(Debug, Serialize)]
pub struct RecordView<S, E> {
    /// What every record has.
    #[serde(flatten)]
    pub header: HeaderView,
    /// What its owner wants.
    #[serde(flatten)]
    pub spec: S,
    /// What it shows besides.
    #[serde(flatten)]
    pub extra: E,
    /// What the platform found; `null` until it found something.
    pub status: Value,
}

/// What every record has.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeaderView {
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
}

/// A record of a kind as it travels.
pub type View<S> = RecordView<S, <S as WireSpec>::Extra>;

/// The record as it travels.
///
/// # Errors
/// 500 when what is stored is not what this version of the API describes: our mistake.
pub fn view<S: WireSpec>(record: Record, parts: Vec<Part>) -> Result<View<S>, Failure> {
    let extra = S::extra(&record, parts);
    let header = record.header;
    Ok(RecordView {
        header: HeaderView {
            id: header.id,
            name: header.name,
            tenant: header.tenant.to_string(),
            owner: header.owner.to_string(),
            labels: header.labels.into(),
            generation: header.generation.0,
            created_at: header.created_at.to_string(),
            updated_at: header.updated_at.to_string(),
        },
        spec: record.spec.decode().map_err(Failure::internal)?,
        extra,
        status: record.status,
    })
}

/// The records as they travel, each with what belongs to it.
pub(crate) async fn views<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    records: Vec<Record>,
) -> Result<Vec<View<S>>, Failure> {
    let Some(kind) = S::PARTS else {
        return records.into_iter().map(|record| view(record, Vec::new())).collect();
    };
    let whole = records.iter().map(Record::resource).collect();
    let parts = kernel.parts_of(op, whole, kind).await.map_err(refusal)?;
    records.into_iter().zip(parts).map(|(record, parts)| view(record, parts)).collect()
}

/// One record with what belongs to it, as it travels.
pub(crate) async fn view_of<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    record: Record,
) -> Result<View<S>, Failure> {
    let mut views = views::<S>(kernel, op, vec![record]).await?;
    Ok(views.pop().expect("one record has one view"))
}

/// A spec in the engine's form.
pub(crate) fn spec_value<S: WireSpec>(spec: &S) -> Value {
    serde_json::to_value(spec).expect("specs are plain data with text keys")
}

/// Whether the node is in open mode, in which clients may say more.
pub(crate) fn is_open(kernel: &Kernel) -> bool {
    kernel.catalog().integrity() == Integrity::Open
}

/// What is done with fields that nothing is known of.
pub(crate) fn unknown_fields(kernel: &Kernel) -> Unknown {
    if is_open(kernel) { Unknown::Ignored } else { Unknown::Refused }
}

/// Creates a record: 201 with its place.
///
/// With an `Idempotency-Key`, who sends the same again gets what the first request made.
pub(crate) async fn create<S: WireSpec>(
    kernel: &Kernel,
    op: Caller,
    headers: &HeaderMap,
    body: JsonBody<Fields>,
) -> Result<Response, Failure> {
    require_some_creation(kernel, &op, S::KIND).await?;
    require_writable::<S>(kernel)?;
    let fields = body.decode().await?;
    let key = idempotency_key(headers, S::KIND.as_str(), &fields)?;
    let new = new_record::<S>(kernel, fields)?;
    let op = op.again(kernel).await?;
    let permit = kernel.authorize_labelled::<Create>(&op, S::KIND, &new.labels).await.map_err(refusal)?;
    let (record, is_replayed) = match key {
        Some(key) => kernel.create_record_once(&op, &permit, new, key).await,
        None => kernel.create_record(&op, &permit, new).await.map(|record| (record, false)),
    }
    .map_err(refusal)?;
    match is_replayed {
        true => replayed::<S>(kernel, &op, record).await,
        false => created::<S>(kernel, &op, record).await,
    }
}

/// What an earlier request under the same key was answered with.
pub(crate) async fn replayed<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    record: Record,
) -> Result<Response, Failure> {
    let mut answer = created::<S>(kernel, op, record).await?;
    answer.headers_mut().insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
    Ok(answer)
}

/// Names one creation, so that sending it again does not make another record.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Says that the answer is that of an earlier request.
const IDEMPOTENT_REPLAY: &str = "idempotent-replay";

/// The key that the client gave, for what it asks for under it.
pub(crate) fn idempotency_key(
    headers: &HeaderMap,
    operation: &str,
    fields: &Fields,
) -> Result<Option<IdempotencyKey>, Failure> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let asked = serde_json::to_vec(fields).map_err(Failure::internal)?;
    let asked = cm_kernel::idempotency::digest_of(operation, &asked);
    IdempotencyKey::new(key.to_str().unwrap_or_default(), asked).map(Some).map_err(refusal)
}

/// The record that a body asks for.
pub(crate) fn new_record<S: WireSpec>(kernel: &Kernel, body: Fields) -> Result<NewRecord, Failure> {
    let sent = Sent::of::<S>(body)?;
    sent.id.as_ref().map_or(Ok(()), refuse_reserved_id::<S>)?;
    let (spec, _) = decode_spec::<S>(None, sent.spec, unknown_fields(kernel))?;
    spec.check()?;
    let claims = if is_open(kernel) { sent.claims } else { Fields::new() };
    Ok(NewRecord {
        kind: S::KIND,
        id: sent.id,
        name: sent.name.unwrap_or_default(),
        owner: None,
        labels: sent.labels.unwrap_or_default(),
        spec: spec_value(&spec),
        status: if claims.is_empty() { Value::Null } else { Value::Object(claims) },
    })
}

/// Refuses an id by which no path would lead to the record.
pub(crate) fn refuse_reserved_id<S: WireSpec>(id: &ResourceId) -> Result<(), Failure> {
    if S::RESERVED_IDS.contains(&id.as_str()) {
        return Err(wrong("id", &format!("`{id}` is part of a path and cannot be an id")));
    }
    Ok(())
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

/// Refuses clients what the platform writes.
fn require_writable<S: WireSpec>(kernel: &Kernel) -> Result<(), Failure> {
    if S::PLATFORM_WRITTEN && !is_open(kernel) {
        let message =
            format!("a {} is written by the platform; clients may write one in open mode only", S::KIND);
        return Err(Failure::new(FailureClass::Forbidden, message));
    }
    Ok(())
}

/// The records that the caller may read: one page if a limit or a cursor is given, else all of them; or what happens
/// to them from now on.
pub(crate) async fn list<S: WireSpec>(
    kernel: &Kernel,
    op: Caller,
    headers: &HeaderMap,
    params: Params<ListParams>,
) -> Result<Response, Failure> {
    let permit = kernel.authorize::<List>(&op, S::KIND).await.map_err(refusal)?;
    let (params, terms) = params.decode_with_repeated(FILTER)?;
    let whole = params.limit.is_none() && params.after.as_ref().is_none_or(String::is_empty);
    let query = Query {
        selector: selector(params.selector.as_deref())?,
        filters: filters(terms)?,
        after: cursor(params.after),
        limit: if whole { PageLimit::MAX } else { page_limit(params.limit) },
        newest_first: params.order.is_some_and(|order| order.is_newest_first()),
        ..Query::of(S::KIND)
    };
    let query = Query { limit: PageLimit::clamped(query.limit.get().min(most::<S>())), ..query };
    if params.watch == Some(true) {
        return Ok(record_watch::follow::<S>(kernel.clone(), op, permit, query, headers));
    }
    let query = by_index::<S>(query);
    let page = kernel.list_records(&op, &permit, query.clone()).await.map_err(refusal)?;
    if whole && let Some(next) = page.next {
        return stream::all::<S>(kernel.clone(), op, query, page.items, next).await;
    }
    listing::<S>(kernel, &op, page).await
}

/// Most records on one page of those that are shown with what belongs to them, which may be a thousand records each.
const WITH_PARTS_MAX: usize = 40;

/// Most records on one page of the kind.
fn most<S: WireSpec>() -> usize {
    if S::PARTS.is_some() { WITH_PARTS_MAX } else { PageLimit::MAX.get() }
}

/// The same query by what the records refer to, if a filter says so.
fn by_index<S: WireSpec>(mut query: Query) -> Query {
    let indexed = |name: &str| S::INDEXED.iter().find(|(field, _)| *field == name);
    let found = query.filters.iter().position(|(name, _)| indexed(name).is_some());
    if let Some(at) = found {
        let (name, id) = query.filters.remove(at);
        query.referencing = indexed(&name).map(|(_, kind)| ResourceRef::new(*kind, id));
    }
    query
}

/// A page of records as it travels.
pub(crate) async fn listing<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    page: cm_types::Page<Record>,
) -> Result<Response, Failure> {
    let items = views::<S>(kernel, op, page.items).await?;
    Ok(Listing { items, next: page.next.map(|cursor| cursor.0) }.into_response())
}

/// One record, or 304 if the client has this version.
pub(crate) async fn read<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    id: &str,
    headers: &HeaderMap,
    params: Params<ExpandParams>,
) -> Result<Response, Failure> {
    let (record, _permit) = kernel.look_up::<Read>(op, S::KIND, id).await.map_err(refusal)?;
    if let Some(fields) = params.decode()?.expand {
        return expanded::<S>(kernel, op, record, &fields).await;
    }
    let etag = ETag::version(record.header.generation.0);
    match Preconditions::from_headers(headers)?.check_read(&etag)? {
        Freshness::NotModified => {
            Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag.header())]).into_response())
        }
        Freshness::Send => tagged::<S>(kernel, op, StatusCode::OK, record).await,
    }
}

/// Changes the fields of a record that the body names. In whatever version of the record is the newest when they are
/// written: two clients that change two fields disturb each other in nothing.
pub(crate) async fn change<S: WireSpec>(
    kernel: &Kernel,
    op: Caller,
    id: &str,
    headers: &HeaderMap,
    body: JsonBody<Fields>,
) -> Result<Response, Failure> {
    let (record, _permit) = kernel.look_up::<Update>(&op, S::KIND, id).await.map_err(refusal)?;
    require_writable::<S>(kernel)?;
    expected_generation(headers, record.header.generation)?;
    let sent = Sent::of::<S>(body.decode().await?)?;
    let op = op.again(kernel).await?;
    let (record, permit) = kernel.look_up::<Update>(&op, S::KIND, id).await.map_err(refusal)?;
    let expected = expected_generation(headers, record.header.generation)?;
    let (spec, fields) = decode_spec::<S>(Some(&record.spec), sent.spec, unknown_fields(kernel))?;
    if !fields.is_empty() {
        spec.check()?;
    }
    let change = Change {
        expected,
        name: sent.name,
        labels: sent.labels,
        spec: (!fields.is_empty()).then_some(SpecChange::Merge(fields)),
        status: if is_open(kernel) { sent.claims } else { Fields::new() },
    };
    let record = kernel.update_record(&op, &permit, &record.header.id, change).await.map_err(refusal)?;
    tagged::<S>(kernel, &op, StatusCode::OK, record).await
}

/// Removes a record: 204, or 200 with what would go if it is only asked for.
pub(crate) async fn delete<S: WireSpec>(
    api: &Api,
    op: &OpContext,
    id: &str,
    headers: &HeaderMap,
    params: Params<DeleteParams>,
) -> Result<Response, Failure> {
    let kernel = &api.kernel;
    let (record, permit) = kernel.look_up::<Delete>(op, S::KIND, id).await.map_err(refusal)?;
    let params = params.decode()?;
    let expected = expected_generation(headers, record.header.generation)?;
    let dependents = params.dependents.map_or_else(|| kernel.dependents_default(), Dependents::from);
    if params.dry_run == Some(true) {
        let plan = kernel.plan_deletion(op, &permit, &record.header.id, dependents).await;
        return Ok(Json(deletion::DeletionPlan::from(plan.map_err(refusal)?)).into_response());
    }
    let record = S::end(api, op, record, &permit, dependents).await?;
    // Its end made another generation of it; any later one is somebody else's.
    let (id, expected) = (&record.header.id, expected.map(|_| record.header.generation));
    let gone = kernel.delete_record(op, &permit, id, expected, dependents).await.map_err(refusal)?;
    api.functions.forget(op, &gone).await;
    Ok(StatusCode::NO_CONTENT.into_response())
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
pub(crate) async fn created<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    record: Record,
) -> Result<Response, Failure> {
    let place = place(&format!("{}/{}", S::KIND.plural(), record.header.id))?;
    let answer = tagged::<S>(kernel, op, StatusCode::CREATED, record).await?;
    Ok(([(header::LOCATION, place)], answer).into_response())
}

/// What a record takes as a rule, in bytes.
const RECORD_BYTES: usize = 1024;

/// An answer with tag and body.
pub(crate) async fn tagged<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    status: StatusCode,
    record: Record,
) -> Result<Response, Failure> {
    let etag = ETag::version(record.header.generation.0);
    let view = view_of::<S>(kernel, op, record).await?;
    Ok((status, [(header::ETAG, etag.header())], listing::json(&view, RECORD_BYTES)).into_response())
}

/// The value of `Location` for a path below `/api/v1` whose segments need no escaping.
pub(crate) fn place(path: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(format!("{PREFIX}/{path}")).map_err(Failure::internal)
}
