//! Rules of applications about attributes.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cm_http::Failure;
use cm_kernel::OpContext;
use cm_kernel::identity::AccountScope;
use cm_kernel::policy::declared::attributes::{
    Effect, Event, Point, Policies, Policy, Request, Window, WindowMode, Zone,
};
use cm_kernel::policy::{List, Update};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Xolo;
use super::call::{Call, account};
use super::shape::{invalid, refused};

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/abac/policies", get(list).post(create))
        .route("/abac/policies/{policy}", get(read).delete(remove))
        .route("/abac/evaluate", post(evaluate))
}

#[derive(Deserialize)]
struct NewZone {
    lat: f64,
    lng: f64,
    #[serde(default = "one")]
    radius_km: f64,
}

fn one() -> f64 {
    1.0
}

/// Where: around a place, or `*`, as clients write everywhere.
#[derive(Deserialize)]
#[serde(untagged)]
enum Location {
    Around(NewZone),
    Everywhere(Everywhere),
}

#[derive(Deserialize)]
enum Everywhere {
    #[serde(rename = "*")]
    Everywhere,
}

#[derive(Deserialize)]
struct NewEvent {
    subject: String,
    resource: String,
    #[serde(default)]
    location: Option<Location>,
    /// As the times are written, unless told.
    #[serde(default)]
    time_mode: Option<WindowMode>,
    #[serde(default)]
    time_start: Option<String>,
    #[serde(default)]
    time_end: Option<String>,
    action: String,
}

#[derive(Deserialize)]
struct NewPolicy {
    name: String,
    #[serde(default = "allow")]
    effect: Effect,
    events: Vec<NewEvent>,
}

fn allow() -> Effect {
    Effect::Allow
}

#[derive(Deserialize)]
struct Question {
    subject: String,
    resource: String,
    #[serde(default)]
    location: Value,
    #[serde(default)]
    time: Option<String>,
    action: String,
}

impl From<NewEvent> for Event {
    fn from(new: NewEvent) -> Self {
        let NewEvent { subject, resource, location, time_mode, time_start, time_end, action } = new;
        let zone = match location {
            Some(Location::Around(NewZone { lat, lng, radius_km })) => {
                Some(Zone { center: Point { lat, lng }, radius_km })
            }
            Some(Location::Everywhere(Everywhere::Everywhere)) | None => None,
        };
        let mode = time_mode.unwrap_or_else(|| mode_of(time_start.as_deref().or(time_end.as_deref())));
        let window = Window { mode, start: time_start, end: time_end };
        Event { id: Uuid::new_v4().to_string(), subject, resource, zone, window, action }
    }
}

/// What a window repeats whose ends are written like this. Whether they are written well is looked at where the policy is.
fn mode_of(end: Option<&str>) -> WindowMode {
    match end {
        None => WindowMode::Wildcard,
        Some(end) if end.len() == "HH:MM".len() => WindowMode::TimeOfDay,
        Some(end) if end.len() == "YYYY-MM-DD".len() => WindowMode::Date,
        Some(_) => WindowMode::Datetime,
    }
}

fn view(id: &str, policy: &Policy) -> Value {
    let event = |event: &Event| {
        json!({
            "event_id": event.id,
            "subject": { "value": event.subject },
            "resource": { "value": event.resource },
            "location": event.zone.map_or_else(|| json!("*"), |zone| json!(zone)),
            "time": event.window,
            "action": { "value": event.action },
        })
    };
    json!({
        "policy_id": id,
        "name": policy.name,
        "effect": policy.effect,
        "events": policy.events.iter().map(event).collect::<Vec<_>>(),
    })
}

async fn may_ask(call: &Call, id: &str) -> Result<cm_kernel::Permit<List>, Failure> {
    let (op, _) = call.user_of(&account(id)?, AccountScope::Abac).await?;
    call.xolo.kernel().authorize::<List>(&op, ResourceKind::SecurityPolicy).await.map_err(refused)
}

async fn may_change(call: &Call, id: &str) -> Result<(OpContext, cm_kernel::Permit<Update>), Failure> {
    let (op, _) = call.user_of(&account(id)?, AccountScope::Abac).await?;
    let permit = call.xolo.kernel().authorize::<Update>(&op, ResourceKind::SecurityPolicy).await;
    Ok((op, permit.map_err(refused)?))
}

async fn create(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let NewPolicy { name, effect, events } = call.body().await?;
    let policy = Policy { name, effect, events: events.into_iter().map(Event::from).collect() };
    let policy_id = Uuid::new_v4().to_string();
    let (told, shown) = (("policy.created", policy_id.clone()), view(&policy_id, &policy));
    let done = xolo.kernel().change_declared(&op, &permit, told, move |policies: &mut Policies| {
        policies.create(&policy_id, policy)
    });
    done.await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(shown)))
}

async fn list(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call, &id).await?;
    let all = call.xolo.kernel().ask_declared(&permit, |policies: &Policies| {
        policies.policies.iter().map(|(id, policy)| view(id, policy)).collect::<Vec<_>>()
    });
    Ok(Json(all.await.map_err(refused)?.into()))
}

async fn read(Path((id, policy)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call, &id).await?;
    let kernel = call.xolo.kernel();
    let shown = kernel.ask_declared(&permit, move |policies: &Policies| {
        policies.get(&policy).map(|found| view(&policy, found))
    });
    Ok(Json(shown.await.map_err(refused)?.map_err(|error| refused(error.into()))?))
}

async fn remove(Path((id, policy)): Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let told = ("policy.deleted", policy.clone());
    let kernel = call.xolo.kernel();
    let done =
        kernel.change_declared(&op, &permit, told, move |policies: &mut Policies| policies.remove(&policy));
    done.await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A place, if the request tells it; clients write `*` for what they do not tell.
fn place(value: Value) -> Result<Option<Point>, Failure> {
    match &value {
        Value::Null => Ok(None),
        Value::String(text) if text == "*" => Ok(None),
        _ => {
            let point = serde_json::from_value(value);
            point.map(Some).map_err(|_| invalid("location", "expected lat and lng, * or nothing"))
        }
    }
}

async fn evaluate(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Question { subject, resource, location, time, action } = call.body().await?;
    let kernel = xolo.kernel();
    let time = time.unwrap_or_else(|| kernel.now().to_string());
    let request = Request { subject, resource, place: place(location)?, time, action };
    let answer = kernel.ask_declared(&permit, move |policies: &Policies| policies.check(&request)).await;
    let answer = answer.map_err(refused)?.map_err(|error| refused(error.into()))?;
    Ok(Json(json!({
        "allowed": answer.allowed,
        "matched_policy": answer.by,
        "matched_event": answer.part,
        "reason": answer.reason,
    })))
}
