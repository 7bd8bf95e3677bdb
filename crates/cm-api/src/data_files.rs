//! The data files that functions bring along.

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
    get, path = "/functions/{id}/data-files", operation_id = "list_data_files", tag = "functions",
    params(("id" = String, Path, description = "The function")),
    extensions(("x-permission" = json!("function:read"))),
    responses((status = 200, description = "All data files that the policy names", body = Vec<FunctionFile>))
)]
/// Lists a function's data files.
pub async fn list_data_files(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Listing<FunctionFile>, Failure> {
    function_files::list(&api, &op, &id, FileKind::DataFile).await
}

#[utoipa::path(
    put, path = "/functions/{id}/data-files/{name}", operation_id = "write_data_file", tag = "functions",
    params(
        ("id" = String, Path, description = "The function"),
        ("name" = String, Path, description = "The name that its policy gives it"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The bytes"),
    extensions(("x-permission" = json!("function:update"))),
    responses(
        (status = 200, description = "Stored, now or before", body = FunctionFile),
        (status = 409, description = "The bytes have another digest than the policy demands", body = ErrorBody),
    )
)]
/// Uploads a data file. Repeating it with the same bytes changes nothing.
pub async fn write_data_file(
    State(api): State<Api>,
    Op(op): Op,
    Path(file): Path<(String, String)>,
    body: Upload,
) -> Result<Json<FunctionFile>, Failure> {
    function_files::write(api, op, file, FileKind::DataFile, body).await
}

#[utoipa::path(
    get, path = "/functions/{id}/data-files/{name}", operation_id = "read_data_file", tag = "functions",
    params(
        ("id" = String, Path, description = "The function"),
        ("name" = String, Path, description = "The data file"),
    ),
    extensions(("x-permission" = json!("function:read"))),
    responses(
        (status = 200, description = "The bytes; `x-content-sha256` is their digest", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Downloads a data file.
pub async fn read_data_file(
    State(api): State<Api>,
    Op(op): Op,
    Path(file): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    function_files::read(&api, &op, file, FileKind::DataFile, &headers).await
}

#[utoipa::path(
    delete, path = "/functions/{id}/data-files/{name}", operation_id = "delete_data_file", tag = "functions",
    params(
        ("id" = String, Path, description = "The function"),
        ("name" = String, Path, description = "The data file"),
    ),
    extensions(("x-permission" = json!("function:update"))),
    responses((status = 204, description = "It is gone"))
)]
/// Removes a data file. Instances that run keep theirs.
pub async fn delete_data_file(
    State(api): State<Api>,
    Op(op): Op,
    Path(file): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    function_files::delete(&api, &op, file, FileKind::DataFile).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_data_files)).routes(routes!(
        read_data_file,
        write_data_file,
        delete_data_file
    ))
}
