//! The attestation service.

use axum::Router;
use cm_http::{RequestLimits, frame, shape};

use super::Veracruz;

/// The routes.
pub fn router(veracruz: Veracruz, limits: RequestLimits) -> Router {
    frame(Router::new(), limits, shape, veracruz.kernel.tasks())
}
