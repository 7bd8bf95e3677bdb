//! CCFaaS: confidential functions, their programs, their data files, and instances of them.
//!
//! | Route | Methods |
//! | --- | --- |
//! | `/function` | `GET` lists names, `POST` registers a program policy |
//! | `/function/NAME` | `GET`, `DELETE` |
//! | `/function/NAME/program[/FILE]`, `/function/NAME/data_file[/FILE]` | `GET` lists or tells, `POST` uploads, `DELETE` |
//! | `/instance` | `GET` lists names, `POST` starts one under a user policy |
//! | `/instance/NAME` | `GET`, `DELETE` |
//!
//! A function is a record of the catalogue and an instance is one, the same that the native API shows: whoever may do
//! something there may do it here. Names are any text; [`cm_functions::id_of`] says which record is meant.

mod files;
mod functions;
mod instances;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use cm_http::{Asked, Failure, Rendered, RequestLimits};

use super::{Veracruz, flask};
use crate::failure::is_full;

/// The routes.
pub fn router(veracruz: Veracruz, limits: RequestLimits) -> Router {
    let routes = Router::new()
        .route("/function", get(functions::list).post(functions::create))
        .route("/function/{name}", get(functions::read).delete(functions::delete))
        .route("/function/{name}/program", get(files::list_programs))
        .route(
            "/function/{name}/program/{*file}",
            get(files::read_program).post(files::write_program).delete(files::delete_program),
        )
        .route("/function/{name}/data_file", get(files::list_data_files))
        .route(
            "/function/{name}/data_file/{*file}",
            get(files::read_data_file).post(files::write_data_file).delete(files::delete_data_file),
        )
        .route("/instance", get(instances::list).post(instances::create))
        .route("/instance/{name}", get(instances::read).delete(instances::delete));
    flask::face(routes, veracruz, limits, shape)
}

fn shape(failure: &Failure, asked: &Asked) -> Rendered {
    if is_full(failure) {
        // Clients know VaaS as a service behind this one, whose answer they are told.
        let told = "Error accessing the vaas_server response code was 507";
        return flask::sentence(StatusCode::INTERNAL_SERVER_ERROR, told);
    }
    flask::shape(failure, asked)
}
