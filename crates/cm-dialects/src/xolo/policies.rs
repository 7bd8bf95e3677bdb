//! Policies of events. Their addresses name no account: it is that of the key.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cm_http::Failure;
use cm_kernel::OpContext;
use cm_kernel::identity::AccountScope;
use cm_kernel::policy::declared::Answer;
use cm_kernel::policy::declared::events::{Circumstances, Effect, EventPolicies, Policy};
use cm_kernel::policy::{List, Update};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Xolo;
use super::call::Call;
use super::shape::{invalid, refused};

/// Most requests that are asked about at once: each is compared with all policies.
const REQUESTS_MAX: usize = 256;

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/api/v4/policies", get(list).post(create))
        .route("/api/v4/policies/{policy}", get(read).put(replace).delete(remove))
        .route("/api/v4/policies/prepare", post(prepare))
        .route("/api/v4/policies/inject", post(inject))
        .route("/api/v4/policies/evaluate", post(evaluate))
        .route("/api/v4/policies/evaluate/batch", post(evaluate_batch))
}

#[derive(Deserialize)]
struct NewPolicy {
    policy_id: String,
    #[serde(flatten)]
    policy: Policy,
}

fn view(id: &str, policy: &Policy) -> Value {
    let Policy { description, effect, events } = policy;
    json!({ "policy_id": id, "description": description, "effect": effect, "events": events })
}

async fn may_ask(call: &Call) -> Result<cm_kernel::Permit<List>, Failure> {
    let account = call.account_of_key().await?;
    let (op, _) = call.user_of(&account, AccountScope::Policies).await?;
    call.xolo.kernel().authorize::<List>(&op, ResourceKind::SecurityPolicy).await.map_err(refused)
}

async fn may_change(call: &Call) -> Result<(OpContext, cm_kernel::Permit<Update>), Failure> {
    let account = call.account_of_key().await?;
    let (op, _) = call.user_of(&account, AccountScope::Policies).await?;
    let permit = call.xolo.kernel().authorize::<Update>(&op, ResourceKind::SecurityPolicy).await;
    Ok((op, permit.map_err(refused)?))
}

/// Adds all of them or none.
async fn create(call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit) = may_change(&call).await?;
    let xolo = call.xolo.clone();
    let new: Vec<NewPolicy> = call.body().await?;
    let (n_added, first) = (new.len(), new.first().map(|new| new.policy_id.clone()));
    let told = ("policy.created", first.ok_or_else(|| invalid("body", "expected at least one policy"))?);
    let done = xolo.kernel().change_declared(&op, &permit, told, move |all: &mut EventPolicies| {
        new.into_iter().try_for_each(|new| all.create(&new.policy_id, new.policy))
    });
    done.await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(json!({ "n_added": n_added }))))
}

async fn inject(call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit) = may_change(&call).await?;
    let xolo = call.xolo.clone();
    let NewPolicy { policy_id, policy } = call.body().await?;
    let told = ("policy.created", policy_id.clone());
    let done = xolo
        .kernel()
        .change_declared(&op, &permit, told, move |all: &mut EventPolicies| all.create(&policy_id, policy));
    done.await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(json!({ "detail": "Policy injected" }))))
}

async fn list(call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call).await?;
    let all = call.xolo.kernel().ask_declared(&permit, |all: &EventPolicies| {
        all.policies.iter().map(|(id, policy)| view(id, policy)).collect::<Vec<_>>()
    });
    Ok(Json(all.await.map_err(refused)?.into()))
}

async fn read(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call).await?;
    let kernel = call.xolo.kernel();
    let shown =
        kernel.ask_declared(&permit, move |all: &EventPolicies| all.get(&id).map(|policy| view(&id, policy)));
    Ok(Json(shown.await.map_err(refused)?.map_err(|error| refused(error.into()))?))
}

async fn replace(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call).await?;
    let xolo = call.xolo.clone();
    let NewPolicy { policy_id, policy } = call.body().await?;
    if policy_id != id {
        return Err(invalid("policy_id", "expected the one of the address"));
    }
    let told = ("policy.changed", id.clone());
    let done = xolo
        .kernel()
        .change_declared(&op, &permit, told, move |all: &mut EventPolicies| all.replace(&id, policy));
    done.await.map_err(refused)?;
    Ok(Json(json!({ "detail": "Policy updated" })))
}

async fn remove(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call).await?;
    let told = ("policy.deleted", id.clone());
    let kernel = call.xolo.kernel();
    let done = kernel.change_declared(&op, &permit, told, move |all: &mut EventPolicies| all.remove(&id));
    done.await.map_err(refused)?;
    Ok(Json(json!({ "detail": "Policy deleted" })))
}

/// Nothing is to be prepared: all policies are asked, and there are no communities of them.
async fn prepare(call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call).await?;
    let count = call.xolo.kernel().ask_declared(&permit, |all: &EventPolicies| all.policies.len());
    Ok(Json(json!({ "detail": "Policies prepared", "n_policies": count.await.map_err(refused)? })))
}

fn result(answer: &Answer) -> Value {
    let effect = if answer.allowed { Effect::Permit } else { Effect::Deny };
    json!({
        "result": effect.as_str(), "policy_id": answer.by, "event_id": answer.part, "reason": answer.reason,
    })
}

async fn evaluate(call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call).await?;
    let xolo = call.xolo.clone();
    let request: Circumstances = call.body().await?;
    let answer = xolo.kernel().ask_declared(&permit, move |all: &EventPolicies| all.check(&request)).await;
    Ok(Json(result(&answer.map_err(refused)?)))
}

async fn evaluate_batch(call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call).await?;
    let xolo = call.xolo.clone();
    let requests: Vec<Circumstances> = call.body().await?;
    if requests.len() > REQUESTS_MAX {
        return Err(invalid("body", "expected at most 256 requests"));
    }
    let answers = xolo.kernel().ask_declared(&permit, move |all: &EventPolicies| {
        requests.iter().map(|request| result(&all.check(request))).collect::<Vec<_>>()
    });
    Ok(Json(answers.await.map_err(refused)?.into()))
}
