//! The S3 dialect over the kernel's objects.

use axum::Router;
use cm_http::{RequestLimits, frame, shape};
use cm_kernel::{Access, Kernel};

/// The routes.
pub fn router(kernel: Kernel, _access: Access, limits: RequestLimits) -> Router {
    frame(Router::new(), limits, shape, kernel.tasks())
}
