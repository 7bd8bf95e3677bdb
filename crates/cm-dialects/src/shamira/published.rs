//! Jobs in the published client's own form.

use std::cell::RefCell;
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use cm_door::Caller;
use cm_http::{Deadline, Failure, JsonBody};
use cm_kernel::OpContext;
use cm_kernel::catalog::Record;
use cm_kernel::catalog::kinds::Computation;
use cm_kernel::policy::{Create, Read};
use cm_mpc::computation::published::{PublishedJob, PublishedStep};
use cm_mpc::state_of;
use cm_types::ResourceKind;
use serde_json::{Map, Value, json};

use super::jobs::{begin, look_up, results, status};
use super::nodes::parties;
use super::{Shamira, invalid};

/// How long a job is said to be wanted, in seconds, if it does not say.
const WANTED_FOR_SECONDS: i64 = 3600;

/// Starts a job and answers with it as it is kept: without waiting for its end, and without the values that came with it.
pub(super) async fn create(
    State(shamira): State<Shamira>,
    caller: Caller,
    deadline: Deadline,
    body: JsonBody<PublishedJob>,
) -> Result<Json<Value>, Failure> {
    let kernel = shamira.kernel();
    kernel.authorize::<Create>(&caller, ResourceKind::Computation).await.map_err(cm_door::refusal)?;
    let job = body.decode().await?;
    let caller = caller.again(kernel).await?;
    deadline.lift();
    let (computations, parties) = (shamira.computations().clone(), parties(&shamira).len());
    // Every number may take a multiplication on the curve.
    let translating = kernel.tasks().spawn_blocking("shamira-translate", move || {
        let unmasked = RefCell::new(BTreeMap::new());
        let unmask = |key: &str| {
            let known = unmasked.borrow().get(key).copied();
            known.unwrap_or_else(|| {
                let mask = computations.unmask(key);
                unmasked.borrow_mut().insert(key.to_owned(), mask);
                mask
            })
        };
        let translated = job.translate(parties, &unmask);
        (job.without_values(), translated)
    });
    let (job, translated) = translating.await.map_err(Failure::internal)?;
    let translated = translated.map_err(invalid)?;
    let source = serde_json::to_string(&job).map_err(Failure::internal)?;
    let (record, _) = begin(&shamira, &caller, &translated.job, source).await?;
    let (record, _) = look_up::<Read>(&shamira, &caller, record.header.id.as_str()).await?;
    Ok(Json(shown(&shamira, &caller, &record, &job).await?))
}

/// The job of a computation that came in this form.
pub(super) fn job_of(record: &Record) -> Option<PublishedJob> {
    let spec: Computation = record.spec_as().ok()?;
    // Steps of the other form have an `operation`, and no `step_type`.
    serde_json::from_str(spec.source.as_deref()?).ok().filter(|job: &PublishedJob| !job.steps.is_empty())
}

/// How the published client calls a state.
fn state(record: &Record) -> &'static str {
    match status(state_of(record)) {
        "pending" => "waiting",
        "in_progress" => "started",
        "completed" => "completed",
        _ => "error",
    }
}

/// A job as its client knows it. Results stand in clear digits where the first system had ciphertexts that everybody could read, and for the
/// owner alone: beside the job by the names of its variables, and at the steps that made them.
pub(super) async fn shown(
    shamira: &Shamira,
    op: &OpContext,
    record: &Record,
    job: &PublishedJob,
) -> Result<Value, Failure> {
    let is_owner = op.principal() == Some(&record.header.owner);
    let own_names = job.own_names();
    let by_own = match is_owner && state(record) == "completed" {
        true => results(shamira, op, record).await?,
        false => Map::new(),
    };
    let value_of = |name: &str| by_own.get(own_names.get(name)?);
    let id = record.header.id.to_string();
    let hash_id = job.hash_id.clone().unwrap_or_else(|| format!("job-{id}"));
    let created = record.header.created_at.as_micros() / 1_000_000;
    let steps: Vec<Value> = (job.steps.iter().enumerate())
        .map(|(at, step)| {
            let value = value_of(&step.variable_name).map(digits);
            step_shown(step, at + 1, &hash_id, state(record), value)
        })
        .collect();
    let mut shown = json!({
        "id": null,
        "job_id": id,
        "name": job.name,
        "status": state(record),
        "expiration_time": job.expiration_time.unwrap_or(created + WANTED_FOR_SECONDS),
        "created_time": job.created_time.unwrap_or(created),
        "program_id": null,
        "hash_id": hash_id,
        "signature": job.signature.clone().unwrap_or_default(),
        "steps": steps,
    });
    if let Some(message) = record.status.get("message") {
        shown["message"] = message.clone();
    }
    if is_owner && !by_own.is_empty() {
        let named = own_names.iter().filter_map(|(name, own)| Some((name.clone(), by_own.get(own)?.clone())));
        shown["results"] = Value::Object(named.collect());
    }
    Ok(shown)
}

fn digits(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn step_shown(step: &PublishedStep, id: usize, job: &str, state: &str, value: Option<String>) -> Value {
    json!({
        "id": id,
        "job_hash_id": job,
        "status": state,
        "parameters": step.parameters,
        "dest_node_public_key": step.dest_node_public_key,
        "assigned_node_public_key": step.assigned_node_public_key,
        "step_type": step.step_type,
        "variable_type": step.variable_type,
        "variable_name": step.variable_name,
        "output_value": value,
        "hash_id": step.hash_id.clone().unwrap_or_else(|| hash_id(step)),
        "signature": "",
    })
}

/// What a step is called that its client gave no name, as the first system computes it.
fn hash_id(step: &PublishedStep) -> String {
    // There, what is absent is spelled as its language does.
    let parts = [
        step.job_hash_id.as_deref().unwrap_or("None"),
        step.variable_name.as_str(),
        step.variable_type.as_str(),
        step.assigned_node_public_key.as_str(),
        step.dest_node_public_key.as_str(),
        step.step_type.as_str(),
        step.parameters.as_deref().unwrap_or("None"),
    ];
    cm_crypto::digest::sha256(parts.join("_").as_bytes()).to_string()
}

/// The steps in the words of the other routes.
pub(super) fn steps_as_of_old(record: &Record, job: &PublishedJob) -> Vec<Value> {
    let shown = job.steps.iter().enumerate().map(|(at, step)| {
        json!({
            "id": at + 1,
            "job_id": record.header.id,
            "step_id": step.hash_id.clone().unwrap_or_else(|| hash_id(step)),
            "operation": step.step_type,
            "variable_name": step.variable_name,
            "variable_type": step.variable_type,
            "operand1": null,
            "operand2": null,
            "destination_node_id": null,
            "dependencies": [],
            "status": status(state_of(record)),
        })
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_a_name_are_called_as_in_the_first_system() {
        let step = PublishedStep {
            step_type: "add".to_owned(),
            variable_name: "c".to_owned(),
            variable_type: "shard".to_owned(),
            parameters: None,
            assigned_node_public_key: "04a".to_owned(),
            dest_node_public_key: "04b".to_owned(),
            ..PublishedStep::default()
        };
        // printf 'None_c_shard_04a_04b_add_None' | sha256sum
        assert_eq!(hash_id(&step), HASH);
    }

    const HASH: &str = "f02f28d2448d1757d273ce62be0714edf761f98d25b62e36c13902410238c48a";
}
