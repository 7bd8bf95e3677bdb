//! The WebAssembly programs of functions.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cm_functions::FileKind;
use cm_http::{Failure, Upload};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::function_files::{self, FunctionFile};
use crate::listing::Listing;

#[utoipa::path(
    get, path = "/functions/{id}/programs", operation_id = "list_programs", tag = "functions",
    params(("id" = String, Path, description = "The function")),
    extensions(("x-permission" = json!("function:read"))),
    responses((status = 200, description = "All programs that the policy names", body = Vec<FunctionFile>))
)]
/// Lists a function's programs.
pub async fn list_programs(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Listing<FunctionFile>, Failure> {
    function_files::list(&api, &op, &id, FileKind::Program).await
}

#[utoipa::path(
    put, path = "/functions/{id}/programs/{name}", operation_id = "write_program", tag = "functions",
    params(
        ("id" = String, Path, description = "The function"),
        ("name" = String, Path, description = "The name that its policy gives it"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The bytes; any media type will do"),
    extensions(("x-permission" = json!("function:update"))),
    responses(
        (status = 200, description = "Stored, now or before", body = FunctionFile),
        (status = 409, description = "The bytes have another digest than the policy demands", body = ErrorBody),
    )
)]
/// Uploads a program. Repeating it with the same bytes changes nothing.
pub async fn write_program(
    State(api): State<Api>,
    Op(op): Op,
    Path(file): Path<(String, String)>,
    body: Upload,
) -> Result<Json<FunctionFile>, Failure> {
    function_files::write(api, op, file, FileKind::Program, body).await
}

#[utoipa::path(
    get, path = "/functions/{id}/programs/{name}", operation_id = "read_program", tag = "functions",
    params(
        ("id" = String, Path, description = "The function"),
        ("name" = String, Path, description = "The program"),
    ),
    extensions(("x-permission" = json!("function:read"))),
    responses(
        (status = 200, description = "The bytes; `x-content-sha256` is their digest", content_type = "application/wasm", body = Vec<u8>),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Downloads a program.
pub async fn read_program(
    State(api): State<Api>,
    Op(op): Op,
    Path(file): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    function_files::read(&api, &op, file, FileKind::Program, &headers).await
}

#[utoipa::path(
    delete, path = "/functions/{id}/programs/{name}", operation_id = "delete_program", tag = "functions",
    params(
        ("id" = String, Path, description = "The function"),
        ("name" = String, Path, description = "The program"),
    ),
    extensions(("x-permission" = json!("function:update"))),
    responses((status = 204, description = "It is gone"))
)]
/// Removes a program. Instances that run keep theirs.
pub async fn delete_program(
    State(api): State<Api>,
    Op(op): Op,
    Path(file): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    function_files::delete(&api, &op, file, FileKind::Program).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_programs)).routes(routes!(
        read_program,
        write_program,
        delete_program
    ))
}
