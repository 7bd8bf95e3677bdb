//! What functions went through and came to: states and results, which nobody changes.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use cm_http::{Failure, Params};
use cm_kernel::OpContext;
use cm_kernel::catalog::Query;
use cm_kernel::policy::{List, Read};
use cm_types::{ResourceKind, ResourceRef};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;
use crate::listing::{FILTER, FilterParams, Listing, cursor, filters, page_limit, selector};
use crate::record::{self, RecordView, WireSpec};

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

impl WireSpec for FunctionStateSpec {
    const KIND: ResourceKind = ResourceKind::FunctionState;
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

impl WireSpec for FunctionResultSpec {
    const KIND: ResourceKind = ResourceKind::FunctionResult;
}

/// Which part of the history is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryParams {
    /// Only of this function.
    pub function_id: Option<String>,
    /// Only of this instance.
    pub instance_id: Option<String>,
    /// The most entries to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Where to begin: `next` of the page before.
    pub after: Option<String>,
    /// Only what has all these labels, `name=value,name=value`.
    pub selector: Option<String>,
    /// `oldest-first`, unless told, or `newest-first`.
    #[param(inline)]
    pub order: Option<Order>,
}

/// Which part of one function's history is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FunctionHistoryParams {
    /// The most entries to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Where to begin: `next` of the page before.
    pub after: Option<String>,
    /// `oldest-first`, unless told, or `newest-first`.
    #[param(inline)]
    pub order: Option<Order>,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// What was first comes first.
    OldestFirst,
    /// What was last comes first.
    NewestFirst,
}

async fn history<S: WireSpec>(
    api: &Api,
    op: &OpContext,
    params: Params<HistoryParams>,
) -> Result<Json<Listing<RecordView<S>>>, Failure> {
    let permit = api.kernel.authorize::<List>(op, S::KIND).await.map_err(refusal)?;
    let (params, terms) = params.decode_with_repeated(FILTER)?;
    let mut filters = filters(terms)?;
    filters.extend(params.instance_id.map(|id| ("instance_id".to_owned(), id)));
    let query = Query {
        selector: selector(params.selector.as_deref())?,
        filters,
        referencing: params.function_id.map(|id| ResourceRef::new(ResourceKind::Function, id)),
        after: cursor(params.after),
        limit: page_limit(params.limit),
        newest_first: params.order == Some(Order::NewestFirst),
        ..Query::of(S::KIND)
    };
    record::listing(api.kernel.list_records(op, &permit, query).await.map_err(refusal)?)
}

async fn of_function<S: WireSpec>(
    api: &Api,
    op: &OpContext,
    id: &str,
    params: Params<FunctionHistoryParams>,
) -> Result<Json<Listing<RecordView<S>>>, Failure> {
    let (function, _) = api.kernel.look_up::<Read>(op, ResourceKind::Function, id).await.map_err(refusal)?;
    let permit = api.kernel.authorize::<List>(op, S::KIND).await.map_err(refusal)?;
    let params = params.decode()?;
    let query = Query {
        referencing: Some(function.resource()),
        after: cursor(params.after),
        limit: page_limit(params.limit),
        newest_first: params.order == Some(Order::NewestFirst),
        ..Query::of(S::KIND)
    };
    record::listing(api.kernel.list_records(op, &permit, query).await.map_err(refusal)?)
}

#[utoipa::path(
    get, path = "/function-states", operation_id = "list_function_states", tag = "functions", params(HistoryParams, FilterParams),
    extensions(("x-permission" = json!("function-state:list"))),
    responses((status = 200, description = "One page of states", body = Listing<RecordView<FunctionStateSpec>>))
)]
/// Lists states of functions.
pub async fn list_function_states(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<HistoryParams>,
) -> Result<Json<Listing<RecordView<FunctionStateSpec>>>, Failure> {
    history(&api, &op, params).await
}

#[utoipa::path(
    get, path = "/function-results", operation_id = "list_function_results", tag = "functions", params(HistoryParams, FilterParams),
    extensions(("x-permission" = json!("function-result:list"))),
    responses((status = 200, description = "One page of results", body = Listing<RecordView<FunctionResultSpec>>))
)]
/// Lists results of functions.
pub async fn list_function_results(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<HistoryParams>,
) -> Result<Json<Listing<RecordView<FunctionResultSpec>>>, Failure> {
    history(&api, &op, params).await
}

#[utoipa::path(
    get, path = "/functions/{id}/states", operation_id = "list_states_of_function", tag = "functions",
    params(("id" = String, Path, description = "The function"), FunctionHistoryParams),
    extensions(("x-permission" = json!("function:read function-state:list"))),
    responses((status = 200, description = "One page of its states", body = Listing<RecordView<FunctionStateSpec>>))
)]
/// Lists the states that one function went through.
pub async fn list_states_of_function(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    params: Params<FunctionHistoryParams>,
) -> Result<Json<Listing<RecordView<FunctionStateSpec>>>, Failure> {
    of_function(&api, &op, &id, params).await
}

#[utoipa::path(
    get, path = "/functions/{id}/results", operation_id = "list_results_of_function", tag = "functions",
    params(("id" = String, Path, description = "The function"), FunctionHistoryParams),
    extensions(("x-permission" = json!("function:read function-result:list"))),
    responses((status = 200, description = "One page of its results", body = Listing<RecordView<FunctionResultSpec>>))
)]
/// Lists the results of one function.
pub async fn list_results_of_function(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    params: Params<FunctionHistoryParams>,
) -> Result<Json<Listing<RecordView<FunctionResultSpec>>>, Failure> {
    of_function(&api, &op, &id, params).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_function_states))
        .routes(routes!(list_function_results))
        .routes(routes!(list_states_of_function))
        .routes(routes!(list_results_of_function))
}
