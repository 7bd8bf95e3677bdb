//! Discovery, the API root, and collections with what the caller may do with them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use cm_door::{Caller, refusal};
use cm_http::Failure;
use cm_intel::shelf::ShelfId;
use cm_kernel::OpContext;
use cm_kernel::catalog::{Query, Record};
use cm_kernel::policy::{Create, List, Permit, Read, RoleFacts, Subject, Target, Update, decide};
use cm_types::{Labels, PageLimit, PrincipalId, ResourceKind, TenantId};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::answer::answer;
use super::media::{STIX, TAXII};
use super::{CONTENT_LENGTH_MAX, PREFIX, Taxii};

/// The collection of the node's own events, which is always there.
const EVENTS: Uuid = Uuid::from_u128(0x2f3c_1b0a_6b7e_4d58_9c61_0e4d_8a7f_5b12);
const EVENTS_ALIAS: &str = "events";
/// The namespace of ids of collections whose records have other ids than UUIDs. It stands in configurations of others: never change it.
const NAMESPACE: Uuid = Uuid::from_u128(0x7d1a_54c3_02f8_4e0b_b1c6_93ee_5f27_a48d);

/// Pages of collections that are looked through for one that a UUID means.
const LOOKED_PAGES_MAX: usize = 10;

/// A collection as it is described (section 5.2.1).
#[derive(Serialize)]
struct Described {
    id: Uuid,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    alias: String,
    can_read: bool,
    can_write: bool,
    media_types: [&'static str; 1],
}

/// A collection that may be read.
pub(crate) struct Readable {
    /// Where its objects are.
    pub(crate) shelf: ShelfId,
    /// For the events: the permit to list them.
    pub(crate) events: Option<Permit<List>>,
}

/// A collection that may be written.
pub(crate) enum Writable {
    /// Objects are kept as they are.
    Shelf(ShelfId),
    /// Signed events are taken.
    Events(Permit<Create>),
}

pub(crate) async fn discovery(_: Caller) -> Result<Response, Failure> {
    let root = format!("{PREFIX}/cryptomesh/");
    let body = json!({
        "title": "CryptoMesh", "description": "Threat intelligence of this node and of the collections that it keeps.",
        "default": root, "api_roots": [root],
    });
    answer(StatusCode::OK, &body)
}

pub(crate) async fn root(_: Caller) -> Result<Response, Failure> {
    let body =
        json!({ "title": "CryptoMesh", "versions": [TAXII], "max_content_length": CONTENT_LENGTH_MAX });
    answer(StatusCode::OK, &body)
}

pub(crate) async fn list(State(taxii): State<Taxii>, op: Caller) -> Result<Response, Failure> {
    let mut described = Vec::new();
    // Whoever may not list events still finds the collections that they may.
    if let Ok(events) = taxii.described_events(&op).await {
        described.extend(events);
    }
    let records = taxii.records(&op).await?;
    for record in &records {
        described.extend(taxii.described(&op, record).await?);
    }
    if described.is_empty() {
        return answer(StatusCode::OK, &json!({}));
    }
    answer(StatusCode::OK, &json!({ "collections": described }))
}

pub(crate) async fn read(
    State(taxii): State<Taxii>,
    op: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    if is_events(&id) {
        return match taxii.described_events(&op).await? {
            Some(described) => answer(StatusCode::OK, &described),
            None => Err(Failure::not_found()),
        };
    }
    let name = taxii.name_of(&op, &id).await?;
    let quietly = taxii.kernel().look_up_quietly::<Update>(&op, ResourceKind::ThreatCollection, &name);
    let record = match quietly.await.map_err(refusal)? {
        Some((record, _)) => record,
        // The refusal, if there is one, is that of reading.
        None => {
            let found = taxii.kernel().look_up::<Read>(&op, ResourceKind::ThreatCollection, &name);
            found.await.map_err(refusal)?.0
        }
    };
    let described = taxii.described(&op, &record).await?.ok_or_else(Failure::not_found)?;
    answer(StatusCode::OK, &described)
}

fn is_events(id: &str) -> bool {
    id == EVENTS_ALIAS || Uuid::try_parse(id) == Ok(EVENTS)
}

/// A record's id as TAXII has it: a UUID.
fn uuid_of(record: &Record) -> Uuid {
    let (tenant, id) = (&record.header.tenant, record.header.id.as_str());
    Uuid::try_parse(id).unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, format!("{tenant}/{id}").as_bytes()))
}

fn shelf_of(record: &Record) -> ShelfId {
    ShelfId::of(&record.header.tenant, &record.header.id, record.header.created_at)
}

impl Taxii {
    /// The collections that the caller may read, as many as a page has.
    async fn records(&self, op: &OpContext) -> Result<Vec<Record>, Failure> {
        let permit =
            self.kernel().authorize::<List>(op, ResourceKind::ThreatCollection).await.map_err(refusal)?;
        let query = Query { limit: PageLimit::MAX, ..Query::of(ResourceKind::ThreatCollection) };
        Ok(self.kernel().list_records(op, &permit, query).await.map_err(refusal)?.items)
    }

    async fn described(&self, op: &OpContext, record: &Record) -> Result<Option<Described>, Failure> {
        let (kernel, kind, id) = (self.kernel(), ResourceKind::ThreatCollection, record.header.id.as_str());
        let can_read = kernel.look_up_quietly::<Read>(op, kind, id).await.map_err(refusal)?.is_some();
        let can_write = kernel.look_up_quietly::<Update>(op, kind, id).await.map_err(refusal)?.is_some();
        let description = record.spec.get("description").and_then(|text| text.as_str()).map(str::to_owned);
        let described = Described {
            id: uuid_of(record),
            title: record.header.name.clone(),
            description,
            alias: record.header.id.to_string(),
            can_read,
            can_write,
            media_types: [STIX],
        };
        Ok((can_read || can_write).then_some(described))
    }

    async fn described_events(&self, op: &OpContext) -> Result<Option<Described>, Failure> {
        let can_read = may::<List>(op);
        let can_write = may::<Create>(op);
        Ok((can_read || can_write).then(|| Described {
            id: EVENTS,
            title: "Threat events".to_owned(),
            description: Some(
                "What this node and its peers reported: indicators, identities and sightings.".to_owned(),
            ),
            alias: EVENTS_ALIAS.to_owned(),
            can_read,
            can_write,
            media_types: [STIX],
        }))
    }

    /// The id of the record that a caller means.
    async fn name_of(&self, op: &OpContext, id: &str) -> Result<String, Failure> {
        let Ok(uuid) = Uuid::try_parse(id) else { return Ok(id.to_owned()) };
        let quietly = self.kernel().look_up_quietly::<Read>(op, ResourceKind::ThreatCollection, id);
        if quietly.await.map_err(refusal)?.is_some() {
            return Ok(id.to_owned());
        }
        // Made of the record's id, which only the list can tell. Whoever may use a collection need not be allowed to list them: the node looks, and
        // what the caller may do with what it finds is decided afterwards.
        let found = self.made_of(&op.tenant(), uuid).await?;
        Ok(found.unwrap_or_else(|| id.to_owned()))
    }

    /// The id of the tenant's record of which a UUID is made.
    async fn made_of(&self, tenant: &TenantId, uuid: Uuid) -> Result<Option<String>, Failure> {
        let kernel = self.kernel();
        let node = OpContext::node(kernel.tasks().token());
        let permit = nodes_listing(tenant);
        let mut after = None;
        for _ in 0..LOOKED_PAGES_MAX {
            let kind = ResourceKind::ThreatCollection;
            let query = Query { after, limit: PageLimit::MAX, ..Query::of(kind) };
            let page = kernel.list_records(&node, &permit, query).await.map_err(refusal)?;
            if let Some(record) = page.items.iter().find(|record| uuid_of(record) == uuid) {
                return Ok(Some(record.header.id.to_string()));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// A collection from which the caller may take objects.
    ///
    /// # Errors
    /// 403 and 404.
    pub(crate) async fn readable(&self, op: &OpContext, id: &str) -> Result<Readable, Failure> {
        if is_events(id) {
            let permit = self.kernel().authorize_of_node::<List>(op, ResourceKind::ThreatEvent);
            let permit = permit.await.map_err(refusal)?;
            return Ok(Readable { shelf: ShelfId::events(permit.tenant()), events: Some(permit) });
        }
        let name = self.name_of(op, id).await?;
        let found = self.kernel().look_up::<Read>(op, ResourceKind::ThreatCollection, &name);
        let (record, _) = found.await.map_err(refusal)?;
        Ok(Readable { shelf: shelf_of(&record), events: None })
    }

    /// A collection into which the caller may put objects.
    ///
    /// # Errors
    /// 403 and 404.
    pub(crate) async fn writable(&self, op: &OpContext, id: &str) -> Result<Writable, Failure> {
        if is_events(id) {
            let permit = self.kernel().authorize_of_node::<Create>(op, ResourceKind::ThreatEvent);
            let permit = permit.await.map_err(refusal)?;
            return Ok(Writable::Events(permit));
        }
        let name = self.name_of(op, id).await?;
        let found = self.kernel().look_up::<Update>(op, ResourceKind::ThreatCollection, &name);
        let (record, _) = found.await.map_err(refusal)?;
        Ok(Writable::Shelf(shelf_of(&record)))
    }
}

/// The node's own permit to list the collections of a tenant, decided as every other.
fn nodes_listing(tenant: &TenantId) -> Permit<List> {
    let (node, labels, roles) = (PrincipalId::node(), Labels::new(), [RoleFacts::administrator()]);
    let kind = ResourceKind::ThreatCollection;
    let target = Target { kind, id: None, tenant, owner: None, labels: &labels, guard: None };
    decide::<List>(&Subject::principal(&node, tenant, &roles), &target)
        .expect("an administrator may list collections in its own tenant")
}

/// Whether the caller may do something with threat events, which are the node's, without asking in earnest.
fn may<A: cm_kernel::policy::ActionKind>(op: &OpContext) -> bool {
    op.tenant() == TenantId::default_tenant() && op.subject().holds_some(ResourceKind::ThreatEvent, A::ACTION)
}
