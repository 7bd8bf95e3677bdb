//! An HTTP server that a product can be hung into: the accept loop, limits, request ids, logs and
//! metrics, one shape of errors, and the small grammars that every REST face needs.
//!
//! The crate knows no resource, no principal and no engine. A face builds an [`axum::Router`], wraps it
//! in [`frame()`] and hands it to [`serve()`]. Its handlers answer `Result<_, Failure>`; which status a
//! [`Failure`] becomes is decided in one place, [`FailureClass::status`].
//!
//! Bodies are taken lazily. [`JsonBody`] and [`Upload`] extract without reading a byte, so that a handler
//! can refuse a caller before it decodes what the caller sent.
//!
//! Reading order: [`serve`](mod@serve) (connections), [`proxies`] (who asks), [`frame`](mod@frame) (what surrounds each request),
//! [`failure`], [`render`], [`bearer`], [`deadline`], [`body`], [`query`], [`etag`], [`range`], [`sse`].

pub mod bearer;
pub mod body;
pub mod deadline;
pub mod etag;
pub mod failure;
pub mod frame;
mod linger;
pub mod local;
mod observe;
pub mod proxies;
pub mod query;
pub mod range;
pub mod render;
mod request_id;
pub mod serve;
mod shield;
pub mod sse;
mod stall;

pub use bearer::Bearer;
pub use body::{JsonBody, Upload};
pub use deadline::Deadline;
pub use etag::{ETag, Preconditions};
pub use failure::{Failure, FailureClass};
pub use frame::{KeptAsSaid, RequestLimits, frame};
pub use proxies::Proxies;
pub use query::Params;
pub use range::RangeRequest;
pub use render::{Asked, Rendered, Shape, shape};
pub use serve::{Peer, ServerLimits, serve};
