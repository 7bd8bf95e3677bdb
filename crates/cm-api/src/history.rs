//! What functions and endpoints went through and came to: states and results, which nobody changes.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use cm_http::{Failure, Params};
use cm_kernel::OpContext;
use cm_kernel::Part;
use cm_kernel::catalog::{Query, Record};
use cm_kernel::policy::{List, Read};
use cm_types::{ResourceKind, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;
use crate::family::record_routes;
use crate::listing::{Order, cursor, page_limit};
use crate::record::{self, WireSpec};

/// A state that a function went through.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FunctionStateSpec {
    /// The function.
    pub function_id: String,
    /// The instance that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// What it is, such as `running`, `completed` or `failed`.
    pub state: String,
    /// Whatever else is known.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// A state that an endpoint went through.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointStateSpec {
    /// The endpoint.
    pub endpoint_id: String,
    /// What it is, such as `warm` or `cold`.
    pub state: String,
    /// Whatever else is known.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// What a run of a function came to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FunctionResultSpec {
    /// The function.
    pub function_id: String,
    /// The state that the run ended in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_id: Option<String>,
    /// The instance that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// What is known about the result. Its bytes leave the instance only for those whom the policy names.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// What a state shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct StateExtra {
    /// The id, as clients of the earlier implementation call it.
    pub state_id: String,
    /// When it was recorded: UTC without an offset, as clients of the earlier implementation expect.
    #[schema(example = "2025-10-21T12:00:00.000000")]
    pub timestamp: String,
}

/// What a result shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultExtra {
    /// The id, as clients of the earlier implementation call it.
    pub result_id: String,
    /// When it was last written: UTC without an offset, as clients of the earlier implementation expect.
    #[schema(example = "2025-10-21T12:00:00.000000")]
    pub timestamp: String,
}

fn state_extra(record: &Record) -> StateExtra {
    StateExtra { state_id: record.header.id.to_string(), timestamp: naive(record.header.created_at) }
}

/// The moment as the earlier implementation writes it: microseconds, and nothing about the zone.
fn naive(at: Timestamp) -> String {
    let text = at.to_string();
    let text = text.trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<6}")
}

impl WireSpec for FunctionStateSpec {
    const KIND: ResourceKind = ResourceKind::FunctionState;
    type Extra = StateExtra;
    const READ_ONLY: &'static [&'static str] = &["state_id"];
    const PLATFORM_WRITTEN: bool = true;
    const INDEXED: &'static [(&'static str, ResourceKind)] = &[("function_id", ResourceKind::Function)];

    fn extra(record: &Record, _: Vec<Part>) -> StateExtra {
        state_extra(record)
    }
}

impl WireSpec for EndpointStateSpec {
    const KIND: ResourceKind = ResourceKind::EndpointState;
    type Extra = StateExtra;
    const READ_ONLY: &'static [&'static str] = &["state_id"];
    const PLATFORM_WRITTEN: bool = true;
    const INDEXED: &'static [(&'static str, ResourceKind)] = &[("endpoint_id", ResourceKind::Endpoint)];

    fn extra(record: &Record, _: Vec<Part>) -> StateExtra {
        state_extra(record)
    }
}

impl WireSpec for FunctionResultSpec {
    const KIND: ResourceKind = ResourceKind::FunctionResult;
    type Extra = ResultExtra;
    const READ_ONLY: &'static [&'static str] = &["result_id"];
    const PLATFORM_WRITTEN: bool = true;
    const INDEXED: &'static [(&'static str, ResourceKind)] =
        &[("function_id", ResourceKind::Function), ("state_id", ResourceKind::FunctionState)];

    fn extra(record: &Record, _: Vec<Part>) -> ResultExtra {
        ResultExtra { result_id: record.header.id.to_string(), timestamp: naive(record.header.updated_at) }
    }
}

record_routes!(
    FunctionStateRecord = FunctionStateSpec, StateExtra; FunctionStateBody;
    "function-states", "function-state", "/function-states", "/function-states/{id}",
    list_function_states, create_function_state, read_function_state, change_function_state, delete_function_state
);

record_routes!(
    EndpointStateRecord = EndpointStateSpec, StateExtra; EndpointStateBody;
    "endpoint-states", "endpoint-state", "/endpoint-states", "/endpoint-states/{id}",
    list_endpoint_states, create_endpoint_state, read_endpoint_state, change_endpoint_state, delete_endpoint_state
);

record_routes!(
    FunctionResultRecord = FunctionResultSpec, ResultExtra; FunctionResultBody;
    "function-results", "function-result", "/function-results", "/function-results/{id}",
    list_function_results, create_function_result, read_function_result, change_function_result,
    delete_function_result
);

/// Which part of one record's history is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryParams {
    /// The most entries to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Where to begin: the `Next-Cursor` of the page before.
    pub after: Option<String>,
    /// `oldest-first`, unless told, or `newest-first`: with a `limit` of 1 the latest.
    #[param(inline)]
    pub order: Option<Order>,
}

async fn history_of<S: WireSpec>(
    api: &Api,
    op: &OpContext,
    kind: ResourceKind,
    id: &str,
    params: Params<HistoryParams>,
) -> Result<Response, Failure> {
    let (whose, _) = api.kernel.look_up::<Read>(op, kind, id).await.map_err(refusal)?;
    let permit = api.kernel.authorize::<List>(op, S::KIND).await.map_err(refusal)?;
    let params = params.decode()?;
    let query = Query {
        referencing: Some(whose.resource()),
        after: cursor(params.after),
        limit: page_limit(params.limit),
        newest_first: params.order.is_some_and(Order::is_newest_first),
        ..Query::of(S::KIND)
    };
    let page = api.kernel.list_records(op, &permit, query).await.map_err(refusal)?;
    record::listing::<S>(&api.kernel, op, page).await
}

#[utoipa::path(
    get, path = "/functions/{id}/states", operation_id = "list_states_of_function", tag = "functions",
    params(("id" = String, Path, description = "The function"), HistoryParams),
    extensions(("x-permission" = json!("function:read function-state:list"))),
    responses((status = 200, description = "One page of its states", body = Vec<FunctionStateRecord>))
)]
/// Lists the states that one function went through.
pub async fn list_states_of_function(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    params: Params<HistoryParams>,
) -> Result<Response, Failure> {
    history_of::<FunctionStateSpec>(&api, &op, ResourceKind::Function, &id, params).await
}

#[utoipa::path(
    get, path = "/functions/{id}/results", operation_id = "list_results_of_function", tag = "functions",
    params(("id" = String, Path, description = "The function"), HistoryParams),
    extensions(("x-permission" = json!("function:read function-result:list"))),
    responses((status = 200, description = "One page of its results", body = Vec<FunctionResultRecord>))
)]
/// Lists the results of one function.
pub async fn list_results_of_function(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    params: Params<HistoryParams>,
) -> Result<Response, Failure> {
    history_of::<FunctionResultSpec>(&api, &op, ResourceKind::Function, &id, params).await
}

#[utoipa::path(
    get, path = "/endpoints/{id}/states", operation_id = "list_states_of_endpoint", tag = "endpoints",
    params(("id" = String, Path, description = "The endpoint"), HistoryParams),
    extensions(("x-permission" = json!("endpoint:read endpoint-state:list"))),
    responses((status = 200, description = "One page of its states", body = Vec<EndpointStateRecord>))
)]
/// Lists the states that one endpoint went through.
pub async fn list_states_of_endpoint(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    params: Params<HistoryParams>,
) -> Result<Response, Failure> {
    history_of::<EndpointStateSpec>(&api, &op, ResourceKind::Endpoint, &id, params).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_function_states, create_function_state))
        .routes(routes!(read_function_state, change_function_state, delete_function_state))
        .routes(routes!(list_endpoint_states, create_endpoint_state))
        .routes(routes!(read_endpoint_state, change_endpoint_state, delete_endpoint_state))
        .routes(routes!(list_function_results, create_function_result))
        .routes(routes!(read_function_result, change_function_result, delete_function_result))
        .routes(routes!(list_states_of_function))
        .routes(routes!(list_results_of_function))
        .routes(routes!(list_states_of_endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_naive_time_has_six_digits_and_no_zone() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000"),
            (1_500_000, "1970-01-01T00:00:01.500000"),
            (42, "1970-01-01T00:00:00.000042"),
        ] {
            assert_eq!(naive(Timestamp::from_micros(micros)), expected);
        }
    }
}
