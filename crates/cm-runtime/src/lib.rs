//! What every long-running part of the product needs from its process: named tasks that can be
//! drained, a clock that tests can set, workers that retry with backoff, logs and metrics.
//!
//! The crate names no product noun. Nothing here keeps global state except what the ecosystem makes
//! global: the log subscriber ([`logging::init`]) and the metrics recorder ([`metrics::install`]);
//! both are installed once, by the binary.
//!
//! Reading order: [`Tasks`], [`Clock`], [`Backoff`], [`Worker`], [`logging`], [`metrics`].

mod backoff;
mod clock;
pub mod logging;
pub mod metrics;
mod tasks;
mod worker;

pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, SystemClock};
pub use tasks::{Drained, Tasks};
pub use tokio::task::{JoinError, JoinHandle};
pub use tokio_util::sync::CancellationToken;
pub use worker::{WorkState, Worker, spawn_worker};
