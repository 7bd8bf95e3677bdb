//! The protocol of the first clients, who speak to peers only and name no buckets in addresses. They refuse answers with more fields than they know.
//!
//! | Route, below `/api/v4` | Methods |
//! | --- | --- |
//! | `/metadata` | `POST` announces an object |
//! | `/data/TASK` | `POST` sends its bytes, the file `upload` of a form |
//! | `/metadata/KEY` | `GET` |
//! | `/metadata/BALL/chunks` | `GET` lists the pieces of a ball |
//! | `/KEY` | `GET`, `DELETE` |
//!
//! A key without a bucket means the object of that key that was written last, of those that the caller may read; it is found by a term,
//! and otherwise in the bucket of those who name none.

use std::time::Instant;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cm_door::{Caller, refusal};
use cm_http::{Failure, FailureClass, Params, Upload};
use cm_kernel::objects::ObjectInfo;
use cm_kernel::policy::{Permit, Read};
use serde_json::{Value, json};

use super::metadata::{Announcement, Metadata, ball_term, key_term};
use super::names::DEFAULT_BUCKET;
use super::peer::{announce, deletes};
use super::reading::Presentation;
use super::router::{milliseconds, rest};
use super::shape::typed;
use super::writing::json_body;
use super::{MictlanX, address, body};

const KEYS: &str = "/api/v4/";
const METADATA: &str = "/api/v4/metadata/";

/// The routes.
pub(super) fn routes() -> Router<MictlanX> {
    Router::new()
        .route("/api/v4/metadata", post(announced))
        .route("/api/v4/metadata/{*rest}", get(described))
        .route("/api/v4/data/{task}", post(sent))
        .route("/api/v4/{*rest}", get(data).delete(delete))
}

fn missing(key: &str) -> Failure {
    typed(FailureClass::NotFound, 404, 404, format!("no object {key}"))
}

async fn announced(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    headers: HeaderMap,
    body: Upload,
) -> Result<Response, Failure> {
    let announcement: Announcement = json_body(body).await?;
    let bucket_id = announcement.bucket_id.clone().filter(|id| !id.is_empty());
    let bucket_id = bucket_id.unwrap_or_else(|| DEFAULT_BUCKET.to_owned());
    announce(&mictlanx, &caller, &bucket_id, announcement, &headers).await
}

async fn sent(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    Path(task): Path<String>,
    body: Upload,
) -> Result<Response, Failure> {
    let written = mictlanx.receive(caller, &task, body::file(body, "upload")).await?;
    let service_time = u64::try_from(written.took.as_millis()).unwrap_or(u64::MAX);
    let answer = json!({ "service_time": service_time, "throughput": written.throughput() });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// The latest object of a key.
async fn found(
    mictlanx: &MictlanX,
    caller: &Caller,
    key: &str,
) -> Result<Option<(ObjectInfo, Metadata, Permit<Read>)>, Failure> {
    let found = mictlanx.kernel().find_objects(caller, &key_term(key)).await.map_err(refusal)?;
    match found.into_iter().next() {
        Some((info, text, permit)) => {
            let metadata = Metadata::of(info.bucket.as_str(), &info, Some(&text));
            Ok(Some((info, metadata, permit)))
        }
        None => mictlanx.metadata(caller, DEFAULT_BUCKET, key).await,
    }
}

async fn described(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let path = rest(&uri, METADATA);
    if let Some(ball) = path.strip_suffix("/chunks").and_then(address::whole) {
        return pieces(&mictlanx, &caller, &ball).await;
    }
    let key = address::whole(path).ok_or_else(Failure::not_found)?;
    let (_, metadata, _) = found(&mictlanx, &caller, &key).await?.ok_or_else(|| missing(&key))?;
    Ok(Json(json!({
        "service_time": milliseconds(began), "node_id": mictlanx.peer_id(), "metadata": metadata.first(),
    })))
}

/// The pieces of the ball whose first piece was written last.
async fn pieces(mictlanx: &MictlanX, caller: &Caller, ball: &str) -> Result<Json<Value>, Failure> {
    let some = mictlanx.kernel().find_objects(caller, &ball_term(ball)).await.map_err(refusal)?;
    let bucket_id =
        some.first().map(|(info, text, _)| Metadata::of(info.bucket.as_str(), info, Some(text)).bucket_id);
    let bucket_id = bucket_id.unwrap_or_else(|| DEFAULT_BUCKET.to_owned());
    let pieces = mictlanx.pieces(caller, &bucket_id, ball).await?;
    Ok(Json(pieces.iter().map(|(_, piece)| piece.first()).collect()))
}

async fn data(
    State(mictlanx): State<MictlanX>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    params: Params<Presentation>,
) -> Result<Response, Failure> {
    let key = address::whole(rest(&uri, KEYS)).ok_or_else(Failure::not_found)?;
    let (info, metadata, permit) = found(&mictlanx, &caller, &key).await?.ok_or_else(|| missing(&key))?;
    mictlanx.answer(info, &metadata, &permit, &headers, &params.decode()?, false).await
}

async fn delete(State(mictlanx): State<MictlanX>, caller: Caller, uri: Uri) -> Result<Response, Failure> {
    let key = address::whole(rest(&uri, KEYS)).ok_or_else(Failure::not_found)?;
    match found(&mictlanx, &caller, &key).await? {
        Some((_, metadata, _)) => {
            let deleted = mictlanx.delete(&caller, &metadata.bucket_id, &key).await?;
            Ok(deletes(u64::from(deleted)))
        }
        None => Ok(deletes(0)),
    }
}
