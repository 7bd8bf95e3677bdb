//! See docs/ARCHITECTURE.md.

pub mod run;
mod sandbox;
mod server;
