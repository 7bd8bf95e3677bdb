//! The peer face: today's peer protocol, and on the same port that of the first clients.
//!
//! | Route, below `/api/v4` | Methods |
//! | --- | --- |
//! | `/buckets/…` | `GET`, `POST`, `DELETE`; see `address` |
//! | `/tasks` | `DELETE` forgets the caller's announcements |
//! | `/balls/len`, `/xballs`, `/xballs/size`, `/peers/state` | what there is |
//! | `/stats`, `/stats/ufs` | how full it is |
//! | `/nodes` | `POST` announces another peer |

use std::future::ready;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete as deleting, get, post};
use axum::{Json, Router};
use cm_door::{Caller, refusal};
use cm_http::{Failure, FailureClass, Params, RequestLimits, Upload};
use cm_kernel::policy::{Create, List};
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::address::{self, Deleted, Posted, Read};
use super::face::face;
use super::listing::Span;
use super::metadata::{Announcement, Metadata, absent};
use super::reading::Presentation;
use super::router::{BUCKETS, group, milliseconds, rest, size};
use super::shape::typed;
use super::writing::{Written, json_body};
use super::{MictlanX, body, peers, seed};

/// The header in which a peer says how many objects it deleted.
pub(super) const DELETES: HeaderName = HeaderName::from_static("n-deletes");

/// The routes of a peer.
pub fn router(mictlanx: MictlanX, limits: RequestLimits) -> Router {
    let buckets = Router::new().route("/api/v4/buckets/{*rest}", get(read).post(write).delete(delete));
    face(buckets.merge(routes()), mictlanx, limits)
}

/// What peers alone are asked.
pub(super) fn routes() -> Router<MictlanX> {
    Router::new()
        .route("/api/v4/tasks", deleting(flush_tasks))
        .route("/api/v4/balls/len", get(count))
        .route("/api/v4/xballs", get(balls))
        .route("/api/v4/xballs/size", get(sizes))
        .route("/api/v4/peers/state", get(state))
        .route("/api/v4/stats", get(stats))
        .route("/api/v4/stats/ufs", get(fullness))
        .route("/api/v4/nodes", post(add_node))
        .merge(seed::routes())
}

async fn read(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    params: Params<Presentation>,
) -> Result<Response, Failure> {
    let began = Instant::now();
    match address::read(rest(&uri, BUCKETS)).ok_or_else(Failure::not_found)? {
        Read::Bucket(bucket_id) => {
            let fields = json!({ "peer_id": mictlanx.peer_id() });
            mictlanx.bucket(&caller, bucket_id, &fields).await
        }
        Read::Checksum(digest) => mictlanx.data_by_digest(&caller, digest, &headers, &params.decode()?).await,
        Read::Metadata(bucket_id, key) => {
            let found = mictlanx.metadata(&caller, &bucket_id, &key).await?;
            let (_, metadata, _) = found.ok_or_else(|| absent(&bucket_id, &key))?;
            let peer = mictlanx.peer_id();
            Ok(Json(json!({
                "service_time": milliseconds(began), "peer_id": peer, "local_peer_id": peer, "metadata": metadata,
            }))
            .into_response())
        }
        Read::Chunks(bucket_id, ball) => {
            let pieces = mictlanx.pieces(&caller, &bucket_id, &ball).await?;
            let pieces: Vec<Metadata> = pieces.into_iter().map(|(_, piece)| piece).collect();
            Ok(Json(pieces).into_response())
        }
        Read::Group(bucket_id, ball) => {
            let pieces = mictlanx.pieces(&caller, &bucket_id, &ball).await?;
            if pieces.is_empty() {
                return Err(typed(FailureClass::NotFound, 404, 404, format!("no ball {bucket_id}@{ball}")));
            }
            Ok(group(bucket_id, ball, pieces.into_iter().map(|(_, piece)| piece).collect()))
        }
        Read::Size(bucket_id, key) => {
            Ok(Json(size(&mictlanx, &caller, bucket_id, key).await?).into_response())
        }
        Read::Merge(bucket_id, ball) => {
            mictlanx.merged(&caller, (&bucket_id, &ball), &headers, &params.decode()?).await
        }
        Read::Data(bucket_id, key) => {
            mictlanx.data(&caller, (&bucket_id, &key), &headers, &params.decode()?, false).await
        }
    }
}

async fn write(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Upload,
) -> Result<Response, Failure> {
    match address::posted(rest(&uri, BUCKETS)).ok_or_else(Failure::not_found)? {
        Posted::Metadata(bucket_id) => {
            let announcement: Announcement = json_body(body).await?;
            announce(&mictlanx, &caller, &bucket_id, announcement, &headers).await
        }
        Posted::Data(task) => {
            mictlanx.receive(caller, &task, body::file(body, "data")).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        Posted::Chunked(task) => {
            let written = mictlanx.receive(caller, &task, ready(Ok(body.into_stream()))).await?;
            Ok(Json(chunked(&mictlanx, &written)).into_response())
        }
        Posted::Disable(bucket_id, key) => {
            mictlanx.disable(&caller, &bucket_id, &key).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Posted::Replicate(bucket_id, key) => replicate(&mictlanx, &caller, bucket_id, key).await,
    }
}

/// Takes note of what is going to be sent, as peers answer it: exactly four fields.
pub(super) async fn announce(
    mictlanx: &MictlanX,
    caller: &Caller,
    bucket_id: &str,
    announcement: Announcement,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let began = Instant::now();
    let key = announcement.key.clone();
    // Replicas are the router's business.
    let announcement = Announcement { replication_factor: 1, ..announcement };
    let task = mictlanx.announce(caller, bucket_id, false, announcement, headers).await?;
    Ok(Json(json!({
        "key": key, "service_time": milliseconds(began), "task_id": task, "node_id": mictlanx.peer_id(),
    }))
    .into_response())
}

/// What became of raw bytes, as peers answer it: exactly seven fields.
pub(super) fn chunked(mictlanx: &MictlanX, written: &Written) -> Map<String, Value> {
    let task = &written.task;
    let mut answer = Map::new();
    for (name, value) in [
        ("node_id", json!(mictlanx.peer_id())),
        ("combined_key", json!(format!("{}@{}", task.bucket_id, task.key))),
        ("bucket_id", json!(task.bucket_id)),
        ("key", json!(task.key)),
        ("size", json!(task.size)),
        ("throughput", json!(written.throughput())),
        ("service_time", json!(written.took.as_secs_f64())),
    ] {
        answer.insert(name.to_owned(), value);
    }
    answer
}

/// What this peer is asked to fetch from another it has, or nobody has it.
pub(super) async fn replicate(
    mictlanx: &MictlanX,
    caller: &Caller,
    bucket_id: String,
    key: String,
) -> Result<Response, Failure> {
    let began = Instant::now();
    let found = mictlanx.metadata(caller, &bucket_id, &key).await?;
    let (info, _, _) = found.ok_or_else(|| absent(&bucket_id, &key))?;
    let peer = mictlanx.peer_id();
    Ok(Json(json!({
        "peer_id": peer, "replica_peer_id": peer, "bucket_id": bucket_id, "key": key, "size": info.size, "ok": true,
        "response_time": milliseconds(began),
    }))
    .into_response())
}

async fn delete(State(mictlanx): State<MictlanX>, caller: Caller, uri: Uri) -> Result<Response, Failure> {
    let deleted = match address::deleted(rest(&uri, BUCKETS)).ok_or_else(Failure::not_found)? {
        Deleted::Ball(bucket_id, ball) => mictlanx.delete_ball(&caller, &bucket_id, &ball).await?,
        Deleted::Key(bucket_id, key) => u64::from(mictlanx.delete(&caller, &bucket_id, &key).await?),
    };
    Ok(deletes(deleted))
}

/// How many objects were deleted.
pub(super) fn deletes(count: u64) -> Response {
    (StatusCode::NO_CONTENT, [(DELETES, HeaderValue::from(count))]).into_response()
}

async fn flush_tasks(State(mictlanx): State<MictlanX>, caller: Caller) -> StatusCode {
    mictlanx.0.tasks.flush(&caller);
    StatusCode::NO_CONTENT
}

async fn count(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<Json<Value>, Failure> {
    Ok(Json(json!({ "len": mictlanx.count(&caller).await? })))
}

async fn balls(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    params: Params<Span>,
) -> Result<Json<Value>, Failure> {
    let objects = mictlanx.objects(&caller, params.decode()?).await?;
    let view =
        |object: &Metadata| json!({ "bucket_id": object.bucket_id, "key": object.key, "size": object.size });
    Ok(Json(objects.iter().map(view).collect()))
}

async fn sizes(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    params: Params<Span>,
) -> Result<Json<Value>, Failure> {
    let objects = mictlanx.objects(&caller, params.decode()?).await?;
    Ok(Json(objects.iter().map(|object| json!([object.bucket_id, object.key, object.size])).collect()))
}

async fn state(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    params: Params<Span>,
) -> Result<Json<Value>, Failure> {
    let objects = mictlanx.objects(&caller, params.decode()?).await?;
    let locations = mictlanx.peer_ids();
    let balls: Map<String, Value> = objects
        .iter()
        .map(|object| {
            let name = format!("{}@{}", object.bucket_id, object.key);
            (name, json!({ "locations": locations, "size": object.size }))
        })
        .collect();
    Ok(Json(json!({ "nodes": mictlanx.peers(), "balls": balls })))
}

async fn stats(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    params: Params<Span>,
) -> Result<Json<Value>, Failure> {
    Ok(Json(mictlanx.stats(&caller, params.decode()?).await?))
}

async fn fullness(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<Json<Value>, Failure> {
    mictlanx.kernel().authorize::<List>(&caller, ResourceKind::Bucket).await.map_err(refusal)?;
    Ok(Json(mictlanx.fullness().await?))
}

/// Another peer, as peers announce each other.
#[derive(Debug, Serialize, Deserialize)]
struct Node {
    id: String,
    disk: u64,
    memory: u64,
    ip_addr: String,
    port: i64,
    weight: f64,
    #[serde(default)]
    used_disk: u64,
    #[serde(default)]
    used_memory: u64,
}

async fn add_node(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    body: Upload,
) -> Result<Json<Node>, Failure> {
    mictlanx.kernel().authorize::<Create>(&caller, ResourceKind::Bucket).await.map_err(refusal)?;
    let node: Node = json_body(body).await?;
    let announced = peers::Announcement {
        protocol: "http".to_owned(),
        hostname: node.ip_addr.clone(),
        port: node.port,
        peer_id: node.id.clone(),
    };
    match mictlanx.0.announced.add(&caller.tenant(), announced) {
        true => Ok(Json(node)),
        false => Err(typed(FailureClass::TooMany, 429, 500, "too many peers are remembered")),
    }
}
