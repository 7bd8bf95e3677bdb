//! See docs/ARCHITECTURE.md.

pub mod run;
mod sandbox;
mod server;
pub mod engine;
pub mod vfs;
pub mod wasi;
