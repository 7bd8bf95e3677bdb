//! The S3 app: from a bucket into a file of an instance.

use axum::Router;
use cm_http::{RequestLimits, frame, shape};

use super::Veracruz;

/// The routes.
pub fn router(veracruz: Veracruz, limits: RequestLimits) -> Router {
    frame(Router::new(), limits, shape, veracruz.kernel.tasks())
}
