//! Jobs and their steps.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_door::Caller;
use cm_http::{Deadline, Failure, JsonBody, Params};
use cm_kernel::OpContext;
use cm_kernel::catalog::kinds::Computation;
use cm_kernel::catalog::{Query, Record};
use cm_kernel::policy::{Create, Invoke, List, Read};
use cm_mpc::computation::published::quote_large;
use cm_mpc::computation::{FieldName, Job, Receivers, Settings};
use cm_mpc::{NewComputation, Progress, state_of};
use cm_types::{Labels, PageLimit, ResourceKind};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::login::Published;
use super::nodes::parties;
use super::{Shamira, invalid, published, refused};

/// How long an answer waits for the end of its job; it goes on after that.
const WAIT_FOR: Duration = Duration::from_secs(30);
/// Jobs that a list shows.
const JOBS_SHOWN: usize = 100;

/// Numbers are those of the first system unless a job says otherwise.
fn settings() -> Settings {
    Settings { field: FieldName::Secp256k1, ..Settings::default() }
}

/// Carries a job out, and answers with its results once it has ended.
pub(super) async fn execute(
    State(shamira): State<Shamira>,
    caller: Caller,
    deadline: Deadline,
    body: JsonBody<Box<RawValue>>,
) -> Result<Json<Value>, Failure> {
    let kernel = shamira.kernel();
    kernel.authorize::<Create>(&caller, ResourceKind::Computation).await.map_err(cm_door::refusal)?;
    let body = body.decode().await?;
    let job: Job = serde_json::from_str(&quote_large(body.get())).map_err(invalid)?;
    let caller = caller.again(kernel).await?;
    deadline.lift();
    let source = without_values(&job)?;
    let (record, mut progress) = begin(&shamira, &caller, &job, source).await?;
    let ended = progress.wait_for(|progress| progress.state != "running");
    // What has not ended by then is told as running.
    let _ = tokio::time::timeout(WAIT_FOR, ended).await;
    let (record, _) = look_up::<Read>(&shamira, &caller, record.header.id.as_str()).await?;
    Ok(Json(shown(&shamira, &caller, &record).await?))
}

/// Makes a job's computation, splits its values here, and starts it.
pub(super) async fn begin(
    shamira: &Shamira,
    caller: &Caller,
    job: &Job,
    source: String,
) -> Result<(Record, watch::Receiver<Progress>), Failure> {
    let permit = shamira.kernel().authorize::<Create>(caller, ResourceKind::Computation).await;
    let permit = permit.map_err(cm_door::refusal)?;
    let owner = caller.principal().cloned().ok_or_else(Failure::not_found)?;
    let names = parties(shamira);
    let party = |node: u32| names.get(usize::try_from(node).ok()?.checked_sub(1)?).cloned();
    let lowered = job.lower(owner.as_str(), &settings(), party).map_err(invalid)?;
    let mut receivers = BTreeMap::new();
    for output in lowered.program.outputs() {
        let Receivers::Clients(to) = output.to else { continue };
        if to.iter().any(|name| name != owner.as_str()) {
            return Err(invalid(
                "a job of this route reveals to its owner or to `all`; others learn results by the native API",
            ));
        }
        receivers.insert(owner.to_string(), shamira.computations().sealing_key());
    }
    let computations = shamira.computations();
    let new = NewComputation {
        name: if job.name.is_empty() { "job".to_owned() } else { job.name.clone() },
        description: job.description.clone(),
        program: lowered.program,
        source: Some(source),
        parties: names.clone(),
        receivers,
        sign: None,
        labels: Labels::new(),
    };
    let record = computations.create(caller, &permit, new).await.map_err(refused)?;
    let (record, invoke) = look_up::<Invoke>(shamira, caller, record.header.id.as_str()).await?;
    computations.put_values(&record, &invoke, &lowered.assigned).await.map_err(refused)?;
    let progress = computations.start(caller, &record, &invoke, None).await.map_err(refused)?;
    Ok((record, progress))
}

pub(super) async fn look_up<A: cm_kernel::policy::ActionKind>(
    shamira: &Shamira,
    caller: &Caller,
    id: &str,
) -> Result<(Record, cm_kernel::Permit<A>), Failure> {
    let found = shamira.kernel().look_up::<A>(caller, ResourceKind::Computation, id).await;
    found.map_err(cm_door::refusal)
}

/// The job as text, without the values that came with it: the catalogue is no place for secrets.
fn without_values(job: &Job) -> Result<String, Failure> {
    let mut job = job.clone();
    for step in &mut job.steps {
        if step.variable_type.as_deref() != Some("public") {
            step.value = None;
        }
    }
    serde_json::to_string(&job).map_err(Failure::internal)
}

/// How the first system calls a state.
pub(super) fn status(state: &str) -> &'static str {
    match state {
        "waiting" => "pending",
        "running" => "in_progress",
        "completed" => "completed",
        _ => "failed",
    }
}

async fn shown(shamira: &Shamira, op: &OpContext, record: &Record) -> Result<Value, Failure> {
    let state = status(state_of(record));
    if let Some(job) = published::job_of(record) {
        return published::shown(shamira, op, record, &job).await;
    }
    let mut job = json!({
        "job_id": record.header.id,
        "id": record.header.id,
        "name": record.header.name,
        "status": state,
        "created_time": record.header.created_at.to_string(),
        "steps": steps_of(record),
    });
    for field in ["tier", "field", "rounds", "bytes_sent", "took_ms", "cheaters", "message"] {
        if let Some(value) = record.status.get(field) {
            job[field] = value.clone();
        }
    }
    if state == "completed" && op.principal() == Some(&record.header.owner) {
        job["results"] = Value::Object(results(shamira, op, record).await?);
    }
    Ok(job)
}

/// The results, for the job's owner alone.
pub(super) async fn results(
    shamira: &Shamira,
    op: &OpContext,
    record: &Record,
) -> Result<Map<String, Value>, Failure> {
    let id = record.header.id.as_str();
    let looked_up = shamira.kernel().look_up::<Read>(op, ResourceKind::Computation, id).await;
    let (record, permit) = looked_up.map_err(cm_door::refusal)?;
    let agreed = shamira.computations().plan(&record).map_err(refused)?;
    let mut results = Map::new();
    for output in agreed.plan().program.outputs() {
        let is_scalar = agreed.plan().program.node(output.node).shape.is_scalar();
        let values = match output.to {
            Receivers::Everybody => record.status["open"][output.name].clone(),
            Receivers::Clients(_) => {
                let owner = record.header.owner.as_str();
                let opened = shamira.computations().open_here(&record, &permit, output.name, owner).await;
                // A result that was sealed to somebody's own key is theirs to open.
                let Ok(opened) = opened else { continue };
                serde_json::to_value(opened.values).map_err(Failure::internal)?
            }
        };
        let value = if is_scalar { values[0].clone() } else { values };
        results.insert(output.name.to_owned(), value);
    }
    Ok(results)
}

pub(super) fn steps_of(record: &Record) -> Vec<Value> {
    if let Some(job) = published::job_of(record) {
        return published::steps_as_of_old(record, &job);
    }
    let spec: Option<Computation> = record.spec_as().ok();
    let job: Option<Job> = spec.and_then(|spec| serde_json::from_str(spec.source.as_deref()?).ok());
    let state = status(state_of(record));
    let steps = job.map(|job| job.steps).unwrap_or_default();
    let shown = steps.into_iter().enumerate().map(|(at, step)| {
        json!({
            "id": at + 1,
            "job_id": record.header.id,
            "step_id": step.step_id.unwrap_or_else(|| format!("step_{}", at + 1)),
            "operation": step.operation,
            "variable_name": step.variable_name,
            "variable_type": step.variable_type.unwrap_or_else(|| "shard".to_owned()),
            "operand1": step.operand1,
            "operand2": step.operand2,
            "destination_node_id": step.destination_node,
            "dependencies": step.dependencies.unwrap_or_default(),
            "status": state,
        })
    });
    shown.collect()
}

/// The caller's own jobs, newest first.
pub(super) async fn own_jobs(shamira: &Shamira, caller: &Caller) -> Result<Vec<Record>, Failure> {
    let kernel = shamira.kernel();
    let permit = kernel.authorize::<List>(caller, ResourceKind::Computation).await;
    let permit = permit.map_err(cm_door::refusal)?;
    let query = Query {
        limit: PageLimit::clamped(JOBS_SHOWN),
        newest_first: true,
        ..Query::of(ResourceKind::Computation)
    };
    let page = kernel.list_records(caller, &permit, query).await.map_err(cm_door::refusal)?;
    let own = page.items.into_iter().filter(|record| caller.principal() == Some(&record.header.owner));
    Ok(own.collect())
}

pub(super) async fn list(
    State(shamira): State<Shamira>,
    caller: Caller,
    is_published: Option<Extension<Published>>,
) -> Result<Json<Value>, Failure> {
    let mut jobs = Vec::new();
    for record in own_jobs(&shamira, &caller).await? {
        // The published client knows one form of jobs.
        if is_published.is_none() || published::job_of(&record).is_some() {
            jobs.push(shown(&shamira, &caller, &record).await?);
        }
    }
    Ok(Json(Value::from(jobs)))
}

pub(super) async fn read(
    State(shamira): State<Shamira>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    let (record, _) = look_up::<Read>(&shamira, &caller, &id).await?;
    Ok(Json(shown(&shamira, &caller, &record).await?))
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Which {
    status: Option<String>,
}

pub(super) async fn steps(
    State(shamira): State<Shamira>,
    caller: Caller,
    params: Params<Which>,
) -> Result<Json<Value>, Failure> {
    let which = params.decode()?.status;
    if let Some(which) = &which
        && !["pending", "in_progress", "completed", "failed"].contains(&which.as_str())
    {
        return Err(invalid("status: pending, in_progress, completed or failed"));
    }
    let jobs = own_jobs(&shamira, &caller).await?;
    let steps = jobs.iter().flat_map(steps_of);
    let steps = steps.filter(|step| which.as_ref().is_none_or(|which| step["status"] == **which));
    Ok(Json(json!({ "steps": steps.collect::<Vec<_>>() })))
}

/// The first system's scheduler called this; the engine does by itself what can be done.
pub(super) async fn execute_step(
    State(shamira): State<Shamira>,
    caller: Caller,
) -> Result<Json<Value>, Failure> {
    let jobs = own_jobs(&shamira, &caller).await?;
    let count = |state: &str| jobs.iter().flat_map(steps_of).filter(|step| step["status"] == state).count();
    Ok(Json(json!({ "executed": 0, "pending": count("pending"), "in_progress": count("in_progress") })))
}

#[derive(Debug, Deserialize)]
pub(super) struct Received {
    variable_name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "accepted, and said by the computation's plan")]
    variable_type: Option<String>,
    encrypted_value: Value,
    #[serde(default)]
    #[expect(dead_code, reason = "accepted; who sends is known by its credential")]
    source_node_id: Option<Value>,
    destination_node_id: usize,
    step_id: String,
}

/// Takes a sealed share of an input of a computation that waits: `step_id` names the computation, `variable_name` the input, and
/// `encrypted_value` is base64 of the share as the native API takes it, or an object with it as `sealed`. A `shared_secret`
/// that comes along is not looked at, and nothing here ever makes one.
pub(super) async fn receive(
    State(shamira): State<Shamira>,
    caller: Caller,
    body: JsonBody<Received>,
) -> Result<Json<Value>, Failure> {
    let kernel = shamira.kernel();
    kernel.authorize::<List>(&caller, ResourceKind::Computation).await.map_err(cm_door::refusal)?;
    let received = body.decode().await?;
    let caller = caller.again(kernel).await?;
    let text = match &received.encrypted_value {
        Value::String(text) => Some(text.as_str()),
        Value::Object(fields) => fields.get("sealed").and_then(Value::as_str),
        _ => None,
    };
    let sealed = text.and_then(|text| STANDARD.decode(text.trim()).ok());
    let sealed = sealed.ok_or_else(|| {
        invalid(
            "encrypted_value: base64 of a sealed share; ciphertexts that carry their own key are not taken, seal the share with \
             `cryptomesh mpc share`",
        )
    })?;
    let (record, permit) = look_up::<Invoke>(&shamira, &caller, &received.step_id).await?;
    let agreed = shamira.computations().plan(&record).map_err(refused)?;
    let place = received.destination_node_id.checked_sub(1);
    let party = place.and_then(|at| agreed.plan().parties.get(at)).map(|party| party.name.clone());
    let party = party.ok_or_else(|| invalid("destination_node_id: no party of the computation"))?;
    let name = &received.variable_name;
    let put = shamira.computations().put_input(&caller, &record, &permit, name, &party, &sealed).await;
    put.map_err(refused)?;
    Ok(Json(json!({ "message": "Variable received", "variable_name": name })))
}
