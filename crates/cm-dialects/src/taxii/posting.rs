//! Putting objects in (section 5.5), and what became of them (section 4.3).

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use cm_door::Caller;
use cm_http::{Failure, FailureClass, Upload};
use cm_intel::shelf::{NewObject, Put, Status, WhenFull};
use cm_stix::{StixObject, moment};
use cm_types::Timestamp;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::answer::answer;
use super::collections::Writable;
use super::events::{Taken, spec_of};
use super::media::require_taxii;
use super::{CONTENT_LENGTH_MAX, OBJECTS_MAX, Taxii};

/// Most details of each kind that a report keeps.
const DETAILS_KEPT_MAX: usize = 200;
/// Signed events that are taken at the same time: as many signatures as are checked and written together.
const TAKEN_AT_ONCE: usize = 32;

/// What is put in. Objects are kept as they were written.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    objects: Vec<Box<RawValue>>,
}

/// What became of one object (section 4.3.1).
#[derive(Debug, Serialize)]
struct Detail {
    id: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What became of all.
#[derive(Debug, Serialize)]
struct Report {
    id: Uuid,
    status: &'static str,
    request_timestamp: String,
    total_count: usize,
    success_count: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    successes: Vec<Detail>,
    failure_count: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Detail>,
    pending_count: usize,
}

pub(crate) async fn add(
    State(taxii): State<Taxii>,
    op: Caller,
    Path(collection): Path<String>,
    body: Upload,
) -> Result<Response, Failure> {
    require_taxii(body.headers())?;
    taxii.writable(&op, &collection).await?;
    let text = body.read_to_end(CONTENT_LENGTH_MAX).await?;
    let op = op.again(taxii.kernel()).await?;
    let writable = taxii.writable(&op, &collection).await?;
    let objects = envelope(&text)?;
    let now = taxii.kernel().now();
    let (mut successes, mut failures) = (Vec::new(), Vec::new());
    let total_count = objects.len();
    let (good, bad): (Vec<Looked>, Vec<Looked>) =
        objects.into_iter().map(looked_at).partition(|looked| looked.object.is_ok());
    failures.extend(
        bad.into_iter().filter_map(|looked| Some(detail(looked.id, now, Some(looked.object.err()?)))),
    );
    let good = good.into_iter().filter_map(|looked| Some((looked.object.ok()?, looked.text)));
    match writable {
        Writable::Shelf(shelf) => {
            let new: Vec<NewObject> = good
                .map(|(object, text)| NewObject {
                    id: object.id().to_owned(),
                    version: object.version(),
                    spec: spec_of(&object),
                    text,
                })
                .collect();
            let names: Vec<(String, Option<Timestamp>)> =
                new.iter().map(|object| (object.id.clone(), object.version)).collect();
            let shelves = taxii.intel().shelf();
            let put = shelves.put(&shelf, new, now, WhenFull::Refuse, None);
            let outcomes = put.await.map_err(Failure::internal)?;
            for ((id, version), outcome) in names.into_iter().zip(outcomes) {
                match outcome {
                    Put::Added(added) => successes.push(detail(id, version.unwrap_or(added), None)),
                    Put::Known => successes.push(detail(
                        id,
                        version.unwrap_or(now),
                        Some("was there already".to_owned()),
                    )),
                    Put::Full => failures.push(detail(
                        id,
                        version.unwrap_or(now),
                        Some("the collection is full".to_owned()),
                    )),
                    Put::ManyVersions => failures.push(detail(
                        id,
                        version.unwrap_or(now),
                        Some("the collection has as many versions of it as it may; delete some".to_owned()),
                    )),
                }
            }
        }
        Writable::Events(permit) => {
            let objects: Vec<(String, Timestamp, Value)> = good
                .map(|(object, _)| {
                    let (id, version) = (object.id().to_owned(), object.version().unwrap_or(now));
                    (id, version, object.into_value())
                })
                .collect();
            let mut outcomes = Vec::with_capacity(objects.len());
            for some in objects.chunks(TAKEN_AT_ONCE) {
                let taking = some.iter().map(|(_, _, object)| taxii.take_event(&op, &permit, object));
                outcomes.extend(try_join_all(taking).await?);
            }
            for ((id, version, _), taken) in objects.into_iter().zip(outcomes) {
                match taken {
                    Taken::Event { known: false } => successes.push(detail(id, version, None)),
                    Taken::Event { known: true } => {
                        successes.push(detail(id, version, Some("was there already".to_owned())))
                    }
                    Taken::Alongside => {
                        successes.push(detail(id, version, Some("taken from its indicator".to_owned())))
                    }
                    Taken::Refused(reason) => failures.push(detail(id, version, Some(reason))),
                }
            }
        }
    }
    let report = Report {
        id: Uuid::new_v4(),
        status: "complete",
        request_timestamp: moment::text(now),
        total_count,
        success_count: successes.len(),
        successes,
        failure_count: failures.len(),
        failures,
        pending_count: 0,
    };
    let body = kept(&report).map_err(Failure::internal)?;
    let kept = Status { tenant: op.tenant(), principal: op.principal().cloned(), body };
    taxii.intel().shelf().keep_status(&report.id.to_string(), kept, now).await.map_err(Failure::internal)?;
    answer(StatusCode::ACCEPTED, &report)
}

/// The report as it is kept: what became of the first of each kind, and how many there were of all. The answer said the rest.
fn kept(report: &Report) -> Result<Value, serde_json::Error> {
    let mut body = serde_json::to_value(report)?;
    for list in ["successes", "failures"] {
        if let Some(details) = body.get_mut(list).and_then(Value::as_array_mut) {
            details.truncate(DETAILS_KEPT_MAX);
        }
    }
    Ok(body)
}

pub(crate) async fn status(
    State(taxii): State<Taxii>,
    op: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let found = taxii.intel().shelf().status(&id).await.map_err(Failure::internal)?;
    // It is for whoever put the objects in; nobody else knows that it is there.
    let own =
        found.filter(|status| status.tenant == op.tenant() && status.principal.as_ref() == op.principal());
    answer(StatusCode::OK, &own.ok_or_else(Failure::not_found)?.body)
}

fn envelope(text: &[u8]) -> Result<Vec<Box<RawValue>>, Failure> {
    let envelope: Envelope = cm_http::body::from_json(text)?;
    let refused = |reason: &str| Failure::new(FailureClass::Invalid, reason);
    match envelope.objects.len() {
        0 => Err(refused("the envelope has no objects")),
        1..=OBJECTS_MAX => Ok(envelope.objects),
        _ => Err(refused("the envelope has too many objects").with_detail("limit", OBJECTS_MAX as u64)),
    }
}

/// An object that was looked at.
struct Looked {
    /// What it calls itself.
    id: String,
    object: Result<StixObject, String>,
    text: Box<RawValue>,
}

fn looked_at(text: Box<RawValue>) -> Looked {
    // Nesting is bounded by the parser.
    let value: Result<Value, String> = serde_json::from_str(text.get()).map_err(|error| error.to_string());
    let id = value.as_ref().ok().and_then(|value| value.get("id")?.as_str()).unwrap_or("unknown");
    let id = id.chars().take(300).collect();
    let object = value.and_then(|value| StixObject::check(value).map_err(|error| error.to_string()));
    Looked { id, object, text }
}

fn detail(id: String, version: Timestamp, message: Option<String>) -> Detail {
    Detail { id, version: moment::text(version), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_has_objects() {
        let count = |text: &str| {
            envelope(text.as_bytes()).map(|objects| objects.len()).map_err(|failure| failure.class())
        };
        assert_eq!(count(r#"{"objects":[{},7]}"#), Ok(2));
        assert_eq!(count(r#"{"more":false,"objects":[{}]}"#), Ok(1));
        assert_eq!(count("{}"), Err(FailureClass::Invalid));
        assert_eq!(count(r#"{"objects":[]}"#), Err(FailureClass::Invalid));
        assert_eq!(count("[]"), Err(FailureClass::Invalid));
        assert_eq!(count(r#"{"objects":{}}"#), Err(FailureClass::Invalid));
        assert_eq!(count("{"), Err(FailureClass::Malformed));
        let many = format!(r#"{{"objects":[{}0]}}"#, "0,".repeat(OBJECTS_MAX));
        assert_eq!(count(&many), Err(FailureClass::Invalid));
    }

    #[test]
    fn a_report_is_kept_with_true_counts_and_bounded_details() {
        let details = |count: usize| -> Vec<Detail> {
            (0..count).map(|at| detail(format!("x--{at}"), Timestamp::from_micros(0), None)).collect()
        };
        let report = Report {
            id: Uuid::nil(),
            status: "complete",
            request_timestamp: String::new(),
            total_count: 10_007,
            success_count: 7,
            successes: details(7),
            failure_count: 10_000,
            failures: details(10_000),
            pending_count: 0,
        };
        let body = kept(&report).unwrap();
        assert_eq!((&body["success_count"], &body["failure_count"]), (&7.into(), &10_000.into()));
        assert_eq!(body["successes"].as_array().unwrap().len(), 7);
        assert_eq!(body["failures"].as_array().unwrap().len(), DETAILS_KEPT_MAX);
        assert_eq!(body["failures"][0]["id"], "x--0");
    }

    #[test]
    fn what_is_wrong_with_an_object_is_said_of_it_alone() {
        let look = |text: &str| looked_at(RawValue::from_string(text.to_owned()).unwrap());
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        for (text, id) in
            [("7", "unknown"), (r#"{"id":"x","type":"indicator"}"#, "x"), (deep.as_str(), "unknown")]
        {
            let looked = look(text);
            assert!(looked.object.is_err(), "{id}");
            assert_eq!(looked.id, id);
        }
    }
}
