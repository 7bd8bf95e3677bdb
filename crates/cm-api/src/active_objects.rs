//! Active objects: Python code with state, what it declares, and the functions that its methods are.

use axum::Json;
use axum::extract::{Path, State};
use cm_http::Failure;
use cm_kernel::Part;
use cm_kernel::catalog::Record;
use cm_kernel::policy::Read;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;
use crate::family::record_routes;
use crate::fields::wrong;
use crate::record::WireSpec;

/// What an active object is. Its methods are functions of their own, which come and go with the code.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ActiveObjectSpec {
    /// The Python module.
    pub axo_module: String,
    /// The class. With code, it is the first class that the code declares, whatever is sent.
    pub axo_class_name: String,
    /// The microservice that it belongs to.
    #[schema(value_type = String)]
    pub axo_microservice_id: Option<String>,
    /// Its version.
    #[serde(default)]
    pub axo_version: u32,
    /// Whether its state never changes.
    #[serde(default)]
    pub axo_is_read_only: bool,
    /// What its state is stored under; the alias that it had first, unless it is sent.
    #[serde(default)]
    pub axo_key: Option<String>,
    /// The bucket of its state.
    #[serde(default)]
    pub axo_bucket_id: Option<String>,
    /// The bucket that its inputs come from.
    #[serde(default)]
    pub axo_source_bucket_id: Option<String>,
    /// The bucket that its outputs go to.
    #[serde(default)]
    pub axo_sink_bucket_id: Option<String>,
    /// The endpoint that it lives on.
    #[serde(default)]
    pub axo_endpoint_id: Option<String>,
    /// The modules that it depends on.
    #[serde(default)]
    pub axo_dependencies: Vec<String>,
    /// Where it can be reached.
    #[serde(default)]
    pub axo_uri: Option<String>,
    /// What people call it, at most 32 characters; also the name of a record that is created without one.
    #[serde(default)]
    pub axo_alias: Option<String>,
    /// Where its state lies within the workload.
    #[serde(default = "data_path")]
    pub path: String,
    /// Where its inputs lie within the workload.
    #[serde(default = "source_path")]
    pub source_path: String,
    /// Where its outputs lie within the workload.
    #[serde(default = "sink_path")]
    pub sink_path: String,
    /// The source code. It is parsed when it is sent, and never executed here.
    #[serde(default)]
    pub axo_code: Option<String>,
    /// What the code declares.
    #[serde(default)]
    #[schema(read_only, value_type = ObjectSchema)]
    pub axo_schema: Option<Value>,
}

fn data_path() -> String {
    "/axo/data".to_owned()
}

fn source_path() -> String {
    "/axo/source".to_owned()
}

fn sink_path() -> String {
    "/axo/sink".to_owned()
}

/// What the first class of a source declares.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ObjectSchema {
    /// The class.
    pub class_name: String,
    /// The parameters of its constructor.
    pub init: Vec<Parameter>,
    /// The parameters of each method.
    pub methods: std::collections::BTreeMap<String, Vec<Parameter>>,
}

/// A parameter of a method.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its annotation, if that is a bare name; otherwise `Any`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What the docstring says of it.
    #[schema(required)]
    pub description: Option<String>,
    /// Whether it has no default.
    pub required: bool,
    /// Its default, as far as JSON can say it.
    pub default: Value,
}

/// What an active object shows besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveObjectExtra {
    /// The id, as clients of the earlier implementation call it.
    pub active_object_id: String,
    /// The functions that are its methods, as far as the caller may read them.
    pub functions: Vec<MethodView>,
}

/// A method of an active object.
#[derive(Debug, Serialize, ToSchema)]
pub struct MethodView {
    /// The function that it is. The id stays as long as the code has a method of that name.
    pub function_id: String,
    /// Its name.
    pub name: String,
    /// What the constructor of its object takes.
    #[schema(value_type = Vec<Parameter>)]
    pub init_params: Value,
    /// What it takes itself.
    #[schema(value_type = Vec<Parameter>)]
    pub call_params: Value,
    /// When it was first declared, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

/// The methods of an object, with what they take.
pub(crate) fn methods(object: &Record, functions: Vec<Part>) -> Vec<MethodView> {
    let schema = object.spec.get("axo_schema").unwrap_or(&Value::Null);
    let list = |found: Option<&Value>| found.cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    functions
        .into_iter()
        .map(|function| MethodView {
            init_params: list(schema.get("init")),
            call_params: list(schema.get("methods").and_then(|methods| methods.get(&function.name))),
            function_id: function.id.into(),
            name: function.name,
            created_at: function.created_at.to_string(),
        })
        .collect()
}

impl WireSpec for ActiveObjectSpec {
    const KIND: ResourceKind = ResourceKind::ActiveObject;
    type Extra = ActiveObjectExtra;
    const READ_ONLY: &'static [&'static str] = &["active_object_id", "axo_schema", "functions"];
    const INDEXED: &'static [(&'static str, ResourceKind)] =
        &[("axo_microservice_id", ResourceKind::Microservice), ("axo_endpoint_id", ResourceKind::Endpoint)];
    const PARTS: Option<ResourceKind> = Some(ResourceKind::Function);

    fn extra(record: &Record, parts: Vec<Part>) -> ActiveObjectExtra {
        let functions = methods(record, parts);
        ActiveObjectExtra { active_object_id: record.header.id.to_string(), functions }
    }

    /// Records that came by another way may belong nowhere; clients have to say where.
    fn check(&self) -> Result<(), Failure> {
        match self.axo_microservice_id {
            Some(_) => Ok(()),
            None => Err(wrong(".", "missing field `axo_microservice_id`")),
        }
    }
}

record_routes!(
    ActiveObjectRecord = ActiveObjectSpec, ActiveObjectExtra; ActiveObjectBody;
    "active-objects", "active-object", "/active-objects", "/active-objects/{id}",
    list_active_objects, create_active_object, read_active_object, change_active_object, delete_active_object
);

#[utoipa::path(
    get, path = "/active-objects/{id}/schema", tag = "active-objects", summary = "Reads what an active object declares",
    params(("id" = String, Path, description = "The id")),
    extensions(("x-permission" = json!("active-object:read"))),
    responses((status = 200, description = "What its code declares", body = ObjectSchema))
)]
/// Reads what an active object declares.
pub async fn read_active_object_schema(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    let (mut record, _) =
        api.kernel.look_up::<Read>(&op, ResourceKind::ActiveObject, &id).await.map_err(refusal)?;
    Ok(Json(record.spec["axo_schema"].take()))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_active_objects, create_active_object))
        .routes(routes!(read_active_object, change_active_object, delete_active_object))
        .routes(routes!(read_active_object_schema))
}
