//! The router face: today's clients speak to it. It answers what peers are asked, too, so that one port is enough; where router and peer
//! answer the same address differently, it is the router that answers.
//!
//! | Route, below `/api/v4` | Methods |
//! | --- | --- |
//! | `/buckets/…` | `GET`, `POST`, `DELETE`; see `address` |
//! | `/u/buckets/BUCKET/KEY` | `POST` says something else of an object |
//! | `/peers`, `/peers/ID`, `/xpeers`, `/peers/stats` | which peers there are |
//! | `/cache`, `/cache/stats`, `/cache/reset` | what is kept in memory |
//! | `/rm/BUCKET/KEY`, `/replicate`, `/replication`, `/elastic`, `/tasks` | what earlier routers had and clients still call |
//!
//! Beside it `/metrics` and `/health`.

use std::future::ready;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cm_door::{Caller, refusal};
use cm_http::{Failure, FailureClass, Params, RequestLimits, Upload};
use cm_kernel::policy::{Create, List};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::address::{self, Deleted, Posted, Read};
use super::balls::BallView;
use super::cache::CAPACITY;
use super::face::face;
use super::listing::Span;
use super::metadata::{Announcement, absent};
use super::peer::DELETES;
use super::reading::Presentation;
use super::shape::{invalid_field, plain, typed};
use super::writing::json_body;
use super::{MictlanX, body, peers};

/// What every address of an object begins with.
pub(super) const BUCKETS: &str = "/api/v4/buckets/";
const UPDATES: &str = "/api/v4/u/buckets/";
const REPLICAS: &str = "/api/v4/rm/";

/// The routes of the router.
pub fn router(mictlanx: MictlanX, limits: RequestLimits) -> Router {
    let routes = Router::new()
        .route("/api/v4/buckets/{*rest}", get(read).post(write).delete(delete))
        .route("/api/v4/u/buckets/{*rest}", post(update))
        .route("/api/v4/xpeers", post(add_peers).delete(remove_peers))
        .route("/api/v4/peers", get(list_peers).post(add_peer))
        .route("/api/v4/peers/stats", get(peer_stats))
        .route("/api/v4/peers/{id}", axum::routing::delete(remove_peer))
        .route("/api/v4/cache", get(cache))
        .route("/api/v4/cache/stats", get(cache_stats))
        .route("/api/v4/cache/reset", axum::routing::delete(reset_cache))
        .route("/api/v4/rm/{*rest}", get(replicas))
        .route("/api/v4/replicate", post(replicate))
        .route("/api/v4/replication", post(replicate))
        .route("/api/v4/elastic", post(elastic))
        .route("/api/v4/tasks", get(tasks))
        .route("/metrics", get(metrics))
        .route("/api/v4/metrics", get(metrics))
        .merge(super::peer::routes());
    face(routes, mictlanx, limits)
}

/// The part of a path that says what is meant, as the client wrote it.
pub(super) fn rest<'a>(uri: &'a Uri, prefix: &str) -> &'a str {
    uri.path().strip_prefix(prefix).unwrap_or_default()
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
            // Clients read the first, the earlier router wrote the second, and a peer says the third.
            let peers = mictlanx.peer_ids();
            let fields = json!({ "bucket_id": bucket_id, "peer_ids": peers, "peers_ids": peers, "peer_id": mictlanx.peer_id() });
            mictlanx.bucket(&caller, bucket_id, &fields).await
        }
        Read::Checksum(digest) => mictlanx.data_by_digest(&caller, digest, &headers, &params.decode()?).await,
        Read::Metadata(bucket_id, key) => {
            let found = mictlanx.metadata(&caller, &bucket_id, &key).await?;
            // The earlier router answers 500 here, and its tests say so.
            let missing = || plain(FailureClass::NotFound, 500, "404: No available peers");
            let (_, metadata, _) = found.ok_or_else(missing)?;
            let peer = mictlanx.peer_id();
            Ok(Json(json!({
                "service_time": milliseconds(began), "peer_id": peer, "local_peer_id": peer, "metadata": metadata,
            }))
            .into_response())
        }
        Read::Chunks(bucket_id, ball) => {
            let pieces = mictlanx.pieces(&caller, &bucket_id, &ball).await?;
            if pieces.is_empty() {
                return Err(typed(FailureClass::NotFound, 404, 404, format!("no ball {bucket_id}@{ball}")));
            }
            let pieces = pieces.into_iter().map(|(_, piece)| piece).collect();
            Ok(Json(BallView::of(bucket_id, ball, pieces)).into_response())
        }
        Read::Group(bucket_id, ball) => {
            let pieces = mictlanx.pieces(&caller, &bucket_id, &ball).await?;
            Ok(group(bucket_id, ball, pieces.into_iter().map(|(_, piece)| piece).collect()))
        }
        Read::Size(bucket_id, key) => {
            // Every peer serves it.
            let size = size(&mictlanx, &caller, bucket_id, key).await?;
            let of_peer = |peer: String| {
                let mut size = size.clone();
                size["peer_id"] = json!(peer);
                size
            };
            let sizes: Vec<Value> = mictlanx.peer_ids().into_iter().map(of_peer).collect();
            Ok(Json(sizes).into_response())
        }
        Read::Merge(bucket_id, ball) => {
            mictlanx.merged(&caller, (&bucket_id, &ball), &headers, &params.decode()?).await
        }
        Read::Data(bucket_id, key) => {
            mictlanx.data(&caller, (&bucket_id, &key), &headers, &params.decode()?, true).await
        }
    }
}

pub(super) fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A ball as peers say it.
pub(super) fn group(bucket_id: String, ball: String, pieces: Vec<super::metadata::Metadata>) -> Response {
    let size: u64 = pieces.iter().map(|piece| piece.size).sum();
    Json(json!({ "bucket_id": bucket_id, "ball_id": ball, "size": size, "balls": pieces })).into_response()
}

/// How long an object is; 0 if there is none.
pub(super) async fn size(
    mictlanx: &MictlanX,
    caller: &Caller,
    bucket_id: String,
    key: String,
) -> Result<Value, Failure> {
    let found = mictlanx.metadata(caller, &bucket_id, &key).await?;
    let size = found.map_or(0, |(info, _, _)| info.size);
    Ok(json!({ "bucket_id": bucket_id, "key": key, "peer_id": mictlanx.peer_id(), "size": size }))
}

async fn write(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Upload,
) -> Result<Response, Failure> {
    match address::posted(rest(&uri, BUCKETS)).ok_or_else(Failure::not_found)? {
        Posted::Metadata(bucket_id) => announce(&mictlanx, &caller, bucket_id, &headers, body).await,
        Posted::Data(task) => {
            mictlanx.receive(caller, &task, body::file(body, "data")).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        Posted::Chunked(task) => {
            let written = mictlanx.receive(caller, &task, ready(Ok(body.into_stream()))).await?;
            let mut answer = super::peer::chunked(&mictlanx, &written);
            // Clients that name a peer are of the time when nobody but peers answered, and refuse more fields.
            if !headers.contains_key("peer-id") {
                answer.insert("peer_ids".to_owned(), json!(mictlanx.replicas(written.task.replicas)));
            }
            Ok(Json(answer).into_response())
        }
        Posted::Disable(bucket_id, key) => {
            mictlanx.disable(&caller, &bucket_id, &key).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Posted::Replicate(bucket_id, key) => super::peer::replicate(&mictlanx, &caller, bucket_id, key).await,
    }
}

async fn announce(
    mictlanx: &MictlanX,
    caller: &Caller,
    bucket_id: String,
    headers: &HeaderMap,
    body: Upload,
) -> Result<Response, Failure> {
    let began = Instant::now();
    let announcement: Announcement = json_body(body).await?;
    for (field, is_missing) in
        [("bucket_id", announcement.bucket_id.is_none()), ("ball_id", announcement.ball_id.is_none())]
    {
        if is_missing {
            return Err(invalid_field(field, "field required"));
        }
    }
    let key = announcement.key.clone();
    let wanted = u8::try_from(announcement.replication_factor).unwrap_or(0);
    let task = mictlanx.announce(caller, &bucket_id, true, announcement, headers).await?;
    Ok(Json(json!({
        "key": key,
        // Whole milliseconds: clients of routers read any number, those of peers only whole ones.
        "service_time": milliseconds(began),
        "task_id": task,
        "node_id": mictlanx.peer_id(),
        "tasks_ids": [task],
        "bucket_id": bucket_id,
        "replicas": mictlanx.replicas(wanted),
        "extra": {},
    }))
    .into_response())
}

async fn delete(State(mictlanx): State<MictlanX>, caller: Caller, uri: Uri) -> Result<Response, Failure> {
    match address::deleted(rest(&uri, BUCKETS)).ok_or_else(Failure::not_found)? {
        Deleted::Ball(bucket_id, ball) => {
            let deleted = mictlanx.delete_ball(&caller, &bucket_id, &ball).await?;
            let count = HeaderValue::from(deleted);
            Ok(([(DELETES, count)], Json(json!({ "n_deletes": deleted, "ball_id": ball }))).into_response())
        }
        Deleted::Key(bucket_id, key) => match mictlanx.delete(&caller, &bucket_id, &key).await? {
            true => Ok(([(DELETES, "1")], Json(json!({ "n_deletes": 1, "key": key }))).into_response()),
            false => Err(absent(&bucket_id, &key)),
        },
    }
}

async fn update(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    uri: Uri,
    body: Upload,
) -> Result<StatusCode, Failure> {
    let (bucket_id, key) = address::bucket_and_key(rest(&uri, UPDATES)).ok_or_else(Failure::not_found)?;
    let announcement: Announcement = json_body(body).await?;
    mictlanx.redescribe(&caller, &bucket_id, &key, announcement).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever may make buckets may announce peers, of which nothing is asked.
async fn demand_peers(mictlanx: &MictlanX, caller: &Caller) -> Result<(), Failure> {
    mictlanx.kernel().authorize::<Create>(caller, ResourceKind::Bucket).await.map(drop).map_err(refusal)
}

async fn demand_list(mictlanx: &MictlanX, caller: &Caller) -> Result<(), Failure> {
    mictlanx.kernel().authorize::<List>(caller, ResourceKind::Bucket).await.map(drop).map_err(refusal)
}

fn remember(
    mictlanx: &MictlanX,
    caller: &Caller,
    announced: Vec<peers::Announcement>,
) -> Result<StatusCode, Failure> {
    for peer in announced {
        if !mictlanx.0.announced.add(&caller.tenant(), peer) {
            let message =
                format!("at most {} peers are remembered, with texts of 256 bytes", peers::ANNOUNCED_MAX);
            return Err(typed(FailureClass::TooMany, 429, 500, message));
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn add_peers(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    body: Upload,
) -> Result<StatusCode, Failure> {
    demand_peers(&mictlanx, &caller).await?;
    remember(&mictlanx, &caller, json_body(body).await?)
}

async fn add_peer(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    body: Upload,
) -> Result<StatusCode, Failure> {
    demand_peers(&mictlanx, &caller).await?;
    remember(&mictlanx, &caller, vec![json_body(body).await?])
}

async fn remove_peer(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    demand_peers(&mictlanx, &caller).await?;
    mictlanx.0.announced.remove(&caller.tenant(), &id);
    Ok(StatusCode::NO_CONTENT)
}

/// Peers are named in the body, a list, or in the query, each as `peers=ID`.
async fn remove_peers(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    params: Params<Nothing>,
    body: Upload,
) -> Result<StatusCode, Failure> {
    demand_peers(&mictlanx, &caller).await?;
    let (_, mut ids) = params.decode_with_repeated("peers")?;
    let has_body = body.content_length().is_some_and(|length| length > 0) || body.require_json().is_ok();
    if has_body {
        ids.extend(json_body::<Vec<String>>(body).await?);
    }
    for id in ids {
        mictlanx.0.announced.remove(&caller.tenant(), &id);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// No parameters but those that are looked for by name.
#[derive(Debug, Deserialize)]
struct Nothing {}

async fn list_peers(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<Json<Value>, Failure> {
    demand_list(&mictlanx, &caller).await?;
    let unavailable = mictlanx.unavailable(&caller.tenant());
    Ok(Json(json!({ "available": mictlanx.peer_ids(), "unavailable": unavailable })))
}

async fn peer_stats(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    params: Params<Span>,
) -> Result<Json<Value>, Failure> {
    let mut span = params.decode()?;
    span.end = span.end.or(Some(span.start.saturating_add(100)));
    let stats = mictlanx.stats(&caller, span).await?;
    Ok(Json(Value::Object(mictlanx.all_stats(stats).await?)))
}

async fn cache(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<Json<Value>, Failure> {
    demand_list(&mictlanx, &caller).await?;
    let mut keys = Vec::new();
    let mut known = std::collections::BTreeMap::new();
    for (bucket, bucket_id, key) in mictlanx.0.cache.keys(&caller.tenant()) {
        let is_listable = match known.get(&bucket) {
            Some(known) => *known,
            None => {
                let is_listable =
                    mictlanx.listable(&caller, &bucket).await.is_ok_and(|permit| permit.is_some());
                known.insert(bucket, is_listable);
                is_listable
            }
        };
        if is_listable {
            keys.push(format!("{bucket_id}@{key}"));
        }
    }
    Ok(Json(json!({ "keys": keys })))
}

async fn cache_stats(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<Json<Value>, Failure> {
    demand_list(&mictlanx, &caller).await?;
    let used = mictlanx.0.cache.used();
    let share = used as f64 / CAPACITY as f64;
    Ok(Json(json!({ "total": CAPACITY, "used": used, "available": CAPACITY - used, "uf": share })))
}

async fn reset_cache(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<StatusCode, Failure> {
    demand_list(&mictlanx, &caller).await?;
    mictlanx.0.cache.reset(&caller.tenant());
    Ok(StatusCode::NO_CONTENT)
}

async fn replicas(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Value>, Failure> {
    let (bucket_id, key) = address::bucket_and_key(rest(&uri, REPLICAS)).ok_or_else(Failure::not_found)?;
    let is_there = mictlanx.metadata(&caller, &bucket_id, &key).await?.is_some();
    let (holders, others) = match is_there {
        true => (mictlanx.peer_ids(), Vec::new()),
        false => (Vec::new(), mictlanx.peer_ids()),
    };
    Ok(Json(json!({ "bucket_id": bucket_id, "key": key, "available": others, "replicas": holders })))
}

/// What is to be replicated.
#[derive(Debug, Deserialize)]
struct Replication {
    #[serde(default = "one")]
    rf: i64,
    #[serde(default)]
    bucket_id: String,
    #[serde(default)]
    key: String,
}

fn one() -> i64 {
    1
}

/// Nothing is left to do for as many replicas as the object's bucket keeps; more are refused.
async fn replicate(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    body: Upload,
) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let Replication { rf, bucket_id, key } = json_body(body).await?;
    let found = mictlanx.metadata(&caller, &bucket_id, &key).await?;
    let (info, _, permit) = found.ok_or_else(|| absent(&bucket_id, &key))?;
    let replicas = mictlanx.demand_peers_for(rf)?;
    mictlanx.demand_copies(&permit, (&info.bucket, &info.key), replicas).await?;
    let response_time = began.elapsed().as_secs_f64();
    Ok(Json(json!({ "replication_event_id": caller.request.to_string(), "response_time": response_time })))
}

/// A pool of as many peers as there are is there already; more are refused.
async fn elastic(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    body: Upload,
) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    demand_peers(&mictlanx, &caller).await?;
    let Replication { rf, .. } = json_body(body).await?;
    mictlanx.demand_peers_for(rf)?;
    let response_time = began.elapsed().as_secs_f64();
    Ok(Json(json!({ "pool_size": mictlanx.holders_count(), "response_time": response_time })))
}

async fn tasks(State(mictlanx): State<MictlanX>, caller: Caller) -> Result<Json<Value>, Failure> {
    let now = mictlanx.kernel().clock().monotonic();
    let tasks = mictlanx.0.tasks.list(&caller, now).into_iter().map(|(id, task)| {
        let view = json!({
            "task_id": id, "operation": "PUT", "bucket_id": task.bucket_id, "key": task.key, "size": task.size,
            "peers": mictlanx.peer_ids(), "content_type": task.content_type,
        });
        (id, view)
    });
    Ok(Json(Value::Object(tasks.collect())))
}

async fn metrics(State(mictlanx): State<MictlanX>) -> Response {
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, media_type)], (mictlanx.0.metrics)()).into_response()
}
