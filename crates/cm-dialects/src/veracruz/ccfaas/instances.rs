//! Instances of functions.

use axum::extract::{Path, State};
use axum::response::Response;
use cm_door::{Caller, refusal};
use cm_functions::{Wording, id_of};
use cm_http::{Deadline, Failure, Upload};
use cm_instance::UserPolicy;
use cm_kernel::catalog::{CatalogError, Record};
use cm_kernel::policy::{ActionKind, Create, Delete, Invoke, Permit, Read};
use cm_kernel::{KernelError, OpContext};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::json;

use super::functions;
use crate::failure::function_refusal;
use crate::veracruz::flask::{incorrect, missing, object, policy_text, refused, said};
use crate::veracruz::{Veracruz, listing};

/// The part of a user policy that says what the instance is called.
#[derive(Deserialize)]
struct Named {
    #[serde(alias = "instance_id")]
    instanceid: String,
}

/// What the user policy of an instance calls it; `None` if it is none of a function.
fn name_of(record: &Record) -> Option<String> {
    let text = record.spec.get("user_policy")?.as_str()?;
    let Named { instanceid } = serde_json::from_str(text).ok()?;
    (id_of(&instanceid) == record.header.id).then_some(instanceid)
}

async fn find<A: ActionKind>(
    veracruz: &Veracruz,
    op: &OpContext,
    name: &str,
) -> Result<(Record, Permit<A>), Failure> {
    let not_found = || missing(format!("Veracruz instance '{name}' does not exist!"));
    let found = veracruz.kernel.look_up::<A>(op, ResourceKind::Instance, id_of(name).as_str()).await;
    let (record, permit) = found.map_err(|error| match error {
        KernelError::NotFound(_) => not_found(),
        error => refusal(error),
    })?;
    match name_of(&record) {
        Some(found) if found == name => Ok((record, permit)),
        _ => Err(not_found()),
    }
}

/// The names of those that run. One that has ended is still read by its name, which it has until it is deleted.
pub(super) async fn list(State(veracruz): State<Veracruz>, caller: Caller) -> Result<Response, Failure> {
    let running = vec![("status.state".to_owned(), "ready".to_owned())];
    let names = listing::all(&veracruz.kernel, &caller, ResourceKind::Instance, running, name_of);
    Ok(object(&json!({ "instances": names.await? })))
}

pub(super) async fn create(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    deadline: Deadline,
    body: Upload,
) -> Result<Response, Failure> {
    let kernel = &veracruz.kernel;
    kernel.authorize::<Create>(&caller, ResourceKind::Instance).await.map_err(refusal)?;
    let text = policy_text(body).await?;
    let policy = UserPolicy::parse(text.as_bytes()).map_err(incorrect)?;

    let caller = caller.again(kernel).await?;
    kernel.authorize::<Create>(&caller, ResourceKind::Instance).await.map_err(refusal)?;
    // Programs may have to be compiled first; the start of the instance has a limit of its own.
    deadline.lift();
    let (function, permit, _) = functions::find::<Invoke>(&veracruz, &caller, &policy.function).await?;
    let created =
        veracruz.functions.create_instance(&caller, &function, &permit, &text, Wording::Earlier).await;
    let instance = created.map_err(|error| match error {
        cm_functions::FunctionError::Kernel(KernelError::Catalog(CatalogError::Exists(_))) => {
            refused(format!("Could not create instance already exists {}", policy.instanceid))
        }
        cm_functions::FunctionError::Policy(error) => incorrect(error),
        error => function_refusal(error),
    })?;
    Ok(object(&json!({ "instance": policy.instanceid, "policy": instance.policy_text })))
}

pub(super) async fn read(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let (record, _) = find::<Read>(&veracruz, &caller, &name).await?;
    Ok(object(&json!({ "instance": name, "policy": record.spec.get("policy") })))
}

pub(super) async fn delete(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let (record, permit) = find::<Delete>(&veracruz, &caller, &name).await?;
    veracruz.functions.delete_instance(&caller, &record, &permit).await.map_err(function_refusal)?;
    Ok(said(&format!("instance {name} deleted")))
}
