//! The storage network: which nodes keep the chunks of objects, and how they are doing.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::objects::{Extra, Keeping, PeerStatus, ScrubProgress};
use cm_kernel::policy::{Read, Update};
use cm_kernel::storage::{Domain, PeerState, StorageChange};
use cm_types::{BucketName, PeerId, ResourceKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// Most changes at once.
const CHANGES_MAX: usize = 100;

/// The storage network as one node sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StorageNetworkView {
    /// The node that was asked.
    pub node: String,
    /// Counts the layouts.
    pub epoch: u64,
    /// Data still moves out of layouts since this one; equal to `epoch` when everything is at its place.
    pub oldest_epoch: u64,
    /// How chunks are kept where the bucket says nothing else.
    pub redundancy: String,
    /// The nodes of the layout.
    pub peers: Vec<StoragePeerView>,
    /// Chunks of which parts are known to be missing or to lie elsewhere than they should; counted up to 10,000.
    pub short_chunks: u64,
    /// Chunks of which the last survey could not reach enough parts.
    pub lost_chunks: u64,
    /// Chunks that some node has yet to delete; counted up to 10,000. The last deletions stay in it.
    pub condemned_chunks: u64,
    /// Copies beyond the promised ones, where there is much reading.
    pub extra: ExtraCopiesView,
    /// The node that looks after all chunks.
    pub surveyor: Option<String>,
    /// When it has last looked at everything, RFC 3339.
    #[schema(format = "date-time")]
    pub surveyed_at: Option<String>,
}

/// Copies that follow the load.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ExtraCopiesView {
    /// Buckets that want them.
    pub buckets: u64,
    /// Chunks that have some.
    pub chunks: u64,
    /// The copies.
    pub copies: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One node of the storage network.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StoragePeerView {
    /// Its id.
    pub id: String,
    /// `active`, `draining` or `gone`.
    pub state: String,
    /// How many bytes of chunks it offers.
    pub capacity_bytes: u64,
    /// What it fails together with.
    pub zone: String,
    /// Whether data still moves out of it, so that it cannot be removed yet.
    pub moving: bool,
    /// Whether it answers.
    pub up: bool,
    /// Parts of chunks that it keeps; `null` if it does not answer.
    pub parts: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// Parts that it found damaged since it started.
    pub damaged: Option<u64>,
    /// Whether it has looked through everything in this epoch and keeps nothing that belongs elsewhere.
    pub tidy: Option<bool>,
    /// How far it is with reading all that it keeps; `null` before it began for the first time.
    pub scrub: Option<ScrubView>,
}

/// How far a node is with reading all that it keeps and comparing it with its digests.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ScrubView {
    /// When it began, RFC 3339.
    #[schema(format = "date-time")]
    pub begun_at: String,
    /// It is done at 100.
    #[schema(maximum = 100)]
    pub percent: u8,
}

/// A change of the layout.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, tag = "change", rename_all = "kebab-case")]
pub enum LayoutChangeBody {
    /// A node takes part.
    Add {
        /// Its id.
        peer: String,
        /// How many bytes it offers.
        capacity_bytes: u64,
        /// What it fails together with.
        zone: String,
    },
    /// It offers another number of bytes.
    Resize {
        /// Its id.
        peer: String,
        /// How many bytes it offers.
        capacity_bytes: u64,
    },
    /// It stands elsewhere.
    Relocate {
        /// Its id.
        peer: String,
        /// What it fails together with.
        zone: String,
    },
    /// It takes nothing new, and what it has moves away.
    Drain {
        /// Its id.
        peer: String,
    },
    /// It takes new data again.
    Activate {
        /// Its id.
        peer: String,
    },
    /// It is lost with everything on it.
    DeclareGone {
        /// Its id.
        peer: String,
    },
    /// It is forgotten: one that was drained or is gone.
    Remove {
        /// Its id.
        peer: String,
    },
}

/// What is to change in the layout.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LayoutChangesBody {
    /// One after the other; all of them or none. 100 at most.
    pub changes: Vec<LayoutChangeBody>,
}

/// The layout after a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct EpochView {
    /// Its epoch.
    pub epoch: u64,
}

/// How the chunks of a bucket are kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketRedundancy {
    /// So many copies (`3`), or shards of data and parity (`3+2`); `null` as the network keeps whatever nothing else is said of.
    pub redundancy: Option<String>,
}

fn invalid(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::Invalid, error.to_string())
}

fn peer_view(status: PeerStatus) -> StoragePeerView {
    let PeerStatus { member, is_up, kept, scrub } = status;
    let state = match member.state {
        PeerState::Active => "active",
        PeerState::Draining => "draining",
        PeerState::Gone => "gone",
    };
    StoragePeerView {
        id: member.peer.to_string(),
        state: state.to_owned(),
        capacity_bytes: member.capacity_bytes,
        zone: member.domain,
        moving: member.moving,
        up: is_up,
        parts: kept.map(|kept| kept.parts),
        bytes: kept.map(|kept| kept.bytes),
        damaged: kept.map(|kept| kept.damaged),
        tidy: kept.map(|kept| kept.is_tidy),
        scrub: scrub
            .map(|ScrubProgress { begun_at, percent }| ScrubView { begun_at: begun_at.to_string(), percent }),
    }
}

fn change(body: LayoutChangeBody) -> Result<StorageChange, Failure> {
    let id = |text: String| text.parse::<PeerId>().map_err(invalid);
    let domain = |text: String| Domain::parse(text).map_err(invalid);
    Ok(match body {
        LayoutChangeBody::Add { peer, capacity_bytes, zone } => {
            StorageChange::Add { peer: id(peer)?, capacity_bytes, domain: domain(zone)? }
        }
        LayoutChangeBody::Resize { peer, capacity_bytes } => {
            StorageChange::Resize { peer: id(peer)?, capacity_bytes }
        }
        LayoutChangeBody::Relocate { peer, zone } => {
            StorageChange::Relocate { peer: id(peer)?, domain: domain(zone)? }
        }
        LayoutChangeBody::Drain { peer } => StorageChange::Drain(id(peer)?),
        LayoutChangeBody::Activate { peer } => StorageChange::Activate(id(peer)?),
        LayoutChangeBody::DeclareGone { peer } => StorageChange::DeclareGone(id(peer)?),
        LayoutChangeBody::Remove { peer } => StorageChange::Remove(id(peer)?),
    })
}

#[utoipa::path(
    get, path = "/storage", operation_id = "read_storage_network", tag = "network",
    extensions(("x-permission" = json!("tenant:list"))),
    responses(
        (status = 200, description = "The storage network", body = StorageNetworkView),
        (status = 409, description = "This node keeps its objects alone", body = ErrorBody),
    )
)]
/// Describes the storage network.
pub async fn read_storage_network(
    State(api): State<Api>,
    Op(op): Op,
) -> Result<Json<StorageNetworkView>, Failure> {
    let permit = api.kernel.authorize_network_view(&op).await.map_err(refusal)?;
    let status = api.kernel.storage_status(&permit).await.map_err(refusal)?;
    let status = status.ok_or_else(|| {
        Failure::new(
            FailureClass::Conflict,
            "the node keeps its objects alone; `cluster found` makes it the first of a network",
        )
    })?;
    let Extra { buckets, chunks, copies, bytes } = status.extra;
    Ok(Json(StorageNetworkView {
        node: status.own.to_string(),
        epoch: status.epoch,
        oldest_epoch: status.oldest_epoch,
        redundancy: status.redundancy,
        peers: status.peers.into_iter().map(peer_view).collect(),
        short_chunks: status.short_chunks,
        lost_chunks: status.lost_chunks,
        condemned_chunks: status.condemned_chunks,
        extra: ExtraCopiesView { buckets, chunks, copies, bytes },
        surveyor: status.surveyor.map(|peer| peer.to_string()),
        surveyed_at: status.surveyed_at.map(|at| at.to_string()),
    }))
}

#[utoipa::path(
    post, path = "/storage/layout", operation_id = "change_storage_layout", tag = "network",
    request_body = LayoutChangesBody,
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 200, description = "The new layout, by which data moves from now on", body = EpochView),
        (status = 409, description = "The layout cannot be changed like this now", body = ErrorBody),
    )
)]
/// Changes which nodes keep chunks. What they have moves afterwards, while everything goes on.
pub async fn change_storage_layout(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<LayoutChangesBody>,
) -> Result<Json<EpochView>, Failure> {
    api.kernel.authorize_network(&op).await.map_err(refusal)?;
    let LayoutChangesBody { changes } = body.decode().await?;
    if changes.is_empty() || changes.len() > CHANGES_MAX {
        return Err(invalid(format!("`changes` must name 1 to {CHANGES_MAX} changes")));
    }
    let changes = changes.into_iter().map(change).collect::<Result<Vec<_>, _>>()?;
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize_network(&op).await.map_err(refusal)?;
    let epoch = api.kernel.change_storage(&op, &permit, changes).await.map_err(refusal)?;
    Ok(Json(EpochView { epoch }))
}

#[utoipa::path(
    post, path = "/storage/repair", operation_id = "repair_storage", tag = "network",
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 202, description = "Every chunk is looked at; `/storage` tells how far that is"),
        (status = 409, description = "This node keeps its objects alone", body = ErrorBody),
    )
)]
/// Has every chunk looked at, and mended where it lacks something.
pub async fn repair_storage(State(api): State<Api>, Op(op): Op) -> Result<StatusCode, Failure> {
    let permit = api.kernel.authorize_network(&op).await.map_err(refusal)?;
    api.kernel.repair_storage(&op, &permit).await.map_err(refusal)?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(
    post, path = "/storage/scrub", operation_id = "scrub_storage", tag = "network",
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 202, description = "Every node reads all that it keeps; `/storage` tells how far each is"),
        (status = 409, description = "This node keeps its objects alone", body = ErrorBody),
    )
)]
/// Has every node read all that it keeps, as it does once a week, and what is damaged made anew.
pub async fn scrub_storage(State(api): State<Api>, Op(op): Op) -> Result<StatusCode, Failure> {
    let permit = api.kernel.authorize_network(&op).await.map_err(refusal)?;
    api.kernel.scrub_storage(&op, &permit).await.map_err(refusal)?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(
    get, path = "/buckets/{id}/redundancy", operation_id = "read_bucket_redundancy", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    extensions(("x-permission" = json!("bucket:read"))),
    responses((status = 200, description = "How its chunks are kept", body = BucketRedundancy))
)]
/// Says how the chunks of a bucket are kept in a storage network.
pub async fn read_bucket_redundancy(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<BucketRedundancy>, Failure> {
    let (_, permit) = api.kernel.look_up::<Read>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let bucket = BucketName::parse(&id).map_err(invalid)?;
    let keeping = api.kernel.objects().keeping(&permit, &bucket).await.map_err(|e| refusal(e.into()))?;
    Ok(Json(BucketRedundancy { redundancy: keeping.map(|keeping| keeping.to_string()) }))
}

#[utoipa::path(
    put, path = "/buckets/{id}/redundancy", operation_id = "change_bucket_redundancy", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    request_body = BucketRedundancy,
    extensions(("x-permission" = json!("bucket:update"))),
    responses((status = 200, description = "How chunks are kept that are written from now on", body = BucketRedundancy))
)]
/// Says how chunks of a bucket are to be kept that are written from now on.
pub async fn change_bucket_redundancy(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<BucketRedundancy>,
) -> Result<Json<BucketRedundancy>, Failure> {
    api.kernel.look_up::<Update>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let BucketRedundancy { redundancy } = body.decode().await?;
    let keeping = redundancy.map(|text| text.parse::<Keeping>()).transpose().map_err(invalid)?;
    let op = op.again(&api.kernel).await?;
    let (_, permit) = api.kernel.look_up::<Update>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let bucket = BucketName::parse(&id).map_err(invalid)?;
    let set = api.kernel.objects().set_keeping(&permit, &bucket, keeping, Some(op.request.clone())).await;
    set.map_err(|error| refusal(error.into()))?;
    Ok(Json(BucketRedundancy { redundancy: keeping.map(|keeping| keeping.to_string()) }))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(read_storage_network))
        .routes(routes!(change_storage_layout))
        .routes(routes!(repair_storage))
        .routes(routes!(scrub_storage))
        .routes(routes!(read_bucket_redundancy, change_bucket_redundancy))
}
