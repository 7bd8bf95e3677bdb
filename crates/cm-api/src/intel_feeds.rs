//! Feeds of threat intelligence: what others publish, asked for again and again.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::HeaderValue};
use cm_http::{Failure, FailureClass, JsonBody};
use cm_intel::feeds::{self, Feed, FeedKind, NewFeed, Tally};
use cm_intel::{IntelError, Tlp};
use cm_kernel::OpContext;
use cm_kernel::policy::{ActionKind, Create, Delete, List, Permit, Update};
use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;
use crate::intel::intel_refusal;
use crate::intel_views::tlp;

/// A feed to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedBody {
    /// What it is called.
    #[schema(example = "partners")]
    pub id: String,
    /// `taxii` for a collection of a TAXII 2.1 server, `misp` for a directory with a `manifest.json`.
    pub kind: String,
    /// Where it is: the address of the collection or of the directory, `https` or `http`, without a credential in it.
    #[schema(example = "https://taxii.example/root/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/")]
    pub url: String,
    /// The name that goes with the secret; without one the secret is a bearer token.
    pub username: Option<String>,
    /// What the feed is asked with. It is never shown again.
    #[schema(write_only)]
    pub secret: Option<String>,
    /// How much its word counts, 0 to 100; 20 unless told.
    pub weight: Option<u8>,
    /// How often it is asked, in seconds, 60 to 2592000; 3600 unless told.
    pub every_secs: Option<u64>,
    /// The marking of what bears none: `amber` unless told.
    pub unmarked: Option<String>,
}

/// A feed, and how it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FeedView {
    /// What it is called.
    pub id: String,
    /// `taxii` or `misp`.
    pub kind: String,
    /// Where it is.
    pub url: String,
    /// The name that goes with its secret.
    pub username: Option<String>,
    /// Whether it is asked with a secret.
    pub has_secret: bool,
    /// How much its word counts, 0 to 100.
    pub weight: u8,
    /// How often it is asked, in seconds.
    pub every_secs: u64,
    /// The marking of what bears none.
    pub unmarked: String,
    /// `waiting`, `queued` or `pulling`.
    pub activity: String,
    /// When it was added.
    #[schema(format = "date-time")]
    pub created: String,
    /// When it is asked next.
    #[schema(format = "date-time")]
    pub next: String,
    /// How often it was asked, to the end or in vain.
    pub pulls: u64,
    /// When it was last asked to the end.
    pub last_success: Option<String>,
    /// When it was last asked in vain.
    pub last_failure: Option<String>,
    /// Why.
    pub last_failure_reason: Option<String>,
    /// How often in a row it was asked in vain.
    pub failures: u32,
    /// Statements of it that hold.
    pub indicators: u64,
    /// Objects and events that were ever read of it.
    pub read: u64,
    /// Of them, new statements and new versions of statements.
    pub kept: u64,
    /// Statements that were known.
    pub known: u64,
    /// Statements that their authors took back.
    pub withdrawn: u64,
    /// Statements whose time was over when they came.
    pub expired: u64,
    /// Statements for which there was no room.
    pub dropped: u64,
    /// Signed events that are kept, or were.
    pub events: u64,
    /// Signed events that were forged, or whose reporter is not listened to.
    pub refused: u64,
    /// Objects that say nothing to this node.
    pub other: u64,
    /// Objects that nobody can read.
    pub unreadable: u64,
}

impl From<Feed> for FeedView {
    fn from(feed: Feed) -> Self {
        let (last_failure, last_failure_reason) = feed.last_failure.unzip();
        let Tally { read, kept, known, withdrawn, expired, dropped, events, refused, other, unreadable } =
            feed.tally;
        Self {
            id: feed.id.to_string(),
            kind: feed.kind.as_str().to_owned(),
            url: feed.url,
            username: feed.username,
            has_secret: feed.has_secret,
            weight: feed.weight,
            every_secs: feed.every.as_secs(),
            unmarked: feed.unmarked.as_str().to_owned(),
            activity: feed.activity.as_str().to_owned(),
            created: feed.created.to_string(),
            next: feed.next.to_string(),
            pulls: feed.pulls,
            last_success: feed.last_success.map(|at| at.to_string()),
            last_failure: last_failure.map(|at| at.to_string()),
            last_failure_reason,
            failures: feed.failures,
            indicators: feed.indicators,
            read,
            kept,
            known,
            withdrawn,
            expired,
            dropped,
            events,
            refused,
            other,
            unreadable,
        }
    }
}

/// Feeds are the node's, as its peers are: who may manage those may manage these.
async fn may<A: ActionKind>(api: &Api, op: &OpContext) -> Result<Permit<A>, Failure> {
    api.kernel.authorize_of_node::<A>(op, ResourceKind::IntelPeer).await.map_err(refusal)
}

fn named(id: String) -> Result<ResourceId, Failure> {
    ResourceId::parse(id).map_err(|_| Failure::not_found())
}

fn new_feed(body: FeedBody) -> Result<NewFeed, Failure> {
    let invalid = |text: String| Failure::new(FailureClass::Invalid, text);
    let FeedBody { id, kind, url, username, secret, weight, every_secs, unmarked } = body;
    let kind = kind.parse::<FeedKind>().map_err(|error| invalid(error.to_string()))?;
    let unmarked: Tlp = match &unmarked {
        None => feeds::UNMARKED,
        text => tlp(text.as_deref())?,
    };
    Ok(NewFeed {
        id: ResourceId::parse(id).map_err(|error| invalid(error.to_string()))?,
        kind,
        url,
        username,
        secret: secret.map(Into::into),
        weight: weight.unwrap_or(feeds::WEIGHT),
        every: every_secs.map_or(feeds::EVERY, Duration::from_secs),
        unmarked,
    })
}

#[utoipa::path(
    get, path = "/intel/feeds", operation_id = "list_feeds", tag = "intel",
    summary = "Lists feeds", extensions(("x-permission" = json!("intel-peer:list"))),
    responses((status = 200, description = "All of them, at most 100, and how they are", body = Vec<FeedView>))
)]
/// Lists feeds.
pub async fn list_feeds(State(api): State<Api>, Op(op): Op) -> Result<Json<Vec<FeedView>>, Failure> {
    let permit = may::<List>(&api, &op).await?;
    let found = api.intel.feeds(&permit).await.map_err(intel_refusal)?;
    Ok(Json(found.into_iter().map(FeedView::from).collect()))
}

#[utoipa::path(
    post, path = "/intel/feeds", operation_id = "add_feed", tag = "intel",
    summary = "Adds a feed, which is asked from now on", request_body = FeedBody,
    extensions(("x-permission" = json!("intel-peer:create"))),
    responses(
        (status = 201, description = "The feed, without its secret", body = FeedView),
        (status = 409, description = "There is one of that name, or there are as many as may be", body = ErrorBody),
        (status = 422, description = "A field is wrong", body = ErrorBody),
    )
)]
/// Adds a feed. Whoever does chooses whom this node talks to.
pub async fn add_feed(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<FeedBody>,
) -> Result<Response, Failure> {
    may::<Create>(&api, &op).await?;
    let new = new_feed(body.decode().await?)?;
    let op = op.again(&api.kernel).await?;
    let permit = may::<Create>(&api, &op).await?;
    let view = FeedView::from(api.intel.add_feed(&op, &permit, new).await.map_err(intel_refusal)?);
    let location = format!("{}/intel/feeds/{}", crate::document::PREFIX, view.id);
    let location = HeaderValue::try_from(location).map_err(Failure::internal)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

#[utoipa::path(
    get, path = "/intel/feeds/{id}", operation_id = "read_feed", tag = "intel", summary = "Says how a feed is",
    params(("id" = String, Path, description = "What it is called")),
    extensions(("x-permission" = json!("intel-peer:list"))),
    responses((status = 200, description = "The feed, without its secret", body = FeedView))
)]
/// Says how a feed is.
pub async fn read_feed(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<FeedView>, Failure> {
    let permit = may::<List>(&api, &op).await?;
    Ok(Json(api.intel.feed(&permit, &named(id)?).await.map_err(intel_refusal)?.into()))
}

#[utoipa::path(
    post, path = "/intel/feeds/{id}/pull", operation_id = "pull_feed", tag = "intel", summary = "Asks a feed now",
    params(("id" = String, Path, description = "What it is called")),
    extensions(("x-permission" = json!("intel-peer:update"))),
    responses((status = 202, description = "It is asked as soon as there is room; `activity` says when that is over", body = FeedView))
)]
/// Asks a feed now.
pub async fn pull_feed(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<FeedView>), Failure> {
    let permit = may::<Update>(&api, &op).await?;
    let feed = api.intel.pull_feed(&permit, &named(id)?).await.map_err(intel_refusal)?;
    Ok((StatusCode::ACCEPTED, Json(feed.into())))
}

#[utoipa::path(
    delete, path = "/intel/feeds/{id}", operation_id = "remove_feed", tag = "intel",
    summary = "Removes a feed with everything that it said",
    params(("id" = String, Path, description = "What it is called")),
    extensions(("x-permission" = json!("intel-peer:delete"))),
    responses(
        (status = 204, description = "It is gone; signed events that it carried stay"),
        (status = 404, description = "There is no such feed", body = ErrorBody),
    )
)]
/// Removes a feed with everything that it said.
pub async fn remove_feed(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let permit = may::<Delete>(&api, &op).await?;
    api.intel
        .remove_feed(&op, &permit, &named(id)?)
        .await
        .map_err(|error: IntelError| intel_refusal(error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_feeds, add_feed))
        .routes(routes!(read_feed, remove_feed))
        .routes(routes!(pull_feed))
}
