//! See docs/ARCHITECTURE.md.

pub mod engine;
pub mod run;
mod sandbox;
mod server;
pub mod vfs;
pub mod wasi;
