//! Functions.

use axum::extract::{Path, State};
use axum::response::Response;
use cm_door::{Caller, refusal};
use cm_functions::id_of;
use cm_http::{Failure, Upload};
use cm_instance::policy::ProgramPolicy;
use cm_kernel::catalog::kinds::{Confidential, Function};
use cm_kernel::catalog::{CatalogError, NewRecord, Record};
use cm_kernel::policy::{ActionKind, Create, Delete, Permit, Read};
use cm_kernel::{KernelError, OpContext};
use cm_types::ResourceKind;
use serde_json::{Value, json};

use crate::failure::function_refusal;
use crate::veracruz::Veracruz;
use crate::veracruz::flask::{incorrect, missing, object, policy_text, refused, said};
use crate::veracruz::listing;

/// The name that a function's policy gives it, if this is a function of that name.
fn policy_of(record: &Record) -> Option<(String, Value)> {
    let text = record.spec.pointer("/confidential/policy")?.as_str()?;
    let policy: Value = serde_json::from_str(text).ok()?;
    let name = policy.get("function")?.as_str()?.to_owned();
    (id_of(&name) == record.header.id).then_some((name, policy))
}

/// Looks a function up by its name, for an action: the record, the permit and the policy.
pub(super) async fn find<A: ActionKind>(
    veracruz: &Veracruz,
    op: &OpContext,
    name: &str,
) -> Result<(Record, Permit<A>, Value), Failure> {
    let not_found = || missing(format!("function {name} not found"));
    let found = veracruz.kernel.look_up::<A>(op, ResourceKind::Function, id_of(name).as_str()).await;
    let (record, permit) = found.map_err(|error| match error {
        KernelError::NotFound(_) => not_found(),
        error => refusal(error),
    })?;
    match policy_of(&record) {
        Some((found, policy)) if found == name => Ok((record, permit, policy)),
        // Another name leads to the same id, or the function is not confidential: the service knows no such function.
        _ => Err(not_found()),
    }
}

pub(super) async fn list(State(veracruz): State<Veracruz>, caller: Caller) -> Result<Response, Failure> {
    let names = listing::all(&veracruz.kernel, &caller, ResourceKind::Function, Vec::new(), |record| {
        policy_of(record).map(|(name, _)| name)
    });
    Ok(object(&json!({ "functions": names.await? })))
}

pub(super) async fn create(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    body: Upload,
) -> Result<Response, Failure> {
    let kernel = &veracruz.kernel;
    kernel.authorize::<Create>(&caller, ResourceKind::Function).await.map_err(refusal)?;
    let text = policy_text(body).await?;
    let policy = ProgramPolicy::parse(text.as_bytes()).map_err(incorrect)?;
    let echo: Value = serde_json::from_str(&text).map_err(Failure::internal)?;

    let caller = caller.again(kernel).await?;
    let permit = kernel.authorize::<Create>(&caller, ResourceKind::Function).await.map_err(refusal)?;
    let spec = Function { confidential: Some(Confidential { policy: text }), ..Function::default() };
    let new = NewRecord::of("", &spec).with_id(id_of(&policy.function));
    kernel.create_record(&caller, &permit, new).await.map_err(|error| match error {
        KernelError::Catalog(CatalogError::Exists(_)) => {
            refused(format!("Could not create the function {}", policy.function))
        }
        error => refusal(error),
    })?;
    Ok(object(&echo))
}

pub(super) async fn read(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let (_, _, policy) = find::<Read>(&veracruz, &caller, &name).await?;
    Ok(object(&policy))
}

pub(super) async fn delete(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let (record, permit, _) = find::<Delete>(&veracruz, &caller, &name).await?;
    veracruz.functions.delete_function(&caller, &record, &permit).await.map_err(function_refusal)?;
    Ok(said(&format!("Function {name} deleted")))
}
